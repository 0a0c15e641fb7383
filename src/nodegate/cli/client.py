"""The admin API from the command line's side: typed answers, and its errors as nodegate's own."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import Any, TypeVar
from urllib.parse import quote, urlencode

import httpx
from pydantic import BaseModel, ValidationError

from nodegate.cli.target import Target
from nodegate.errors import (
    BadDocument,
    Conflict,
    Fault,
    Malformed,
    NodegateError,
    NotFound,
    Refused,
    Unavailable,
    Unsafe,
)
from nodegate.views import NodeDetail, NodesDocument, PlanDocument, StatusDocument
from nodegate.views.cluster import GatewaysDocument
from nodegate.views.events import AlertsDocument, EventsDocument, SilenceRow, TestsDocument
from nodegate.views.policy import (
    BanRow,
    BansLifted,
    ClientsDocument,
    PoliciesDocument,
    PolicyApplied,
    PolicyDetail,
)
from nodegate.views.registrations import (
    RegistrationBanRow,
    RegistrationBansDocument,
    RegistrationRow,
    RegistrationsDocument,
    RegistrationsEnded,
)
from nodegate.views.scaling import ScalingDocument
from nodegate.views.why import Explanation

M = TypeVar("M", bound=BaseModel)

TIMEOUT = 15.0
"""Seconds for one request: a list of 10,000 nodes takes well under one."""

CLASSES: Mapping[int, type[NodegateError]] = {
    401: Refused,
    403: Refused,
    404: NotFound,
    409: Conflict,
    412: Conflict,
    421: Refused,
    422: Unsafe,
    503: Unavailable,
}
"""Status → error. A 422 with faults is a BadDocument."""


class AdminClient:
    """Speaks to one daemon; use it in a `with` block.

    All methods raise Unavailable when the daemon cannot be reached, Malformed when something else answers,
    and else the error that the daemon names.
    """

    def __init__(self, target: Target, *, timeout: float = TIMEOUT) -> None:
        self.url = target.url
        self._timeout = timeout
        self._http = httpx.Client(
            base_url=target.url,
            headers={"Authorization": f"Bearer {target.token}"},
            timeout=timeout,
            trust_env=False,  # a proxy of the environment must neither see the token nor miss the loopback
        )

    def __enter__(self) -> AdminClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()

    def nodes(
        self, *, pool: str | None = None, kind: str | None = None, status: str | None = None
    ) -> NodesDocument:
        """All nodes that pass the filters."""
        filters = {"pool": pool, "kind": kind, "status": status}
        query = {name: value for name, value in filters.items() if value is not None}
        return self._get(NodesDocument, "/api/v1/nodes", query)

    def node(self, node_id: str) -> NodeDetail:
        """One node. Raises NotFound."""
        return self._get(NodeDetail, _path(node_id))

    def add(self, document: Mapping[str, Any], *, wait: float | None = None) -> NodeDetail:
        """Declare a node; `wait` as in the API. Raises Conflict for a taken id, BadDocument."""
        response = self._send("POST", "/api/v1/nodes", document, _query(wait=wait))
        return self._parsed(NodeDetail, response)

    def revise(
        self,
        node_id: str,
        changes: Mapping[str, Any],
        *,
        version: int | None = None,
        wait: float | None = None,
    ) -> NodeDetail:
        """Change some fields of a node; with `version` only if its record still has it."""
        headers = {} if version is None else {"If-Match": f'"{version}"'}
        response = self._send("PATCH", _path(node_id), changes, _query(wait=wait), headers)
        return self._parsed(NodeDetail, response)

    def remove(self, node_id: str, *, now: bool = False) -> None:
        """Drain, then forget; with `now` forget at once."""
        self._send("DELETE", _path(node_id), None, {"now": "true"} if now else {})

    def plan(self) -> PlanDocument:
        """The latest plan."""
        return self._get(PlanDocument, "/api/v1/plan")

    def status(self) -> StatusDocument:
        """The daemon in one look."""
        return self._get(StatusDocument, "/api/v1/status")

    def policies(self) -> PoliciesDocument:
        """The policies in force, one row for each kind."""
        return self._get(PoliciesDocument, "/api/v1/policies")

    def policy(self, kind: str) -> PolicyDetail:
        """The policy of one kind, whole. Raises NotFound."""
        return self._get(PolicyDetail, _below("policies", kind))

    def apply_policy(self, kind: str, toml: str, file: str) -> PolicyApplied:
        """Put a document in force. Raises BadDocument, Refused when HAProxy did not take it, Conflict."""
        response = self._send("PUT", _below("policies", kind), {"toml": toml, "file": file}, {})
        return self._parsed(PolicyApplied, response)

    def withdraw_policy(self, kind: str) -> PolicyApplied:
        """Back to the shipped policy."""
        return self._parsed(PolicyApplied, self._send("DELETE", _below("policies", kind), None, {}))

    def clients(self, *, top: int, by: str) -> ClientsDocument:
        """The clients that ask most, and all bans."""
        return self._get(ClientsDocument, "/api/v1/clients", {"top": str(top), "by": by})

    def ban(self, address: str, seconds: float, reason: str | None) -> BanRow:
        """Ban a client."""
        document = {"client": address, "seconds": seconds, "reason": reason}
        return self._parsed(BanRow, self._send("POST", "/api/v1/bans", document, {}))

    def unban(self, address: str | None) -> BansLifted:
        """Lift one ban, None: all. Raises NotFound."""
        path = "/api/v1/bans" if address is None else _below("bans", address)
        return self._parsed(BansLifted, self._send("DELETE", path, None, {}))

    def request(self, request_id: str) -> Explanation:
        """Why a request was answered as it was. Raises NotFound."""
        return self._get(Explanation, _below("requests", request_id))

    def gateways(self) -> GatewaysDocument:
        """The gateways of the cluster; none without one."""
        return self._get(GatewaysDocument, "/api/v1/gateways")

    def scaling(self) -> ScalingDocument:
        """Pools that are kept at their size."""
        return self._get(ScalingDocument, "/api/v1/scaling")

    def registrations(self, state: str | None = None) -> RegistrationsDocument:
        """Who wants to add which node."""
        return self._get(RegistrationsDocument, "/api/v1/registrations", {"state": state} if state else {})

    def approve(self, registration: str) -> RegistrationRow:
        """Let a waiting node join. Raises NotFound, Conflict."""
        response = self._send("POST", f"{_below('registrations', registration)}/approve", None, {})
        return self._parsed(RegistrationRow, response)

    def reject(self, registration: str, reason: str) -> RegistrationRow:
        """Do not take a node. Raises NotFound, Conflict."""
        path = f"{_below('registrations', registration)}/reject"
        return self._parsed(RegistrationRow, self._send("POST", path, {"reason": reason}, {}))

    def registration_bans(self) -> RegistrationBansDocument:
        """Who may not register."""
        return self._get(RegistrationBansDocument, "/api/v1/registrations/bans")

    def ban_registrations(self, subject: str, reason: str) -> RegistrationsEnded:
        """Ban an owner or an address."""
        document = {"subject": subject, "reason": reason}
        return self._parsed(
            RegistrationsEnded, self._send("POST", "/api/v1/registrations/bans", document, {})
        )

    def unban_registrations(self, subject: str) -> RegistrationBanRow:
        """Lift a ban. Raises NotFound."""
        return self._parsed(
            RegistrationBanRow, self._send("DELETE", _below("registrations/bans", subject), None, {})
        )

    def events(
        self,
        *,
        after: int | None = None,
        wait: float = 0.0,
        since: float | None = None,
        kind: tuple[str, ...] = (),
        node: str | None = None,
        limit: int = 100,
    ) -> EventsDocument:
        """What happened; `after` and `wait` as in the API."""
        given = {"after": after, "since": since, "node": node, "limit": limit, "wait": wait or None}
        query = [(name, str(value)) for name, value in given.items() if value is not None]
        path = f"/api/v1/events?{urlencode([*query, *(('kind', one) for one in kind)])}"
        return self._get(EventsDocument, path)

    def alerts(self) -> AlertsDocument:
        """Alerts, silences, channels and rules."""
        return self._get(AlertsDocument, "/api/v1/alerts")

    def test_alerts(self, channel: str | None) -> TestsDocument:
        """A test alert by one channel, None: by all. Raises NotFound."""
        response = self._send("POST", "/api/v1/alerts/test", {"channel": channel}, {})
        return self._parsed(TestsDocument, response)

    def report_neighbour(self, *, node: str, neighbour: str, dead: bool, quiet: float | None) -> None:
        """Tell what a watch saw of a node's neighbour. Raises NotFound for a node that there is not."""
        document = {"node": node, "neighbour": neighbour, "dead": dead, "quiet": quiet}
        self._send("POST", "/api/v1/events/neighbours", document, {})

    def silence(self, *, rule: str, subject: str, seconds: float, reason: str) -> SilenceRow:
        """Keep alerts quiet for a while."""
        document = {"rule": rule, "subject": subject, "seconds": seconds, "reason": reason}
        return self._parsed(SilenceRow, self._send("POST", "/api/v1/alerts/silences", document, {}))

    def unsilence(self, silence_id: int) -> None:
        """End a silence. Raises NotFound."""
        self._send("DELETE", f"/api/v1/alerts/silences/{silence_id}", None, {})

    def metrics(self) -> str:
        """nodegate's metrics in the text form of Prometheus."""
        return self._send("GET", "/metrics", None, {}).text

    def route_commands(self) -> str:
        """The routes of services as route commands, one a line."""
        return self._send("GET", "/api/routes", None, {"raw": ""}).text

    def _get(self, model: type[M], path: str, query: Mapping[str, str] | None = None) -> M:
        return self._parsed(model, self._send("GET", path, None, query or {}))

    def _send(
        self,
        method: str,
        path: str,
        document: Mapping[str, Any] | None,
        query: Mapping[str, str],
        headers: Mapping[str, str] | None = None,
    ) -> httpx.Response:
        try:
            response = self._http.request(method, path, json=document, params=query or None, headers=headers)
        except httpx.TimeoutException as error:
            raise Unavailable(f"nodegate at {self.url} did not answer within {self._timeout:g} s") from error
        except httpx.ConnectError as error:
            raise Unavailable(
                f"no nodegate answers at {self.url} ({error}); start it with `nodegate up`, "
                "or name another with --state DIR or --admin URL"
            ) from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise Unavailable(f"the connection to nodegate at {self.url} failed: {error}") from error
        if response.status_code >= 300:
            raise self._failure(response)
        return response

    def _parsed(self, model: type[M], response: httpx.Response) -> M:
        try:
            return model.model_validate_json(response.content)
        except ValidationError as error:
            raise self._stranger(response) from error

    def _failure(self, response: httpx.Response) -> NodegateError:
        try:
            error = response.json()["error"]
            message, faults = str(error["message"]), list(error["faults"])
            if response.status_code == 422 and faults:
                return BadDocument(_fault(item) for item in faults)
        except (ValueError, KeyError, TypeError):
            return self._stranger(response)
        if response.status_code == 401:
            message = (
                f"nodegate at {self.url} does not take this token; `nodegate token` prints the right one"
            )
        return CLASSES.get(response.status_code, NodegateError)(message)

    def _stranger(self, response: httpx.Response) -> Malformed:
        return Malformed(
            f"what answers at {self.url} does not speak nodegate's API "
            f"({response.request.method} {response.request.url.path}: status {response.status_code})"
        )


def _fault(item: Mapping[str, Any]) -> Fault:
    return Fault(file="not accepted", line=None, key=str(item["key"]), message=str(item["message"]))


def _path(node_id: str) -> str:
    return _below("nodes", node_id)


def _below(collection: str, name: str) -> str:
    return f"/api/v1/{collection}/{quote(name, safe='')}"


def _query(*, wait: float | None) -> dict[str, str]:
    return {} if wait is None else {"wait": f"{wait:g}"}
