"""Scaling as documents: what each pool has, wants, did last and does next."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import Field

from nodegate.settings import Scalar
from nodegate.views.models import View


class OwnNode(View):
    """A node that nodegate started."""

    id: str
    url: str | None
    phase: str = Field(description="starting, running, draining, or gone: only the stop command is owed")
    since: str = Field(description="when it took on its phase")
    joined: bool = Field(description="it has been healthy at least once")


class NextRequest(View):
    """The command that would be called now if nothing had to be waited for."""

    after: str | None = Field(description="what comes before the call; null: nothing")
    command: tuple[str, ...]
    environment: Mapping[str, str] = Field(description="variables that are added for it")
    stdin: Mapping[str, Scalar | list[Mapping[str, str]] | None]


class ScalingRow(View):
    """One pool that is scaled."""

    pool: str
    size: int
    wanted: int = Field(description="healthy nodes that size and load ask for")
    healthy: int
    starting: int = Field(description="nodes on the way, or not judged yet")
    broken: int = Field(description="nodes of nodegate's own that are given up")
    max_started: int
    own: tuple[OwnNode, ...] = Field(description="the nodes that nodegate started")
    rate: float | None = Field(description="requests a second; null: not known, or not asked for")
    action: str = Field(description="what is due now: start, drain, stop or nothing")
    node: str | None = Field(description="whom it is about; null: a new node, or nobody")
    why: str
    busy: str | None = Field(description="the command that runs now; null: none")
    last: str | None = Field(description="the last action; null: none yet")
    last_at: str | None
    failures: int = Field(description="actions that failed in a row")
    failure: str | None
    dry_run: bool
    next: NextRequest | None


class ScalingDocument(View):
    """All pools that are scaled."""

    pools: tuple[ScalingRow, ...]
