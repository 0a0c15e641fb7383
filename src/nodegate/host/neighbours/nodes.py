"""The two kinds of node, each by its own API: read neighbours, add some, remove some."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol
from urllib.parse import quote

from nodegate.errors import Malformed, NotFound
from nodegate.host.neighbours.addresses import peer_identity
from nodegate.host.neighbours.transport import TIMEOUT, Transport
from nodegate.host.neighbours.values import Counters, Neighbour, NodeKind

IRI_REFUSAL = (
    "getNeighbors, addNeighbors and removeNeighbors are answered only to trusted hosts, and a gateway passes them to "
    "nobody. Run this on the node's own machine against its own port, or name this machine in "
    "REMOTE_TRUSTED_API_HOSTS (REMOTE_LIMIT_API lists what is limited)"
)
HORNET_REFUSAL = "the peers API is protected. Give its token with --jwt-file or in NODEGATE_JWT (`hornet tool jwt-api` makes one)"
_IRI_COUNTERS = {
    "all": ("numberOfAllTransactions",),
    "new": ("numberOfNewTransactions",),
    "invalid": ("numberOfInvalidTransactions",),
    "stale": ("numberOfStaleTransactions",),
    "known": ("numberOfKnownTransactions",),
    "sent": ("numberOfSentTransactions",),
    "requested": ("numberOfRandomTransactionRequests", "numberOfReceivedTransactionReq"),
    "dropped": ("numberOfDroppedSentPackets",),
}
"""The names in IRI, and those that HORNET 0.x has for other things in the same place."""
_HORNET_COUNTERS = {
    "all": ("receivedMessages", "receivedBlocks"),
    "new": ("newMessages", "newBlocks"),
    "known": ("knownMessages", "knownBlocks"),
    "sent": ("sentMessages", "sentBlocks"),
    "requested": ("receivedMessageRequests", "receivedBlockRequests"),
    "dropped": ("droppedPackets",),
}
"""The names in HORNET 1 and in HORNET 2."""


class Node(Protocol):
    """A node whose neighbours can be read and changed.

    All methods raise Unavailable, Refused with what to do, or Malformed.
    """

    url: str

    async def neighbours(self) -> tuple[Neighbour, ...]:
        """All neighbours now; an empty tuple says that there are none."""
        ...

    async def add(self, uris: Sequence[str], alias: str = "") -> int:
        """Add neighbours; returns how many were new."""
        ...

    async def remove(self, uris: Sequence[str]) -> int:
        """Remove neighbours; returns how many were there."""
        ...

    async def close(self) -> None:
        """Close the connections."""
        ...


def node(kind: NodeKind, url: str, *, jwt: str | None = None, timeout: float = TIMEOUT) -> Node:
    """The node of this kind at `url`."""
    if kind is NodeKind.HORNET:
        return Hornet(url, jwt=jwt, timeout=timeout)
    return Iri(url, timeout=timeout)


class Iri:
    """IRI, and HORNET 0.x, by API commands."""

    def __init__(self, url: str, *, timeout: float = TIMEOUT) -> None:
        headers = {"X-IOTA-API-Version": "1"}
        self._http = Transport(url, headers=headers, refusal=IRI_REFUSAL, timeout=timeout)
        self.url = self._http.url

    async def neighbours(self) -> tuple[Neighbour, ...]:
        """See Node."""
        document = await self._command("getNeighbors")
        found = document.get("neighbors")
        if not isinstance(found, list):
            raise Malformed(
                f"{self.url} answers getNeighbors without a list of neighbors; is it an IRI node?"
            )
        return tuple(self._neighbour(one) for one in found)

    async def add(self, uris: Sequence[str], alias: str = "") -> int:
        """See Node; IRI has no names for neighbours."""
        del alias
        return self._count(await self._command("addNeighbors", uris=list(uris)), "addedNeighbors")

    async def remove(self, uris: Sequence[str]) -> int:
        """See Node."""
        return self._count(await self._command("removeNeighbors", uris=list(uris)), "removedNeighbors")

    async def close(self) -> None:
        """See Node."""
        await self._http.close()

    async def _command(self, command: str, **parameters: object) -> dict[str, Any]:
        document = await self._http.ask("POST", "/", {"command": command, **parameters})
        if not isinstance(document, dict):
            raise Malformed(f"{self.url} does not answer {command} as a node does")
        return document

    def _count(self, document: dict[str, Any], key: str) -> int:
        value = document.get(key)
        if not isinstance(value, int) or isinstance(value, bool):
            raise Malformed(f"{self.url} does not say {key}")
        return value

    def _neighbour(self, found: Any) -> Neighbour:
        if not isinstance(found, dict) or not isinstance(address := found.get("address"), str) or not address:
            raise Malformed(f"{self.url} lists a neighbour without an address")
        _, colon, port = address.rpartition(":")
        domain = found.get("domain")
        name = address
        if isinstance(domain, str) and domain and colon:
            name = (
                f"[{domain}]:{port}" if ":" in domain.strip("[]") and domain[0] != "[" else f"{domain}:{port}"
            )
        scheme = found.get("connectionType")
        connected = found.get("connected")
        return Neighbour(
            uri=f"{scheme if isinstance(scheme, str) and scheme else 'tcp'}://{name}",
            name=name,
            address=address,
            connected=connected if isinstance(connected, bool) else None,
            relation="",
            counters=_counters(found, _IRI_COUNTERS),
        )


class Hornet:
    """HORNET 1 (`/api/v1`) and HORNET 2 (`/api/core/v2`) by the REST API for peers."""

    def __init__(self, url: str, *, jwt: str | None = None, timeout: float = TIMEOUT) -> None:
        headers = {"Accept": "application/json"} | ({"Authorization": f"Bearer {jwt}"} if jwt else {})
        self._http = Transport(url, headers=headers, refusal=HORNET_REFUSAL, timeout=timeout)
        self.url = self._http.url
        self._path: str | None = None

    async def neighbours(self) -> tuple[Neighbour, ...]:
        """See Node."""
        if self._path is not None:
            return self._listed(await self._http.ask("GET", self._path))
        try:
            document, path = await self._http.ask("GET", "/api/v1/peers"), "/api/v1/peers"
        except NotFound:
            document, path = await self._http.ask("GET", "/api/core/v2/peers"), "/api/core/v2/peers"
        found = self._listed(document)
        self._path = path
        return found

    async def add(self, uris: Sequence[str], alias: str = "") -> int:
        """See Node; the alias is for the operator's eyes."""
        have = {one.uri for one in await self.neighbours()}
        new = [uri for uri in uris if peer_identity(uri) not in have]
        for uri in new:
            body = {"multiAddress": uri} | ({"alias": alias} if alias else {})
            await self._http.ask("POST", self._path or "", body)
        return len(new)

    async def remove(self, uris: Sequence[str]) -> int:
        """See Node."""
        have = {one.uri for one in await self.neighbours()}
        there = [identity for identity in map(peer_identity, uris) if identity in have]
        for identity in there:
            await self._http.ask("DELETE", f"{self._path}/{quote(identity, safe='')}")
        return len(there)

    async def close(self) -> None:
        """See Node."""
        await self._http.close()

    def _listed(self, document: Any) -> tuple[Neighbour, ...]:
        # HORNET 1 puts its answers into an envelope, HORNET 2 does not.
        found = document.get("data") if isinstance(document, dict) else document
        if not isinstance(found, list):
            raise Malformed(f"{self.url} answers without a list of peers; is it HORNET's API?")
        return tuple(self._neighbour(one) for one in found)

    def _neighbour(self, found: Any) -> Neighbour:
        if not isinstance(found, dict) or not isinstance(identity := found.get("id"), str) or not identity:
            raise Malformed(f"{self.url} lists a peer without an identity")
        gossip = found.get("gossip")
        metrics = gossip.get("metrics") if isinstance(gossip, dict) else None
        values = metrics if isinstance(metrics, dict) else {}
        addresses = found.get("multiAddresses")
        address = str(addresses[0]) if isinstance(addresses, list) and addresses else ""
        return Neighbour(
            uri=identity,
            name=str(found.get("alias") or f"{identity[:8]}…{identity[-6:]}"),
            address=address,
            connected=found.get("connected") is True,
            relation=str(found.get("relation", "")),
            counters=_counters(values, _HORNET_COUNTERS),
        )


def _counters(found: Mapping[str, Any], names: Mapping[str, Sequence[str]]) -> Counters:
    """The counters under whichever of their names the node has."""
    return Counters(
        **{
            key: next((value for one in known if (value := _number(found.get(one))) is not None), None)
            for key, known in names.items()
        }
    )


def _number(value: object) -> int | None:
    """A counter; software that sends none, or nonsense, has none."""
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None
