"""What stands between plan and apply: which changes must not happen now, with the rule and the numbers.

Only what is done on health grounds, or because a node is missing from an inventory that cannot be trusted,
is ever withheld. An operator's drain and remove are obeyed; the plan says what they leave behind.
docs/decisions/0003-safety.md has the choices and what they cost.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from nodegate.model import (
    Change,
    ChangeKind,
    FailureKind,
    Instant,
    Intent,
    Inventory,
    Judgement,
    Node,
    Plan,
    Routing,
    Server,
    ServerState,
    Status,
    Verdict,
    Withheld,
)
from nodegate.routing.plan import Key, by_server, pool_of
from nodegate.routing.reasons import explain
from nodegate.settings import SafetySettings

PANIC = "panic threshold"
LAST_READY = "last ready server"
STALE_INVENTORY = "stale inventory"
UNREADABLE_RECORD = "unreadable record"
"""The rules, by the names that a plan shows."""

WRONG_CHAIN = "chain"
"""The verdict's rule that no panic overrules: data of another network is worse than no answer."""

_NO_ANSWER = frozenset(str(kind) for kind in FailureKind)
_LAG_BUCKET = 3
"""Lags are compared in powers of 2³: nodes within a factor of 8 are equally bad, so that they do not take
turns in serving."""


def withhold_unsafe(
    changes: Sequence[Change],
    running: Routing,
    inventory: Inventory,
    judgement: Judgement,
    now: Instant,
    *,
    settings: SafetySettings,
) -> Plan:
    """The changes that may be done now, and those that may not.

    Every change's `why` is completed by its cause (verdict, intent). Three things are withheld: taking out
    more of a pool on health grounds than `panic_threshold` allows, taking out a pool's last ready server on
    health grounds, and removing a server because an inventory older than `max_inventory_age` seconds, or
    one with a record that cannot be read, does not have its node. When a pool is in panic the least bad
    nodes keep serving; one that is out already is brought back if it is clearly better than those that are
    left. Withheld changes come back with the next pass, and the same choice is made again.
    """
    facts = _Facts(
        running=running.servers,
        nodes=by_server(inventory),
        verdicts=judgement.verdicts,
        states={
            _key(change): change.server.state for change in changes if _sets_state(change) and change.server
        },
    )
    kept = _kept_on_health(facts, settings)
    allowed: list[Change] = []
    withheld: list[Withheld] = []
    explained = explain(changes, inventory, judgement, facts.emptied())
    missing = _MissingNodes(inventory, now, settings)
    for change in explained:
        objection = missing.objection(change) or (kept.get(_key(change)) if _takes_out(change) else None)
        if objection is None:
            allowed.append(change)
        else:
            withheld.append(Withheld(change=change, rule=objection.rule, why=objection.why))
    back = [
        Change(kind=ChangeKind.SET_STATE, why=keep.why, server=replace(server, state=ServerState.READY))
        for key, keep in kept.items()
        if (server := running.servers[key]).state is not ServerState.READY
    ]
    reloads = 1 if allowed and allowed[0].kind is ChangeKind.RELOAD else 0
    return Plan(changes=(*allowed[:reloads], *back, *allowed[reloads:]), withheld=tuple(withheld))


@dataclass(frozen=True, slots=True)
class _Objection:
    """Why something is not done, or why a node serves although it is down."""

    rule: str
    why: str


class _MissingNodes:
    """Objections against taking out servers whose nodes the inventory does not have."""

    def __init__(self, inventory: Inventory, now: Instant, settings: SafetySettings) -> None:
        age = now - inventory.read_at
        self._faults = inventory.faults
        self._stale = _Objection(
            STALE_INVENTORY,
            f"the inventory was last read {age:,.0f} s ago (at most {settings.max_inventory_age:g} s): "
            "a node that it does not have may exist by now",
        ) if age > settings.max_inventory_age else None  # fmt: skip
        self._doubtful = self._stale is not None or bool(self._faults)
        self._known = {node.id for node in inventory.nodes} if self._doubtful else set()

    def objection(self, change: Change) -> _Objection | None:
        """Against `change`, None when it may be done as far as the inventory is concerned."""
        server = change.server
        if not self._doubtful or server is None or server.name in self._known:
            return None
        if change.kind is not ChangeKind.DELETE and not _takes_out(change):
            return None
        if self._stale is not None:
            return self._stale
        for fault in self._faults:
            if server.name in fault:
                return _Objection(
                    UNREADABLE_RECORD, f"its record may be the one that cannot be read: {fault}"
                )
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Facts:
    """What runs, what is known of it, and the states that the changes would set."""

    running: Mapping[Key, Server]
    nodes: Mapping[Key, Node]
    verdicts: Mapping[str, Verdict]
    states: Mapping[Key, ServerState]

    def after(self, key: Key, server: Server) -> ServerState:
        """A server's state once the changes are done."""
        return self.states.get(key, server.state)

    def emptied(self) -> frozenset[str]:
        """Backends in which the changes leave no server ready. Servers still to be added are not counted:
        they have not proved that HAProxy takes them."""
        touched = {backend for backend, _ in self.states}
        ready = {
            key[0]
            for key, server in self.running.items()
            if key[0] in touched and self.after(key, server) is ServerState.READY
        }
        return frozenset(touched - ready)


@dataclass(slots=True)
class _Tally:
    """One pool in numbers: servers of nodes that should serve, how many stay ready after the changes, how
    many of those HAProxy has not taken out itself, and which are out on health grounds."""

    total: int = 0
    stay: int = 0
    answering: int = 0
    out: list[Key] = field(default_factory=list)


def _kept_on_health(facts: _Facts, settings: SafetySettings) -> dict[Key, _Objection]:
    """The servers that serve although their nodes are down, with the rule and the numbers."""
    tallies: dict[str, _Tally] = {}
    for key, node in facts.nodes.items():
        server = facts.running.get(key)
        if server is None or node.intent is not Intent.SERVE or 0 in (server.weight, node.weight):
            continue
        tally = tallies.get(key[0])
        if tally is None:
            tally = tallies[key[0]] = _Tally()
        tally.total += 1
        if facts.after(key, server) is ServerState.READY:
            tally.stay += 1
            tally.answering += _answers(server)
        elif _down_on_right_chain(facts.verdicts.get(key[1])):
            tally.out.append(key)
    kept: dict[Key, _Objection] = {}
    for backend, tally in tallies.items():
        if tally.out:
            kept |= _kept_in(backend, tally, facts, settings)
    return kept


def _down_on_right_chain(verdict: Verdict | None) -> bool:
    return verdict is not None and verdict.status is Status.DOWN and WRONG_CHAIN not in verdict.rules


def _kept_in(backend: str, tally: _Tally, facts: _Facts, settings: SafetySettings) -> dict[Key, _Objection]:
    """The least bad of one pool, as many as its rules ask for.

    While one is brought back, nobody else goes: HAProxy has to show first that it has taken the change.
    """
    may_go = int(settings.panic_threshold * tally.total + 1e-9)
    lacking = tally.total - may_go - tally.stay
    ranked = sorted(tally.out, key=lambda key: _badness(facts.running[key], facts.verdicts[key[1]]))
    ready = [key for key in ranked if facts.running[key].state is ServerState.READY]
    chosen = ranked[: max(lacking, 0 if tally.stay else 1)]
    if any(facts.running[key].state is not ServerState.READY for key in chosen):
        chosen += [key for key in ready if key not in chosen]
    if not tally.answering and not any(_answers(facts.running[key]) for key in chosen):
        chosen += [key for key in ready if _answers(facts.running[key])][:1]
    out = tally.total - tally.stay
    if lacking > 0:
        objection = _Objection(
            PANIC,
            f"{out} of {tally.total} nodes ({out / tally.total:.0%}) would be out, "
            f"the limit is {settings.panic_threshold:.0%}: the least bad keep serving",
        )
    else:
        objection = _Objection(LAST_READY, f"no other server of pool {pool_of(backend)} is ready")
    return dict.fromkeys(chosen, objection)


def _badness(server: Server, verdict: Verdict) -> tuple[int, int, bool, str]:
    """The least bad first: one that answers before one that leads beyond belief before one that is silent;
    then by lag, in coarse steps; then the one that serves already, which also outweighs one step."""
    serves = server.state is ServerState.READY
    if not _NO_ANSWER.isdisjoint(verdict.rules):
        return 2, 0, not serves, server.name
    steps = (verdict.lag or 0).bit_length() // _LAG_BUCKET
    return int("ahead" in verdict.rules), max(0, steps - serves), not serves, server.name


def _answers(server: Server) -> bool:
    return server.state is ServerState.READY and not server.marked_down


def _key(change: Change) -> Key:
    return (change.server.backend, change.server.name) if change.server is not None else ("", "")


def _sets_state(change: Change) -> bool:
    return change.kind is ChangeKind.SET_STATE


def _takes_out(change: Change) -> bool:
    return _sets_state(change) and change.server is not None and change.server.state is not ServerState.READY
