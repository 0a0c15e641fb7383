"""JSON-RPC 2.0 over HTTP: calls as bytes, answers as results; batches and single calls.

Source: the JSON-RPC 2.0 specification. Ids are the call's place, counted from 1; an answer with another
id, or with both or neither of `result` and `error`, is malformed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nodegate.errors import Malformed
from nodegate.model import Answer, Question
from nodegate.protocols.fields import described, parse, quote

METHOD_NOT_FOUND = -32601
HEADERS = {"Content-Type": "application/json", "Accept": "application/json"}
# How servers without batches say so: bad or unprocessable request, wrong method, too large, wrong media
# type, not implemented. A gateway's 502 to 504, 401, 403 or 429 would be the same for single calls.
BATCH_REFUSALS = frozenset({400, 405, 413, 415, 422, 501})


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One method with its parameters."""

    method: str
    params: tuple[Any, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What came back for one call: a result (which may be null), or an error's code and quoted text."""

    method: str
    result: Any = None
    error_code: int | None = None
    error: str | None = None

    def value(self) -> Any:
        """The result. Raises Malformed with the node's own words for an error."""
        if self.error is not None:
            raise Malformed(f"{self.method}: error {self.error_code} {self.error}")
        return self.result


def batch(calls: Sequence[Call]) -> Question:
    """All calls in one request."""
    return _question([_request(call, number) for number, call in enumerate(calls, start=1)])


def single(call: Call) -> Question:
    """One call in one request; its id is 1."""
    return _question(_request(call, 1))


def refuses_batch(answer: Answer) -> bool:
    """Whether the answer to a batch means that the node takes none: one error object in place of an
    array, or one of BATCH_REFUSALS."""
    if answer.status in BATCH_REFUSALS:
        return True
    if not 200 <= answer.status < 300:
        return False
    try:
        value = parse(answer.body)
    except Malformed:
        return False
    return isinstance(value, dict) and "error" in value


def read_batch(calls: Sequence[Call], answer: Answer) -> tuple[Reply, ...]:
    """The replies in the order of `calls`, whatever the order in the array. Raises Malformed."""
    value = _parsed(answer, "the batch")
    if not isinstance(value, list):
        raise Malformed(f"the batch: one array was expected, the answer begins {quote(answer.body)}")
    found: dict[int, Reply] = {}
    for element in value:
        number = element.get("id") if isinstance(element, dict) else None
        if type(number) is not int or not 1 <= number <= len(calls) or number in found:
            raise Malformed(f"the batch: an answer's id is {described(number)}, unknown or repeated")
        found[number] = _reply(calls[number - 1], element)
    if missing := [call.method for number, call in enumerate(calls, start=1) if number not in found]:
        raise Malformed(f"the batch: no answer to {', '.join(missing)}")
    return tuple(found[number] for number in range(1, len(calls) + 1))


def read_single(call: Call, answer: Answer) -> Reply:
    """The reply to one call. Raises Malformed."""
    value = _parsed(answer, call.method)
    if not isinstance(value, dict):
        raise Malformed(f"{call.method}: one object was expected, the answer begins {quote(answer.body)}")
    number = value.get("id")
    # An error may carry the id null when the server could not read the request's (specification, 5).
    if not (type(number) is int and number == 1) and not (number is None and "error" in value):
        raise Malformed(f"{call.method}: the answer's id is {described(number)}, not 1")
    return _reply(call, value)


def _request(call: Call, number: int) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": number, "method": call.method, "params": list(call.params)}


def _question(body: Any) -> Question:
    return Question(headers=HEADERS, body=json.dumps(body, separators=(",", ":")).encode())


def _parsed(answer: Answer, what: str) -> Any:
    """The body as JSON; servers differ in the status they give an error, so its body counts first."""
    try:
        value = parse(answer.body)
    except Malformed as error:
        words = str(error) if 200 <= answer.status < 300 else f"status {answer.status}, {error}"
        raise Malformed(f"{what}: {words}") from error
    is_error = isinstance(value, dict) and isinstance(value.get("error"), dict)
    if not 200 <= answer.status < 300 and not is_error:
        raise Malformed(f"{what}: status {answer.status}, body {quote(answer.body)}")
    return value


def _reply(call: Call, element: Mapping[str, Any]) -> Reply:
    if element.get("jsonrpc") != "2.0":
        raise Malformed(f"{call.method}: the answer is not JSON-RPC 2.0")
    # Some servers send `"error": null` beside a result; the specification forbids it, the meaning is clear.
    error = element.get("error")
    if ("result" in element) == (error is not None):
        raise Malformed(f"{call.method}: the answer has both or neither of result and error")
    if error is None:
        return Reply(method=call.method, result=element["result"])
    code = error.get("code") if isinstance(error, dict) else None
    message = error.get("message") if isinstance(error, dict) else None
    if type(code) is not int or not -(2**63) <= code < 2**63 or not isinstance(message, str):
        raise Malformed(f"{call.method}: an error without code and message: {described(error)}")
    return Reply(method=call.method, error_code=code, error=quote(message))
