"""What is new: the difference between what was said and what is. Pure.

What was said last of each subject is kept (`Said`), on disk too: so nothing is said twice, a restart floods
nobody, and what happened while nodegate was away is told when it is back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from nodegate.alerting import circumstances
from nodegate.alerting.facts import FEW_NEIGHBOURS, Facts, held_back, serving, still_for, witnessed
from nodegate.alerting.news import GONE, News, Said, state
from nodegate.model import Instant, Inventory, Snapshot, Status, Verdict
from nodegate.telemetry.kinds import Event, Kind, event
from nodegate.views import span

NODE_KINDS: Mapping[Status, Kind] = {
    Status.UP: Kind.NODE_UP,
    Status.DEGRADED: Kind.NODE_DEGRADED,
    Status.DOWN: Kind.NODE_DOWN,
    Status.UNKNOWN: Kind.NODE_UNKNOWN,
}


def events_between(said: Said, snapshot: Snapshot, facts: Facts, now: Instant) -> tuple[News, ...]:
    """What `snapshot` and `facts` have that was not said yet, in the order in which an operator reads it.

    Nothing before the gateway is ready: until the first probes are in, ignorance would look like news. A first
    word that is good ("up", "reachable") is remembered in silence.
    """
    if not snapshot.ready:
        return ()
    return tuple(news for find in _FINDERS for news in find(said, snapshot, facts, now))


def _links(said: Said, snapshot: Snapshot, facts: Facts, now: Instant) -> Iterator[News]:
    rows = (
        ("registry", snapshot.registry_error, Kind.REGISTRY_LOST, Kind.REGISTRY_BACK, "can be read again"),
        ("haproxy", snapshot.haproxy_error, Kind.HAPROXY_LOST, Kind.HAPROXY_BACK, "answers again"),
    )
    for subject, error, lost, back, words in rows:
        name = "HAProxy" if subject == "haproxy" else "the registry"
        good = event(now, back, subject, f"{name} {words}")
        bad = event(now, lost, subject, error or "")
        yield from state(said, "link", subject, good if error is None else bad, quiet=error is None)


def _declared(said: Said, snapshot: Snapshot, facts: Facts, now: Instant) -> Iterator[News]:
    """Nodes that came and went, and what operators want of them. The first inventory ever is no news."""
    inventory = snapshot.inventory
    if inventory is None or snapshot.registry_error is not None:
        return
    first = ("declared", "registry") not in said
    if first:
        yield News("declared", "registry", "yes", None)
    for node in inventory.nodes:
        subject = f"node/{node.id}"
        if said.get(("declared", subject)) != node.pool:
            new = event(
                now, Kind.NODE_ADDED, subject, f"{node.id} was declared in pool {node.pool}",
                pool=node.pool, kind=node.kind, url=node.url,
            )  # fmt: skip
            yield News("declared", subject, node.pool, None if first else new)
        if said.get(("intent", subject), "serve") != node.intent.value:
            words = f"{node.id} is to {node.intent.value}"
            yield News("intent", subject, node.intent.value, event(
                now, Kind.INTENT, subject, words, pool=node.pool, intent=node.intent.value
            ))  # fmt: skip
    yield from _gone(said, inventory, now)


def _gone(said: Said, inventory: Inventory, now: Instant) -> Iterator[News]:
    if inventory.faults:
        return  # a record that cannot be read is not a node that is gone
    present = {f"node/{node.id}" for node in inventory.nodes} | {"registry"}
    for topic, subject in said:
        if topic == "declared" and subject not in present:
            pool = said[topic, subject]
            name = subject.removeprefix("node/")
            text = f"{name} is no longer declared in pool {pool}"
            yield News(topic, subject, GONE, event(now, Kind.NODE_REMOVED, subject, text, pool=pool))
            for other in ("status", "intent", "neighbours"):
                if (other, subject) in said:
                    yield News(other, subject, GONE, None)


def _statuses(said: Said, snapshot: Snapshot, facts: Facts, now: Instant) -> Iterator[News]:
    verdicts = snapshot.judgement.verdicts
    for node in () if snapshot.inventory is None else snapshot.inventory.nodes:
        verdict = verdicts.get(node.id)
        if verdict is None or (verdict.status is Status.UNKNOWN and verdict.observed_at is None):
            continue  # nobody has asked it yet: what was said before stands
        kind = NODE_KINDS[verdict.status]
        subject = f"node/{node.id}"
        was = said.get(("status", subject))
        if was != kind.value:
            quiet = was is None and kind is Kind.NODE_UP
            told = None if quiet else _status_event(now, subject, node.pool, verdict, was)
            yield News("status", subject, kind.value, told)


def _status_event(now: Instant, subject: str, pool: str, verdict: Verdict, was: str | None) -> Event:
    reasons = "; ".join(verdict.reasons)
    text = f"{verdict.node_id} is {verdict.status.value}{f': {reasons}' if reasons else ''}"
    return event(
        now, NODE_KINDS[verdict.status], subject, text,
        pool=pool, was=None if was is None else was.removeprefix("node-"), now=verdict.status.value,
        reasons=list(verdict.reasons), height=verdict.height,
    )  # fmt: skip


def _neighbours(said: Said, snapshot: Snapshot, facts: Facts, now: Instant) -> Iterator[News]:
    verdicts = snapshot.judgement.verdicts
    for node in () if snapshot.inventory is None else snapshot.inventory.nodes:
        verdict = verdicts.get(node.id)
        if verdict is None or verdict.peers is None or verdict.status in {Status.DOWN, Status.UNKNOWN}:
            continue
        subject = f"node/{node.id}"
        few = verdict.peers < FEW_NEIGHBOURS
        count = f"{verdict.peers} neighbour{'' if verdict.peers == 1 else 's'}"
        kind = Kind.NEIGHBOURS_LOST if few else Kind.NEIGHBOURS_BACK
        if said.get(("neighbours", subject), Kind.NEIGHBOURS_BACK) != kind.value:
            told = event(
                now, kind, subject, f"{node.id} has {count}", pool=node.pool, neighbours=verdict.peers
            )
            yield News("neighbours", subject, kind.value, told)


def _pools(said: Said, snapshot: Snapshot, facts: Facts, now: Instant) -> Iterator[News]:
    counts = serving(snapshot)
    for pool, count in (counts or {}).items():
        subject = f"pool/{pool}"
        empty = event(now, Kind.POOL_EMPTY, subject, f"no node of pool {pool} gets requests", pool=pool)
        full = event(
            now, Kind.POOL_SERVING, subject, f"pool {pool} serves again, with {count} nodes", pool=pool
        )
        yield from state(said, "service", subject, full if count else empty, quiet=count > 0)
    alive = witnessed(snapshot)
    for view in snapshot.judgement.pools.values():
        if view.pool not in alive or view.height is None:
            continue
        subject = f"pool/{view.pool}"
        still = still_for(view, now, facts.still_after)
        text = f"pool {view.pool} stands at height {view.height:,}"
        stands = event(
            now,
            Kind.POOL_STILL,
            subject,
            f"{text} for {span(still or 0.0)}",
            pool=view.pool,
            height=view.height,
        )
        moves = event(now, Kind.POOL_MOVING, subject, f"pool {view.pool} has reached height {view.height:,}",
                      pool=view.pool, height=view.height)  # fmt: skip
        yield from state(said, "motion", subject, moves if still is None else stands, quiet=still is None)


def _safety(said: Said, snapshot: Snapshot, facts: Facts, now: Instant) -> Iterator[News]:
    held = held_back(snapshot)
    for subject, reasons in held.items():
        text = f"{len(reasons)} change{'' if len(reasons) == 1 else 's'} held back: {reasons[0]}"
        yield from state(
            said,
            "safety",
            subject,
            event(now, Kind.WITHHELD, subject, text, withheld=reasons[:20]),
            quiet=False,
        )
    for topic, subject in said:
        if topic == "safety" and subject not in held and snapshot.haproxy_error is None:
            text = "safety holds nothing back any more"
            yield from state(said, topic, subject, event(now, Kind.RELEASED, subject, text), quiet=False)


_FINDERS: tuple[Callable[[Said, Snapshot, Facts, Instant], Iterator[News]], ...] = (
    _links, _declared, _statuses, _neighbours, _pools, _safety, *circumstances.FINDERS,
)  # fmt: skip
