"""Every rule of the guard with the HTTP status and the sentence a client gets. Both engines speak these.

No sentence holds anything a client sent: `{}` is filled with names and bounds from the policy only.
"""

from __future__ import annotations

from collections.abc import Mapping

from nodegate.policy.values import ArgRule, ItemRule

RULES: Mapping[str, tuple[int, str]] = {
    "policy": (503, "the gateway has no valid policy for this kind of node"),
    "head-size": (431, "the headers are longer than {} bytes"),
    "http-method": (405, "this HTTP method is not accepted here"),
    "upgrade": (403, "protocol upgrades are not accepted here"),
    "content-encoding": (415, "send the body without Content-Encoding"),
    "header-required": (400, "the header {} is missing"),
    "header-forbidden": (403, "the header {} is not accepted"),
    "header-repeated": (400, "the header {} is given more than once"),
    "header-malformed": (400, "the header {} has a value that is not accepted"),
    "user-agent": (403, "this user agent is not accepted"),
    "path-form": (400, "the path is malformed"),
    "path-encoding": (400, "the path has an encoding that is not accepted"),
    "path-unknown": (404, "there is nothing under this path"),
    "query": (400, "a query string is not accepted here"),
    "network-denied": (403, "this network is not served"),
    "network-not-allowed": (403, "only listed networks are served"),
    "key-unknown": (401, "the API key is not known"),
    "key-required": (401, "an API key is required"),
    "key-method": (403, "this API key does not cover {}"),
    "body-size": (413, "the body is longer than {} bytes"),
    "body-empty": (400, "the body is empty"),
    "body-utf8": (400, "the body is not UTF-8"),
    "body-pattern": (403, "the body holds what is not accepted here"),
    "json-syntax": (400, "the body is not JSON"),
    "json-trailing": (400, "something follows the JSON value"),
    "json-depth": (400, "the JSON is nested deeper than {}"),
    "json-values": (413, "the JSON has more than {} values"),
    "json-duplicate": (400, "a name stands twice in one JSON object"),
    "json-name": (400, "a JSON name holds an escape or a character that is not plain ASCII"),
    "json-string": (400, "a JSON string holds a control character or a bad escape"),
    "json-number": (400, "a JSON number is malformed or out of range"),
    "json-escape": (400, "the method is written with escapes"),
    "json-shape": (400, "the body is not one JSON object"),
    "rpc-version": (400, "the member jsonrpc must be 2.0"),
    "rpc-id": (400, "the member id must be a plain string of at most 128 bytes, an integer or null"),
    "rpc-member": (400, "the request has members beside jsonrpc, id, method and params"),
    "rpc-params": (400, "the member params has the wrong type"),
    "batch-forbidden": (403, "batches are not accepted here"),
    "batch-empty": (400, "the batch is empty"),
    "batch-size": (413, "the batch has more than {} elements"),
    "batch-method": (403, "{} may not stand in a batch"),
    "method-missing": (400, "the request names no method"),
    "method-unknown": (403, "this method is not served here"),
    "method-denied": (403, "{} is not served here"),
    "arg-unknown": (400, "{} was given an argument it does not have"),
    "arg-case": (400, "an argument differs from {} only in the case of its letters"),
    "arg-missing": (400, "{}"),
    "arg-forbidden": (403, "{}"),
    "arg-escape": (400, "{} is written with escapes"),
    "arg-value": (403, "{}"),
    "range-form": (400, "{} needs block numbers or tags"),
    "range-open": (400, "{} needs both ends of the block range as numbers"),
    "range-size": (403, "{}"),
    "cost": (403, "the request costs more than {} units"),
}


def sentence(rule: str, about: str = "") -> str:
    """The rule's sentence about `about`."""
    return RULES[rule][1].replace("{}", about)


_TYPES = {
    "any": "given",
    "string": "a string",
    "integer": "an integer",
    "boolean": "true or false",
    "array": "a list",
    "object": "an object",
    "quantity": "a number such as 0x1a",
    "block": "a block number such as 0x1a or a tag",
}


def about_arg(method: str, path: str, rule: ArgRule) -> str:
    """What the argument must be, in one sentence for the client."""
    name = f"{method}: {path}"
    if rule.forbidden:
        return f"{name} is not accepted"
    parts = [_about_value(rule)]
    if rule.one_of is not None:
        parts = ["one of " + ", ".join(rule.one_of)]
    parts += _bounds("from", rule.min, rule.max)
    parts += [f"with {words} items" for words in _bounds("", rule.min_items, rule.max_items)]
    if rule.items is not None:
        parts.append(f"each {_about_value(rule.items)}")
    return f"{name} must be {' '.join(parts)}"


def _about_value(rule: ItemRule) -> str:
    words = _TYPES[rule.type]
    words += "".join(f" of {text} bytes" for text in _bounds("", rule.min_length, rule.max_length))
    return words + (f" like {rule.pattern}" if rule.pattern is not None else "")


def _bounds(word: str, least: int | None, most: int | None) -> list[str]:
    if least is None and most is None:
        return []
    if least == most:
        return [f"{least}"]
    if least is None:
        return [f"at most {most}"]
    if most is None:
        return [f"at least {least}"]
    return [f"{word} {least} to {most}".strip()]


def about_any(method: str, paths: tuple[str, ...]) -> str:
    """Which of several arguments one must be given."""
    return f"{method} needs one of {', '.join(paths)}"


def about_range(method: str, most: int) -> str:
    """The bound on a block range."""
    return f"{method} may span at most {most} blocks"
