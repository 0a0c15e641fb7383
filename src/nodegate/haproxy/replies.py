"""What HAProxy itself answers: JSON in the form that the clients of a kind know from their nodes."""

from __future__ import annotations

import json
from enum import Enum

from nodegate.haproxy.config import Words, words
from nodegate.model import Traffic


class Style(Enum):
    """How errors look to the clients of a kind."""

    PLAIN = "plain"  # {"error": TEXT}, as IRI does
    JSON_RPC = "json-rpc"  # {"jsonrpc": "2.0", "id": null, "error": {"code", "message"}}


PLAIN = Style.PLAIN

_STYLES = {"method": Style.JSON_RPC}
"""By the JSON member that names the method; whatever is not listed is plain."""

_TEXTS = {
    400: "the request is not valid HTTP",
    403: "not allowed here",
    404: "no pool serves this host and path",
    405: "this HTTP method is not allowed here",
    408: "the request did not arrive in time",
    413: "the request is too large",
    425: "too early, send the request again",
    429: "too many requests",
    500: "the gateway could not handle the request",
    501: "the gateway does not know how to do this",
    502: "the node's answer could not be used",
    503: "no node can take the request now, try again soon",
    504: "no node answered in time",
}

_OF_NODES = {502, 503, 504}
_PASSING = {429, 503}

RULES_OF_NODES = {502: "node-failed", 503: "%[nbsrv,iif(queue,no-node)]", 504: "timeout"}
"""The rule behind an error that is about a guarded pool's nodes, as HAProxy's log-format."""

_RPC_CODES = {400: -32600, 404: -32601, 405: -32601, 429: -32005}
"""JSON-RPC's own codes (-32600 invalid request, -32601 no such method) and EIP-1474's -32005 (limit)."""

_RPC_SERVER_ERROR = -32000


def style_of(traffic: Traffic) -> Style:
    """The form that clients of this traffic expect."""
    return _STYLES.get(traffic.method_key or "", Style.PLAIN)


def body(style: Style, status: int, text: str) -> str:
    """The body of an error with HTTP status `status`."""
    if style is Style.PLAIN:
        return json.dumps({"error": text})
    code = _RPC_CODES.get(status, _RPC_SERVER_ERROR)
    return json.dumps({"jsonrpc": "2.0", "id": None, "error": {"code": code, "message": text}})


def http_errors(style: Style, pool: str | None = None, *, ruled: bool = False) -> tuple[Words, ...]:
    """One `http-error` directive for each status that HAProxy may answer by itself.

    With `pool`, the errors that are about its nodes name it; those that would only repeat the defaults
    are left out. With `ruled`, those errors also name the rule behind them.
    """
    return tuple(
        words(
            "http-error", "status", status, "content-type", "application/json",
            "string", body(style, status, f"pool {pool}: {text}" if pool and status in _OF_NODES else text),
            "hdr", "Cache-Control", "no-store",
            *(("hdr", "Retry-After", "1") if status in _PASSING else ()),
            *(("hdr", "X-Nodegate-Rule", RULES_OF_NODES[status]) if ruled and status in _OF_NODES else ()),
        )
        for status, text in _TEXTS.items()
        if pool is None or style is not Style.PLAIN or status in _OF_NODES
    )  # fmt: skip
