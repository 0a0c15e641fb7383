"""Gateways as Consul lists them: what one tells of itself, and what is remembered of all. Pure.

A gateway is a service instance; what the others have to know of it stands in the instance's Meta. Consul's own
checks say whether it lives. A gateway that Consul does not list any more is remembered for a while: it may only
be restarting, and forgetting it changes HAProxy's configuration on all others.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from nodegate.errors import Malformed
from nodegate.model import Instant, Seconds

PASSING = "passing"
META_LIMIT = 512
"""Bytes of one value of a service's Meta (Consul's `structs.MetaValueMaxLength`)."""

_POLICY = "policy-"
_FAULT = "fault"


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One gateway. `id` is its name, the same on all gateways; `address` and `port` are where clients reach it,
    `admin` the URL of its admin API. `peers` and `exchange` are `HOST:PORT`, empty when it does not share
    that. `policies` are the versions in force by kind, `fault` says what it could not take over. `alive` is
    Consul's word, `why` its reason when not."""

    id: str
    address: str
    port: int
    version: str = ""
    admin: str = ""
    peers: str = ""
    exchange: str = ""
    started_at: Instant | None = None
    policies: Mapping[str, str] = field(default_factory=dict)
    fault: str = ""
    alive: bool = True
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """A member with what this gateway remembers: since when it has lived, or not lived."""

    member: Member
    since: Instant

    @property
    def alive(self) -> bool:
        """Whether the gateway lives, as far as is known."""
        return self.member.alive


GONE = "not registered any more"


def remember(
    known: Mapping[str, Known], listed: Iterable[Member], now: Instant, *, me: str, forget_after: Seconds
) -> dict[str, Known]:
    """What is known after Consul was read: the listed members, and as not alive those that are gone for less
    than `forget_after`. In order of id.

    A list without `me` says nothing about those who are missing: Consul may have lost its data, or the token its
    right to read. Nobody is gone because of it.
    """
    after: dict[str, Known] = {}
    for member in listed:
        before = known.get(member.id)
        same = before is not None and before.member.alive == member.alive
        after[member.id] = Known(member=member, since=before.since if same and before is not None else now)
    believed = me in after
    for name, before in known.items():
        if name in after:
            continue
        if not believed:
            after[name] = before
        elif before.member.why != GONE:
            member = replace(before.member, alive=False, why=GONE)
            after[name] = Known(member=member, since=now if before.member.alive else before.since)
        elif now - before.since < forget_after:
            after[name] = before
    return dict(sorted(after.items()))


# ---- what Consul keeps ---------------------------------------------------------------------------------


def meta_of(member: Member) -> dict[str, str]:
    """What the gateway tells of itself, as a service's Meta."""
    meta = {
        "name": member.id,
        "version": member.version,
        "admin": member.admin,
        "peers": member.peers,
        "exchange": member.exchange,
        "started": "" if member.started_at is None else f"{member.started_at:.3f}",
        _FAULT: member.fault.encode()[:META_LIMIT].decode(errors="ignore"),
        **{f"{_POLICY}{kind}": version for kind, version in member.policies.items()},
    }
    return {key: value for key, value in meta.items() if value}


def members_in(document: object) -> tuple[Member, ...]:
    """The members in an answer of `/v1/health/service/NAME`, in order of id.

    Raises Malformed for what is not such an answer. An instance without a name in its Meta is no gateway of
    nodegate's and is left out.
    """
    if not isinstance(document, list):
        raise Malformed(f"Consul's list of gateways is no list but {type(document).__name__}")
    try:
        found = [_member(entry) for entry in document if (entry["Service"].get("Meta") or {}).get("name")]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise Malformed(f"Consul's list of gateways cannot be understood: {error!r}") from error
    return tuple(sorted(found, key=lambda member: member.id))


def _member(entry: Mapping[str, Any]) -> Member:
    service = entry["Service"]
    meta: Mapping[str, str] = service["Meta"]
    address = service.get("Address") or entry["Node"]["Address"]
    bad = [check for check in entry["Checks"] if check["Status"] != PASSING]
    return Member(
        id=meta["name"],
        address=address,
        port=int(service["Port"]),
        version=meta.get("version", ""),
        admin=meta.get("admin", ""),
        peers=reachable(meta.get("peers", ""), address),
        exchange=reachable(meta.get("exchange", ""), address),
        started_at=Instant(float(meta["started"])) if meta.get("started") else None,
        policies={key[len(_POLICY) :]: value for key, value in meta.items() if key.startswith(_POLICY)},
        fault=meta.get(_FAULT, ""),
        alive=not bad,
        why="; ".join(f"{check['Name']}: {_short(check.get('Output') or check['Status'])}" for check in bad),
    )


def reachable(place: str, address: str) -> str:
    """`:PORT` stands for that port at the gateway's own address."""
    if not place.startswith(":"):
        return place
    return f"[{address}]{place}" if ":" in address else f"{address}{place}"


def _short(text: str) -> str:
    return " ".join(text.split())[:200]


# ---- what is kept on disk ------------------------------------------------------------------------------


def to_json(known: Mapping[str, Known]) -> str:
    """All that is known, for the state directory."""
    return json.dumps({"members": [asdict(each) for each in known.values()]}, indent=1) + "\n"


def from_json(text: str) -> dict[str, Known]:
    """The inverse of `to_json`. Raises Malformed."""
    try:
        return {
            entry["member"]["id"]: Known(
                member=Member(**entry["member"]),
                since=Instant(float(entry["since"])),
            )
            for entry in json.loads(text)["members"]
        }
    except (ValueError, KeyError, TypeError) as error:
        raise Malformed(f"the remembered gateways cannot be read: {error!r}") from error


# ---- registering ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Registration:
    """How a gateway registers: the service, and how Consul sees that it lives.

    With `ready_url` and `serves` (`HOST:PORT`) the Consul agent asks by itself every `interval`; without, it
    is told, at least every `ttl`.
    """

    service: str
    interval: Seconds
    forget_after: Seconds
    ready_url: str = ""
    serves: str = ""

    @property
    def ttl(self) -> Seconds:
        """Seconds without a word after which Consul takes the gateway for dead."""
        return Seconds(max(3.0, 3 * self.interval))


def instance_id(service: str, name: str) -> str:
    """The instance's id at its Consul agent."""
    return f"{service}-{name}"


def definition(registration: Registration, member: Member, address: str | None) -> dict[str, Any]:
    """The service definition that is written to the Consul agent. `address` None leaves it to the agent.

    Two checks, where the agent asks: the control plane is ready, and HAProxy takes connections. A gateway needs
    both: without the first nobody takes dead nodes out of HAProxy.
    """
    key = instance_id(registration.service, member.id)
    after = {"DeregisterCriticalServiceAfter": f"{max(60, round(registration.forget_after))}s"}
    if registration.ready_url:
        every = {
            "Interval": f"{registration.interval:g}s",
            "Timeout": f"{max(2.0, registration.interval):g}s",
        }
        checks = [
            {"CheckID": f"{key}:ready", "Name": "nodegate is ready", "HTTP": registration.ready_url, **every, **after},
            {"CheckID": f"{key}:serves", "Name": "HAProxy takes connections", "TCP": registration.serves, **every},
        ]  # fmt: skip
    else:
        checks = [
            {"CheckID": f"{key}:ready", "Name": "nodegate says so", "TTL": f"{registration.ttl:g}s", **after}
        ]
    document: dict[str, Any] = {
        "ID": key,
        "Name": registration.service,
        "Port": member.port,
        "Meta": meta_of(member),
        "Checks": checks,
    }
    if address is not None:
        document["Address"] = address
    return document
