"""A fleet under judgement: say what each probe saw, ask for the verdicts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from nodegate.health import judge
from nodegate.model import (
    Criteria,
    Failure,
    FailureKind,
    Instant,
    Intent,
    Inventory,
    Judgement,
    Node,
    Observation,
    Reading,
    Seconds,
    Status,
    Verdict,
)
from nodegate.settings import HealthSettings

REFUSED = Failure(kind=FailureKind.REFUSED, text="connection refused")


class Fleet:
    """One pool of nodes a, b, c, …; `see` is one probe each, all at the same time, followed by a pass."""

    def __init__(self, size: int, criteria: Criteria, settings: HealthSettings) -> None:
        self.nodes = {
            name: Node(id=name, url=f"http://192.0.2.{number}:14265", kind="iri")
            for number, name in enumerate("abcdefghij"[:size], start=1)
        }
        self.criteria = criteria
        self.settings = settings
        self.observations: dict[str, Observation] = {}
        self.judgement = Judgement()

    def observe(
        self, name: str, at: float, outcome: Reading | Failure | int, *, latency: float = 0.01
    ) -> None:
        """One probe of one node; an int is the height of an otherwise healthy reading."""
        reading = Reading(height=outcome) if isinstance(outcome, int) else outcome
        self.observations[name] = Observation(
            node_id=name, at=Instant(at), duration=Seconds(0.02), outcome=reading, latency=Seconds(latency),
            address=f"192.0.2.{ord(name) - 96}",
        )  # fmt: skip

    def judge(self, now: float) -> Judgement:
        """One pass."""
        inventory = Inventory(nodes=tuple(self.nodes.values()), index=1, read_at=Instant(now))
        self.judgement = judge(
            inventory, self.observations, self.judgement, Instant(now),
            criteria={"main": self.criteria}, settings=self.settings,
        )  # fmt: skip
        return self.judgement

    def see(self, at: float, **outcomes: Reading | Failure | int) -> Judgement:
        for name, outcome in outcomes.items():
            self.observe(name, at, outcome)
        return self.judge(at)

    def intend(self, name: str, intent: Intent) -> None:
        self.nodes[name] = replace(self.nodes[name], intent=intent)

    def __getitem__(self, name: str) -> Verdict:
        return self.judgement.verdicts[name]

    def statuses(self) -> str:
        """`up up down` in the order of the nodes."""
        return " ".join(self[name].status for name in self.nodes)

    @property
    def height(self) -> int | None:
        return self.judgement.pools["main"].height

    @property
    def serving(self) -> set[str]:
        return {name for name in self.nodes if self[name].status in {Status.UP, Status.DEGRADED}}


@pytest.fixture(scope="session")
def fleet() -> Callable[..., Fleet]:
    """Builds a fleet: `fleet(3)`, `fleet(3, max_lag=1, fall=1)`."""

    def build(size: int, *, rise: int = 2, fall: int = 3, max_age: float = 60.0, **criteria: object) -> Fleet:
        settings = HealthSettings(rise=rise, fall=fall, max_age=max_age)
        return Fleet(size, Criteria(**criteria), settings)  # type: ignore[arg-type]

    return build


@pytest.fixture(scope="session")
def refused() -> Failure:
    return REFUSED
