"""The decision of one moment. The rules stand in one tuple, in order of precedence; the first that applies decides.

`docs/scaling.md` has the same table for operators.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

from nodegate.model import Instant, Intent, Seconds, Status
from nodegate.scaling.values import Action, Decision, Facts, Ledger, Member, Own, Phase
from nodegate.settings import ScalingSettings

LONGEST_WAIT = Seconds(3600.0)
SHORTEST_WAIT = Seconds(1.0)
"""After a failure, also with `cooldown = 0`: a provider that fails at once is not called a thousand times."""
SPARE = 0.8
"""When scaling down, the nodes that stay may be loaded up to this share, else the size would swing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Scene:
    """Everything a rule looks at."""

    facts: Facts
    ledger: Ledger
    rules: ScalingSettings
    now: Instant
    healthy: tuple[Member, ...]
    starting: int
    broken: tuple[Own, ...]
    wanted: int
    enough: int

    def decision(self, action: Action, why: str, node: str = "") -> Decision:
        return Decision(
            action=action, why=why, node=node, wanted=self.wanted,
            healthy=len(self.healthy), starting=self.starting, broken=len(self.broken),
        )  # fmt: skip


def decide(facts: Facts, ledger: Ledger, rules: ScalingSettings, now: Instant) -> Decision:
    """What to do for the pool now. `ledger` is settled (see `settle`)."""
    scene = _scene(facts, ledger, rules, now)
    for rule in _RULES:
        if (decision := rule(scene)) is not None:
            return decision
    return scene.decision(Action.NOTHING, f"{_count(len(scene.healthy), 'healthy node')}, as wanted")


def wanted(rules: ScalingSettings, rate: float | None, *, spare: float = 1.0) -> int:
    """How many healthy nodes the size and the load ask for, if each may be loaded up to the share `spare`."""
    if rules.load_per_node is None or rate is None:
        return rules.size
    asked = math.ceil(rate / (rules.load_per_node * spare))
    return max(rules.size, asked if rules.max_size is None else min(asked, rules.max_size))


def wait_after(ledger: Ledger, rules: ScalingSettings) -> Seconds:
    """Seconds between the last action and the next one."""
    if not ledger.failures:
        return Seconds(rules.cooldown)
    doubled = max(SHORTEST_WAIT, rules.cooldown) * 2 ** min(ledger.failures, 12)
    return Seconds(max(rules.cooldown, min(LONGEST_WAIT, doubled)))


def _scene(facts: Facts, ledger: Ledger, rules: ScalingSettings, now: Instant) -> _Scene:
    serving = [member for member in facts.members if member.intent is Intent.SERVE]
    healthy = tuple(member for member in serving if member.status is Status.UP)
    up = {member.id for member in healthy}
    members = {member.id: member for member in serving}
    broken = tuple(
        own for own in ledger.own.values() if own.id not in up and _broken(own, members.get(own.id), rules, now)
    )  # fmt: skip
    joining = {
        own.id for own in ledger.own.values()
        if own.phase in {Phase.STARTING, Phase.RUNNING} and not own.joined
    }  # fmt: skip
    unjudged = {member.id for member in serving if member.status is Status.UNKNOWN}
    starting = (joining | unjudged) - up - {own.id for own in broken}
    # Without a rate nobody knows what the load needs: what is there stays.
    blind_load = rules.load_per_node is not None and facts.rate is None
    return _Scene(
        facts=facts, ledger=ledger, rules=rules, now=now, healthy=healthy, starting=len(starting),
        broken=broken, wanted=wanted(rules, facts.rate),
        enough=len(healthy) if blind_load else wanted(rules, facts.rate, spare=SPARE),
    )  # fmt: skip


def _broken(own: Own, member: Member | None, rules: ScalingSettings, now: Instant) -> bool:
    """Whether it is time to give a node of nodegate's own up."""
    if own.phase is not Phase.RUNNING:
        return False
    if not own.joined:
        return now - own.started_at > rules.join_timeout
    return member is not None and member.status is Status.DOWN and now - member.since >= rules.replace_after


def _unknown(scene: _Scene) -> Decision | None:
    if scene.facts.blind:
        return scene.decision(Action.NOTHING, scene.facts.blind)
    return None


def _not_in_charge(scene: _Scene) -> Decision | None:
    if scene.facts.in_charge:
        return scene.decision(Action.NOTHING, f"{scene.facts.in_charge} is in charge of this pool")
    return None


def _failed(scene: _Scene) -> Decision | None:
    left = _left(scene)
    if not scene.ledger.failures or left <= 0:
        return None
    why = f"{scene.ledger.failure}; tried again in {left:.0f} s"
    return scene.decision(Action.NOTHING, why)


def _unanswered_start(scene: _Scene) -> Decision | None:
    """A start that failed or was cut short is asked for again under the same id, so that nothing is lost."""
    own = next((own for own in scene.ledger.own.values() if own.phase is Phase.STARTING), None)
    if own is None:
        return None
    return scene.decision(Action.START, f"{own.id} was asked for and is not there yet", own.id)


def _owed_stop(scene: _Scene) -> Decision | None:
    own = next((own for own in scene.ledger.own.values() if own.phase is Phase.GONE), None)
    if own is None:
        return None
    return scene.decision(Action.STOP, f"{own.id} serves nothing any more", own.id)


def _cooling(scene: _Scene) -> Decision | None:
    left = _left(scene)
    if left <= 0:
        return None
    return scene.decision(
        Action.NOTHING, f"{scene.ledger.acted}; next action in {left:.0f} s at the earliest"
    )


def _short(scene: _Scene) -> Decision | None:
    have = len(scene.healthy) + scene.starting
    if have >= scene.wanted:
        return None
    why = f"{_count(len(scene.healthy), 'healthy node')}, {scene.wanted} wanted"
    if scene.starting:
        why += f", {scene.starting} on the way"
    if len(scene.ledger.own) < scene.rules.max_started:
        return scene.decision(Action.START, why)
    if scene.broken:
        return _give_up(scene)
    why += f"; but {len(scene.ledger.own)} of nodegate's own exist already (max_started)"
    return scene.decision(Action.NOTHING, why)


def _give_up(scene: _Scene) -> Decision | None:
    own = min(scene.broken, key=lambda own: own.started_at, default=None)
    if own is None:
        return None
    what = "has been out too long" if own.joined else "did not become healthy in time"
    return scene.decision(Action.DRAIN, f"{own.id} {what}", own.id)


def _surplus(scene: _Scene) -> Decision | None:
    if not has_surplus(scene.facts, scene.ledger, scene.rules, scene.now):
        return None
    since = scene.ledger.surplus_since
    left = scene.rules.idle_for - (scene.now - (since if since is not None else scene.now))
    text = f"{_count(len(scene.healthy), 'healthy node')}, {scene.enough} are enough"
    if left > 0:
        return scene.decision(Action.NOTHING, f"{text}; one is stopped in {left:.0f} s if that lasts")
    chosen = min(_stoppable(scene), key=lambda member: (member.sessions, -member.since, member.id))
    return scene.decision(Action.DRAIN, text, chosen.id)


def _stoppable(scene: _Scene) -> list[Member]:
    running = {own.id for own in scene.ledger.own.values() if own.phase is Phase.RUNNING}
    return [member for member in scene.healthy if member.id in running]


def has_surplus(facts: Facts, ledger: Ledger, rules: ScalingSettings, now: Instant) -> bool:
    """Whether one node of nodegate's own could go now: more healthy nodes than enough, and never the last."""
    scene = _scene(facts, ledger, rules, now)
    return len(scene.healthy) > max(1, scene.enough) and bool(_stoppable(scene))


def _left(scene: _Scene) -> float:
    """Seconds until the next action is allowed."""
    if scene.ledger.acted_at is None:
        return 0.0
    return scene.ledger.acted_at + wait_after(scene.ledger, scene.rules) - scene.now


def _count(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


_RULES: tuple[Callable[[_Scene], Decision | None], ...] = (
    _unknown,
    _not_in_charge,
    _failed,
    _unanswered_start,
    _owed_stop,
    _cooling,
    _short,
    _give_up,
    _surplus,
)


def marked(facts: Facts, ledger: Ledger, rules: ScalingSettings, now: Instant) -> Ledger:
    """The ledger with the beginning, or the end, of a surplus noted."""
    if not has_surplus(facts, ledger, rules, now):
        return ledger if ledger.surplus_since is None else replace(ledger, surplus_since=None)
    return ledger if ledger.surplus_since is not None else replace(ledger, surplus_since=now)
