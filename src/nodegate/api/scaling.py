"""`GET /api/v1/scaling`: the sizes of pools, and what is done about them."""

from __future__ import annotations

from fastapi import APIRouter

from nodegate.api.context import ApiContext
from nodegate.scaling import Own, PoolScaling
from nodegate.views import iso
from nodegate.views.scaling import NextRequest, OwnNode, ScalingDocument, ScalingRow


def scaling_routes(context: ApiContext) -> APIRouter:
    """The one route."""
    router = APIRouter(tags=["gateway"])

    @router.get("/api/v1/scaling", summary="Pools that are kept at their size")
    async def scaling() -> ScalingDocument:
        """Each pool that has a `scaling` table: what it has and wants, its own nodes, what was done last, what is
        due, and the very command that would be called. Calls nothing."""
        return ScalingDocument(pools=tuple(_row(item) for item in context.scaling()))

    return router


def _row(item: PoolScaling) -> ScalingRow:
    ledger, decision = item.ledger, item.decision
    return ScalingRow(
        pool=item.pool, size=item.rules.size, max_started=item.rules.max_started, dry_run=item.rules.dry_run,
        wanted=decision.wanted, healthy=decision.healthy, starting=decision.starting, broken=decision.broken,
        own=tuple(_own(own) for own in ledger.own.values()),
        rate=None if item.rate is None else round(item.rate, 2),
        action=decision.action.value, node=decision.node or None, why=decision.why, busy=item.busy or None,
        last=ledger.acted or None, last_at=None if ledger.acted_at is None else iso(ledger.acted_at),
        failures=ledger.failures, failure=ledger.failure or None,
        next=None if item.next_request is None else NextRequest.model_validate(item.next_request),
    )  # fmt: skip


def _own(own: Own) -> OwnNode:
    return OwnNode(
        id=own.id, url=own.url or None, phase=own.phase.value, since=iso(own.at), joined=own.joined
    )
