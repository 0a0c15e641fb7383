"""The head of a request: HTTP method, path, query and headers against the policy's rules."""

from __future__ import annotations

import re
from collections.abc import Sequence
from enum import StrEnum

from nodegate.policy.arguments import Refusal
from nodegate.policy.patterns import fits, glob_found, parse_path, parse_pattern, path_fits
from nodegate.policy.values import HeaderRule, Policy

MAX_PATH = 2048
_PERCENT = re.compile(rb"%([0-9A-Fa-f]{2})?")
_RAW = re.compile(rb"[!$&-.0-:=@-Z_a-z~/%]*")
"""What may stand in a path as sent: no space, quote, backslash, ';', '?', '#', and nothing beyond ASCII."""
_DECODED_OUT = re.compile(rb"[\x00-\x1f\x7f/\\%;]")

Headers = Sequence[tuple[str, bytes]]


class Outcome(StrEnum):
    """What the head leads to."""

    REFUSED = "no"
    BODY = "ok"  # the body decides
    PREFLIGHT = "preflight"  # the gateway answers a browser's OPTIONS itself
    UPGRADE = "upgrade"  # a WebSocket that the policy lets through


def check_head(policy: Policy, method: str, target: bytes, headers: Headers) -> tuple[Outcome, str | None]:
    """What comes next, and the name of the method for REST. Raises Refusal."""
    fields: dict[str, list[bytes]] = {}
    for name, value in headers:
        fields.setdefault(name.lower(), []).append(value)
    if sum(len(name) + len(value) + 4 for name, value in headers) > policy.head.max_bytes:
        raise Refusal("head-size", str(policy.head.max_bytes))
    verb = method.lower()
    upgrade = "upgrade" in fields
    if verb not in policy.head.http and not (upgrade and policy.head.websocket and verb == "get"):
        raise Refusal("http-method")
    segments, query = read_target(target)
    _check_headers(policy, verb, fields)
    if verb == "options":
        if policy.cors is None:
            raise Refusal("http-method")
        return Outcome.PREFLIGHT, None
    rest = _path_method(policy, verb, segments, query)
    if upgrade:
        if not (policy.head.websocket and verb == "get") or fields["upgrade"] != [b"websocket"]:
            raise Refusal("upgrade")
        return Outcome.UPGRADE, None
    return Outcome.BODY, rest


def read_target(target: bytes) -> tuple[tuple[bytes, ...], bool]:
    """The decoded path, cut at its slashes, and whether a query follows. The path is decoded exactly once,
    and refused where another reader could see another path. Raises Refusal."""
    path, mark, _ = target.partition(b"?")
    if not path.startswith(b"/") or len(path) > MAX_PATH or _RAW.fullmatch(path) is None:
        raise Refusal("path-form")
    segments = tuple(_decode(part) for part in path[1:].split(b"/"))
    for number, segment in enumerate(segments):
        # An empty part is `//`, except as the last one: `/` and `/a/`.
        if segment in {b".", b".."} or (not segment and number < len(segments) - 1):
            raise Refusal("path-form")
    return segments, bool(mark)


def _decode(part: bytes) -> bytes:
    out = bytearray()
    at = 0
    for escape in _PERCENT.finditer(part):
        code = escape.group(1)
        if code is None or _DECODED_OUT.match(char := bytes.fromhex(code.decode())):
            raise Refusal("path-encoding")
        out += part[at : escape.start()] + char
        at = escape.end()
    out += part[at:]
    try:
        out.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Refusal("path-encoding") from error
    return bytes(out)


def _check_headers(policy: Policy, verb: str, fields: dict[str, list[bytes]]) -> None:
    if any(value.lower() != b"identity" for value in fields.get("content-encoding", ())):
        raise Refusal("content-encoding")
    for name, rule in policy.head.headers.items():
        _check_header(name, rule, verb, fields.get(name, []))
    for agent in fields.get("user-agent", ()):
        if any(glob_found(pattern, agent, whole=True) for pattern in policy.head.user_agents_denied):
            raise Refusal("user-agent")


def _check_header(name: str, rule: HeaderRule, verb: str, values: list[bytes]) -> None:
    if not values:
        if rule.required and verb not in rule.except_methods:
            raise Refusal("header-required", name)
        return
    if rule.forbidden:
        raise Refusal("header-forbidden", name)
    if len(values) > 1:
        raise Refusal("header-repeated", name)
    if len(values[0]) > rule.max_length or (
        rule.pattern is not None and not fits(parse_pattern(rule.pattern), values[0])
    ):
        raise Refusal("header-malformed", name)


def _path_method(policy: Policy, verb: str, segments: tuple[bytes, ...], query: bool) -> str | None:
    if policy.form != "rest":
        if not any(path_fits(parse_path(path), segments) for path in policy.head.paths):
            raise Refusal("path-unknown")
        if query and not policy.head.query:
            raise Refusal("query")
        return None
    name = match_rest(policy, verb, segments)
    method = policy.methods[name]
    if method.deny:
        raise Refusal("method-denied", name)
    if query and not method.query:
        raise Refusal("query")
    return name


def match_rest(policy: Policy, verb: str, segments: tuple[bytes, ...]) -> str:
    """The REST method for a path: paths without variables first, then in the document's order. Raises
    Refusal, `http-method` when only the HTTP method does not fit."""
    other_verb = False
    for exact in (True, False):
        for name, method in policy.methods.items():
            rule = parse_path(method.path or "/")
            if rule.literal is exact and path_fits(rule, segments):
                if verb in method.http:
                    return name
                other_verb = True
    raise Refusal("http-method" if other_verb else "path-unknown")
