"""What came of attacks, and whether that is harm. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from nodegate.lab.attacks import Attack
from nodegate.lab.load import LoadReport
from nodegate.model import Seconds

FACTOR: Final = 2.0
"""Honest clients may get this many times slower (p99), no more."""
SLACK: Final = Seconds(0.1)
"""Seconds that do not count: p99 of a quiet node is a few milliseconds, and one busy moment of the machine
would double it."""
LOST: Final = 0.01
"""Share of the honest requests that may fail; the p99 says nothing once it is more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Honest:
    """What one group of honest clients saw in one phase. Latencies in seconds, of good answers."""

    ok: int
    failed: int
    p50: Seconds | None
    p99: Seconds | None

    @classmethod
    def of(cls, report: LoadReport) -> Honest:
        return cls(ok=report.ok, failed=report.failures, p50=report.p50, p99=report.p99)

    def worse_than(self, quiet: Honest) -> bool:
        """Whether these clients were harmed, compared with the quiet phase."""
        if self.p99 is None or self.failed > LOST * (self.ok + self.failed):
            return True
        return quiet.p99 is not None and self.p99 > max(FACTOR * quiet.p99, quiet.p99 + SLACK)

    def document(self) -> dict[str, Any]:
        """For JSON; latencies in milliseconds."""
        return {
            "ok": self.ok,
            "failed": self.failed,
            "p50_ms": _ms(self.p50),
            "p99_ms": _ms(self.p99),
        }


Phase = Mapping[str, Honest]
"""What each group of honest clients saw, by the group's name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """What became of an attack's requests.

    `sent` scripts were begun; `by_status` counts answers; `by_rule` the rules that the gateway names;
    `cut` were ended by the other side without an answer, `unheard` by the attacker who lost patience,
    `unconnected` found no connection. `most_open` connections were open at once.
    """

    sent: int = 0
    by_status: Mapping[int, int] = field(default_factory=dict)
    by_rule: Mapping[str, int] = field(default_factory=dict)
    cut: int = 0
    unheard: int = 0
    unconnected: int = 0
    most_open: int = 0

    @property
    def answered(self) -> int:
        """Good answers."""
        return sum(count for status, count in self.by_status.items() if status < 400)

    @property
    def refused(self) -> int:
        """Answers that say no."""
        return sum(count for status, count in self.by_status.items() if status >= 400)


REFUSED_SHARE = 0.9
"""Share of an attack's requests that have to be refused for it to count as limited."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AttackReport:
    """One attack: what was sent, and how honest clients fared beside it.

    `already` are groups that had not recovered when the attack began: their harm is an earlier attack's.
    """

    attack: Attack
    sent: Sent
    quiet: Phase
    during: Phase
    already: frozenset[str]
    seconds: Seconds

    @property
    def got_through(self) -> int:
        """Forbidden requests that a node worked on: good answers, and silence, since a refusal is quick."""
        return self.sent.answered + self.sent.unheard if self.attack.forbidden else 0

    @property
    def harmed(self) -> tuple[str, ...]:
        """The groups of honest clients that this attack harmed."""
        return tuple(
            name
            for name, seen in self.during.items()
            if name not in self.already and seen.worse_than(self.quiet[name])
        )

    @property
    def harmless(self) -> bool:
        """Nothing got through and nobody was harmed, as far as can be told."""
        return not self.got_through and not self.harmed and not self.already

    @property
    def limited(self) -> bool:
        """Honest clients waited, but only those that a few such calls keep waiting, and the others were refused."""
        sent = self.sent
        turned_away = sum(count for status, count in sent.by_status.items() if 400 <= status < 500)
        few = turned_away >= REFUSED_SHARE * (sent.refused + sent.answered + sent.unheard)
        waited = frozenset(self.harmed)
        return bool(waited) and waited <= self.attack.strains and few and not self.already

    @property
    def borne(self) -> bool:
        """Harmless, or limited to what this attack does at best."""
        return self.harmless or self.limited

    def document(self) -> dict[str, Any]:
        """For JSON."""
        sent = self.sent
        return {
            "name": self.attack.name,
            "forbidden": self.attack.forbidden,
            "seconds": round(self.seconds, 2),
            "sent": sent.sent,
            "answered": sent.answered,
            "refused": sent.refused,
            "by_status": {str(status): count for status, count in sorted(sent.by_status.items())},
            "by_rule": dict(sorted(sent.by_rule.items())),
            "cut": sent.cut,
            "unheard": sent.unheard,
            "unconnected": sent.unconnected,
            "most_open": sent.most_open,
            "got_through": self.got_through,
            "honest": {name: seen.document() for name, seen in self.during.items()},
            "already_harmed": sorted(self.already),
            "harmed": list(self.harmed),
            "harmless": self.harmless,
            "limited": self.limited,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Campaign:
    """All attacks of one run."""

    url: str
    quiet: Phase
    reports: tuple[AttackReport, ...]

    @property
    def harmless(self) -> bool:
        """Whether every attack was."""
        return all(report.harmless for report in self.reports)

    @property
    def borne(self) -> bool:
        """Whether every attack was harmless or limited."""
        return all(report.borne for report in self.reports)

    def document(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "url": self.url,
            "quiet": {name: seen.document() for name, seen in self.quiet.items()},
            "attacks": [report.document() for report in self.reports],
            "harmless": self.harmless,
            "borne": self.borne,
        }


def _ms(seconds: Seconds | None) -> float | None:
    return None if seconds is None else round(seconds * 1000, 2)
