"""The whole daemon as one document: registry, HAProxy, pools, faults."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from nodegate.model import Instant, Node, Snapshot, Status
from nodegate.views.cluster import GatewaysDocument
from nodegate.views.models import ClusterView, HaproxyView, PoolRow, RegistryView, StatusDocument
from nodegate.views.nodes import Place, nodes_of, places_of, serves, status_of
from nodegate.views.words import age, iso, milliseconds, readable, span


def status_document(
    snapshot: Snapshot, *, now: Instant, version: str, cluster: GatewaysDocument | None = None
) -> StatusDocument:
    """The daemon at `now`. Ages are counted up to `now`, not to the latest pass: they grow while it hangs."""
    faults = (*_faults(snapshot), *(f"cluster: {text}" for text in (cluster.faults if cluster else ())))
    return StatusDocument(
        version=version,
        state="starting" if not snapshot.ready else "impaired" if faults else "ok",
        started_at=iso(snapshot.started_at),
        uptime_seconds=age(snapshot.started_at, now),
        passes=snapshot.passes,
        pass_ms=milliseconds(snapshot.pass_duration),
        pass_age_seconds=age(snapshot.at, now),
        registry=_registry_view(snapshot, now),
        haproxy=_haproxy_view(snapshot),
        pools=pool_rows(snapshot, now=now),
        changes=len(snapshot.plan.changes),
        withheld=len(snapshot.plan.withheld),
        faults=faults,
        cluster=cluster_view(cluster),
    )


def cluster_view(document: GatewaysDocument | None) -> ClusterView | None:
    """The cluster in one sentence; None without one."""
    if document is None or document.me is None:
        return None
    rows = document.gateways
    alive = sum(row.alive for row in rows)
    dead = ", ".join(row.name for row in rows if not row.alive)
    text = f"{document.me}; {alive} of {len(rows)} gateways alive" + (f", not {dead}" if dead else "")
    return ClusterView(me=document.me, gateways=len(rows), alive=alive, text=text)


def pool_rows(snapshot: Snapshot, *, now: Instant) -> tuple[PoolRow, ...]:
    """All pools that have nodes or a view, by name."""
    places = places_of(snapshot)
    members: dict[str, list[Node]] = {name: [] for name in snapshot.judgement.pools}
    for node in nodes_of(snapshot):
        members.setdefault(node.pool, []).append(node)
    return tuple(_pool_row(name, members[name], snapshot, places, now) for name in sorted(members))


def _pool_row(
    name: str, nodes: list[Node], snapshot: Snapshot, places: Mapping[str, Place], now: Instant
) -> PoolRow:
    counts = Counter(status_of(snapshot, node.id) for node in nodes)
    view = snapshot.judgement.pools.get(name)
    known = snapshot.running is not None
    return PoolRow(
        name=name,
        kinds=tuple(sorted({node.kind for node in nodes})),
        nodes=len(nodes),
        up=counts[Status.UP],
        degraded=counts[Status.DEGRADED],
        down=counts[Status.DOWN],
        unknown=counts[Status.UNKNOWN],
        serving=sum(serves(places[node.id].servers) for node in nodes) if known else None,
        height=view.height if view else None,
        height_age_seconds=age(view.height_at, now) if view and view.height_at is not None else None,
        step_seconds=round(view.step, 3) if view and view.step is not None else None,
        voters=view.voters if view else 0,
        chain=readable(view.chain) if view else None,
    )


def _registry_view(snapshot: Snapshot, now: Instant) -> RegistryView:
    inventory = snapshot.inventory
    if inventory is None:
        text = snapshot.registry_error or "not read yet"
        return RegistryView(ok=False, text=text, index=None, nodes=None, age_seconds=None)
    old = age(inventory.read_at, now)
    return RegistryView(
        ok=snapshot.registry_error is None,
        text=f"read {span(old)} ago"
        if snapshot.registry_error is None
        else f"{snapshot.registry_error}; the inventory of {span(old)} ago stays in force",
        index=inventory.index,
        nodes=len(inventory.nodes),
        age_seconds=old,
    )


def _haproxy_view(snapshot: Snapshot) -> HaproxyView:
    running = snapshot.running
    if running is None:
        text = snapshot.haproxy_error or "not reached yet"
        return HaproxyView(ok=False, text=text, pid=None, uptime_seconds=None)
    healthy = f"process {running.pid}, up {span(running.uptime)}"
    return HaproxyView(
        ok=snapshot.haproxy_error is None,
        text=snapshot.haproxy_error or healthy,
        pid=running.pid,
        uptime_seconds=round(running.uptime, 3),
    )


def _faults(snapshot: Snapshot) -> tuple[str, ...]:
    """All that is wrong now, one sentence each."""
    faults: list[str] = []
    if snapshot.registry_error is not None:
        faults.append(f"registry: {snapshot.registry_error}")
    if snapshot.haproxy_error is not None:
        faults.append(f"HAProxy: {snapshot.haproxy_error}")
    faults += [f"HAProxy refused: {text}" for text in snapshot.refused]
    if snapshot.inventory is not None:
        faults += snapshot.inventory.faults
    return tuple(faults)
