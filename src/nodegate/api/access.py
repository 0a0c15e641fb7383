"""`/api/v1/requests`: why one request was answered as it was."""

from __future__ import annotations

from fastapi import APIRouter

from nodegate.api.context import ApiContext
from nodegate.api.errors import ErrorDocument
from nodegate.errors import NotFound
from nodegate.policy.limits import limit_of
from nodegate.policy.values import Policy
from nodegate.telemetry.accesslog import find_request
from nodegate.views.access import AccessLine
from nodegate.views.why import Explanation, explain

MAX_ID = 128
"""Characters of a request id that are looked for."""


def access_routes(context: ApiContext) -> APIRouter:
    """All routes of the access log."""
    router = APIRouter(prefix="/api/v1/requests", tags=["firewall"])

    @router.get(
        "/{id}",
        summary="Why was this request answered so?",
        responses={
            404: {"model": ErrorDocument, "description": "the access log does not know it"},
            503: {"model": ErrorDocument, "description": "there is no access log"},
        },
    )
    def show_request(id: str) -> Explanation:
        """Who asked what, what decided, which node, where the time went. The id is in the answer's
        `X-Request-Id`."""
        # Not a coroutine: the framework runs it in a thread, because it reads files.
        if len(id) > MAX_ID:
            raise NotFound(f"no request id has more than {MAX_ID} characters")
        line = find_request(context.directory, id)
        policies, kind = context.policies, line.kind
        if kind is None or kind not in policies.kinds():
            return explanation(line, None)
        return explanation(line, policies.loaded(kind).policy)

    return router


def explanation(line: AccessLine, policy: Policy | None) -> Explanation:
    """The line with what `policy` says of the rule that refused it (None: no policy is known)."""
    if line.rule is None or policy is None:
        return explain(line)
    limit = limit_of(policy, line.rule, method=line.method, key=line.key)
    if limit is None:
        return explain(line)
    remedy = (
        f"{limit.key} in the policy of {policy.kind} sets it; `nodegate policy apply` changes it"
        if limit.key
        else None
    )
    return explain(line, limit=limit.text, remedy=remedy)
