"""Kind `http`: any HTTP service, judged by the status and the body of one request.

Options: `path` (default: the URL's own) is appended to the path of the node's URL and may carry a query;
`method` (default GET); `expect_status` (default "200-299") is one status or a list of statuses and ranges
such as "200,204,300-399"; `expect_body` is a text that the body must contain. A redirect is not followed:
list its status if it is what the service should answer.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from nodegate.errors import Malformed
from nodegate.model import Answer, Criteria, Node, Question, Reading, Scalar, Traffic
from nodegate.protocols import options
from nodegate.protocols.fields import quote

METHODS = ("GET", "HEAD", "OPTIONS", "POST")
DEFAULT_STATUS = "200-299"

_RANGE = re.compile(r"([1-5]\d\d)(?:-([1-5]\d\d))?")
_PATH = re.compile(r"/[!-~]*")


def statuses(value: Scalar) -> tuple[range, ...]:
    """`200`, `"200,204"`, `"200-299,404"` as ranges. Raises ValueError with what is wrong."""
    if isinstance(value, bool):
        raise ValueError("write a status, not a truth value")
    ranges = []
    for part in str(value).split(","):
        match = _RANGE.fullmatch(part.strip())
        first, last = (int(match.group(1)), int(match.group(2) or match.group(1))) if match else (1, 0)
        if first > last:
            raise ValueError(f'{part.strip()!r} is not a status or a range such as "200-299"')
        ranges.append(range(first, last + 1))
    return tuple(ranges)


def _status_fault(value: Scalar) -> str | None:
    try:
        statuses(value)
    except ValueError as error:
        return str(error)
    return None


def _path_fault(value: Scalar) -> str | None:
    good = isinstance(value, str) and _PATH.fullmatch(value) is not None and "#" not in value
    return None if good else f"write a path such as /health, not {value!r}"


def _method_fault(value: Scalar) -> str | None:
    return None if value in METHODS else f"write one of {', '.join(METHODS)}, not {value!r}"


def _body_fault(value: Scalar) -> str | None:
    return None if isinstance(value, str) and value else f"write the text to look for, not {value!r}"


class Http:
    """The adapter of kind `http`."""

    kind = "http"
    # Methods are HTTP's own here; the data plane knows without help which of them are idempotent.
    traffic = Traffic()
    # A service says nothing of itself that could be compared, so there is nothing to demand by default.
    criteria = Criteria()

    _options: Mapping[str, options.Check] = {
        "path": _path_fault,
        "method": _method_fault,
        "expect_status": _status_fault,
        "expect_body": _body_fault,
    }

    def faults(self, node: Node) -> tuple[str, ...]:
        """See `nodegate.ports.Adapter.faults`."""
        found = options.faults(node, self._options)
        if node.options.get("method") == "HEAD" and "expect_body" in node.options:
            found += ("expect_body: the answer to HEAD has no body; use method GET",)
        return found

    def ask(self, node: Node, answers: tuple[Answer, ...]) -> tuple[Question, ...]:
        """One request."""
        if answers:
            return ()
        return (
            Question(
                method=str(node.options.get("method", "GET")),
                path=str(node.options.get("path", "")),
                headers={"Accept": "*/*"},
            ),
        )

    def read(self, node: Node, answers: tuple[Answer, ...]) -> Reading:
        """Whether the answer is the expected one; `note` says what is not. Raises Malformed without an
        answer or with options that `faults` refuses."""
        if not answers:
            raise Malformed("no answer")
        answer = answers[0]
        wanted = node.options.get("expect_status", DEFAULT_STATUS)
        try:
            ranges = statuses(wanted)
        except ValueError as error:
            raise Malformed(f"expect_status: {error}") from error
        if not any(answer.status in allowed for allowed in ranges):
            place = f" (redirect to {quote(answer.location)})" if answer.location else ""
            return Reading(expected=False, note=f"status {answer.status}{place}, expected {wanted}")
        sought = str(node.options.get("expect_body", ""))
        if sought.encode() not in answer.body:
            return Reading(expected=False, note=f"the body does not contain {quote(sought)}")
        return Reading()
