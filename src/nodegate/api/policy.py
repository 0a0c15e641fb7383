"""`/api/v1/policies`: what is in force, and putting another document in force."""

from __future__ import annotations

import logging
from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from nodegate.api.bodies import StrictRoute
from nodegate.api.context import ApiContext
from nodegate.api.errors import ErrorDocument
from nodegate.documents import Document, parse
from nodegate.errors import BadDocument, Fault
from nodegate.policy.check import Finding
from nodegate.policy.difference import Difference, is_open
from nodegate.policy.document import kind_of
from nodegate.policy.inforce import Applied
from nodegate.telemetry import Event, record
from nodegate.views.policy import (
    DifferenceRow,
    FindingRow,
    PoliciesDocument,
    PolicyApplied,
    PolicyDetail,
    PolicyRow,
)

log = logging.getLogger("nodegate.api")

_ERRORS = {
    403: "HAProxy did not take it; the former policy is in force again",
    404: "no pool of that kind has a policy",
    409: "nodegate.toml names the file for this kind: change it there",
    422: "the document has errors; each is named by its key",
    503: "HAProxy cannot be reached; nothing was changed",
}


class NewPolicy(BaseModel):
    """A policy document to put in force."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    toml: str = Field(description="the whole text of the document")
    file: str = Field("document", max_length=200, description="its name, for messages")


def policy_routes(context: ApiContext) -> APIRouter:
    """All routes of policies."""
    router = APIRouter(prefix="/api/v1/policies", tags=["firewall"], route_class=StrictRoute)
    _add_reading(router, context)
    _add_writing(router, context)
    return router


def _add_reading(router: APIRouter, context: ApiContext) -> None:
    @router.get("", summary="Policies in force")
    async def list_policies() -> PoliciesDocument:
        """One row for each kind of node that has a policy."""
        rows = tuple(_row(context, kind) for kind in context.policies.kinds())
        return PoliciesDocument(policies=rows, faults=tuple(context.policies.faults))

    @router.get("/{kind}", summary="One policy, whole", responses=_responses(404))
    async def show_policy(kind: str) -> PolicyDetail:
        """The policy in force: every value, and the operator's own document."""
        policy = context.policies.loaded(kind).policy
        own = context.policies.operator(kind)
        return PolicyDetail(
            **_row(context, kind).model_dump(),
            document=own.data if own is not None else None,
            effective=policy.model_dump(mode="json", by_alias=True),
        )


def _add_writing(router: APIRouter, context: ApiContext) -> None:
    @router.put("/{kind}", summary="Apply a policy", responses=_responses(403, 404, 409, 422, 503))
    async def apply_policy(kind: str, new: NewPolicy) -> PolicyApplied:
        """Put a document in force, laid over the shipped one: checked first, whole or not at all. Numbers
        change without a reload."""
        try:
            document = parse(new.toml, file=new.file)
            _require_kind(document, kind)
            applied = await context.policies.apply(document)
        except BadDocument as error:
            raise _with_lines(error) from error
        return _applied(context, applied)

    @router.delete("/{kind}", summary="Back to the shipped policy", responses=_responses(403, 404, 409, 503))
    async def withdraw_policy(kind: str) -> PolicyApplied:
        """Drop the operator's document of that kind."""
        return _applied(context, await context.policies.withdraw(kind))


def _row(context: ApiContext, kind: str) -> PolicyRow:
    policy = context.policies.loaded(kind).policy
    own = context.policies.operator(kind)
    opened = sum(is_open(policy, name) for name in policy.methods)
    return PolicyRow(
        kind=kind,
        version=context.policies.version(kind),
        source="shipped" if own is None else own.file,
        default=policy.default,
        open=opened,
        closed=len(policy.methods) - opened,
    )


def _require_kind(document: Document, kind: str) -> None:
    if kind_of(document) != kind:
        raise BadDocument([document.fault(("kind",), f"this document is not for {kind!r}")])


def _applied(context: ApiContext, applied: Applied) -> PolicyApplied:
    context.wake()
    record(
        log,
        logging.INFO,
        Event.INTENT,
        f"the policy of {applied.kind} is version {applied.version} now",
        kind=applied.kind,
        before=applied.before or None,
        changes=len(applied.changes),
        reload=applied.reload or None,
    )
    return PolicyApplied(
        kind=applied.kind,
        version=applied.version,
        before=applied.before,
        reload=applied.reload,
        differences=tuple(difference_row(change) for change in applied.changes),
        warnings=tuple(finding_row(finding) for finding in applied.warnings),
    )


def difference_row(change: Difference) -> DifferenceRow:
    """A difference as a document."""
    return DifferenceRow(place=change.place, effect=change.effect.value, text=change.text)


def finding_row(finding: Finding) -> FindingRow:
    """A finding as a document."""
    fault = finding.fault
    return FindingRow(
        level=finding.level.value, file=fault.file, line=fault.line, key=fault.key, message=fault.message
    )


def _with_lines(error: BadDocument) -> BadDocument:
    """The API's faults have no line of their own: it goes into the message."""
    return BadDocument(
        Fault(
            file=fault.file,
            line=None,
            key=fault.key,
            message=fault.message if fault.line is None else f"line {fault.line}: {fault.message}",
        )
        for fault in error.faults
    )


def _responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    return {status: {"model": ErrorDocument, "description": _ERRORS[status]} for status in statuses}
