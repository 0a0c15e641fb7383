"""The cluster as the daemon uses it: one object, made where a Consul registry is configured."""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Generic, TypeVar

from nodegate import __version__
from nodegate.cluster.assess import Assessments
from nodegate.cluster.bans import BanLike, LocalFirewall, SharedBans
from nodegate.cluster.exchange import Exchange, shared_secret
from nodegate.cluster.members import Known, Member
from nodegate.cluster.membership import Membership
from nodegate.cluster.places import admin_url, advertised, default_name, is_place, registration_of
from nodegate.cluster.policies import SharedPolicies
from nodegate.cluster.share import owner
from nodegate.cluster.signed import Telling
from nodegate.cluster.words import Words
from nodegate.consul.client import ConsulClient
from nodegate.consul.kv import KeyValues
from nodegate.haproxy.config import split_host_port
from nodegate.haproxy.peers import Peer, Sharing
from nodegate.model import Instant, Observation, Seconds, Snapshot
from nodegate.policy.inforce import Policies
from nodegate.ports import Clock
from nodegate.settings import Settings
from nodegate.views.cluster import GatewayRow, GatewaysDocument
from nodegate.views.words import iso

B_co = TypeVar("B_co", bound=BanLike, covariant=True)
T_co = TypeVar("T_co", covariant=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings(Generic[B_co, T_co]):
    """What the cluster works with. `changed` asks for a pass; `hear` and `probe_soon` are the prober's."""

    settings: Settings
    client: ConsulClient
    policies: Policies
    firewall: LocalFirewall[B_co, T_co]
    snapshot: Callable[[], Snapshot]
    changed: Callable[[], None]
    hear: Callable[[Observation], None]
    probe_soon: Callable[[str], None]
    directory: Path
    clock: Clock


class Cluster(Generic[B_co, T_co]):
    """This gateway and the others. `policies` and `firewall` stand in for the local ones in the admin API."""

    def __init__(self, parts: Surroundings[B_co, T_co]) -> None:
        self._parts = parts
        self._settings = parts.settings.cluster
        self.me = self._settings.name or default_name(socket.gethostname(), parts.directory)
        self._started_at = parts.clock.now()
        self._membership = Membership(
            parts.client,
            registration_of(parts.settings, parts.client.addresses[0]),
            describe=self._describe,
            health=self._health,
            address=self._settings.address,
            file=parts.directory / "cluster.json",
            clock=parts.clock,
            changed=parts.changed,
        )
        keys = KeyValues(parts.client)
        self.policies = SharedPolicies(
            parts.policies, keys, me=self.me, clock=parts.clock, changed=parts.changed
        )
        self.firewall = SharedBans(
            parts.firewall,
            keys,
            me=self.me,
            living=self.living,
            incarnation=self._incarnation,
            clock=parts.clock,
        )
        self._assessments = Assessments(parts.snapshot)
        self.words, self._exchange = self._shared_probing(keys)
        self._membership.recall()

    @property
    def known(self) -> Mapping[str, Known]:
        """All gateways that are remembered, by name."""
        return self._membership.known

    @property
    def faults(self) -> tuple[str, ...]:
        """What is wrong with the cluster now, as this gateway sees it."""
        unheard = self._exchange.errors.items() if self._exchange is not None else ()
        return (
            *self._membership.faults,
            *self.policies.shared_faults,
            *self.firewall.faults,
            *(f"gateway {name} is not heard: {text}" for name, text in unheard),
        )

    def jobs(self) -> Mapping[str, Callable[[], Awaitable[None]]]:
        """What has to run for ever, by name."""
        return {
            "gateways": self._membership.watch,
            "registration": self._membership.register,
            "shared policies": self.policies.follow,
            "shared bans": self.firewall.follow,
        } | (
            {"words": self._exchange.serve, "other gateways' words": self._exchange.listen}
            if self._exchange is not None
            else {}
        )

    async def leave(self) -> None:
        """Deregister, at an orderly stop."""
        await self._membership.leave()

    def living(self) -> frozenset[str]:
        """The names of the gateways that live, this one always."""
        return frozenset({name for name, known in self.known.items() if known.alive} | {self.me})

    def leads(self, task: str) -> bool:
        """Whether this gateway is the one of all living ones to do a task that one should do for all. Two may
        think so for a moment, while one of them has not heard of the other."""
        return owner(task, self.living()) == self.me

    def sharing(self) -> Sharing:
        """With which HAProxies this one shares counters. The dead count too: they may come back, and taking one
        out would be a reload."""
        if self._settings.peers is None:
            return Sharing()
        certificate, authority = self._settings.peers_certificate, self._settings.peers_ca
        return Sharing(
            me=self.me,
            listen=self._settings.peers,
            others=tuple(
                Peer(name=name, place=known.member.peers)
                for name, known in self.known.items()
                if name != self.me and is_place(known.member.peers)
            ),
            limits=self._settings.share_limits,
            certificate=str(certificate) if certificate else "",
            authority=str(authority) if authority else "",
        )

    def document(self) -> GatewaysDocument:
        """All gateways, for people."""
        own = self._describe()
        known = dict(self.known)
        if self.me not in known:
            member = replace(own, alive=False, why="not registered yet")
            known = {self.me: Known(member=member, since=self._started_at), **known}
        rows = tuple(self._row(name, each) for name, each in sorted(known.items()))
        skipped = None if self.words is None else self.words.skipped
        return GatewaysDocument(me=self.me, gateways=rows, faults=self.faults, probes_left_to_others=skipped)

    def _shared_probing(self, keys: KeyValues) -> tuple[Words | None, Exchange | None]:
        settings, parts = self._settings, self._parts
        if settings.exchange is None:
            return None, None
        words = Words(
            me=self.me,
            living=lambda: self._places().keys(),
            max_age=Seconds(settings.word_intervals * parts.settings.probe.interval),
        )
        cache = parts.directory / "cluster.secret"
        exchange = Exchange(
            words, place=settings.exchange, secret=lambda: shared_secret(settings.secret_file, keys, cache),
            places=self._places, hear=self._heard, statuses=self._assessments.not_up, clock=parts.clock,
        )  # fmt: skip
        return words, exchange

    def _places(self) -> dict[str, str]:
        """Where the other living gateways answer, by name."""
        return {
            name: known.member.exchange
            for name, known in self.known.items()
            if name != self.me and known.alive and is_place(known.member.exchange)
        }

    def _heard(self, name: str, telling: Telling) -> None:
        if self.words is None:
            return
        nodes, now = self._assessments.nodes(), self._parts.clock.now()
        taken, asked = self.words.heard(telling.words, nodes, now)
        for observation in taken:
            self._parts.hear(observation)
        for node_id in asked:
            self._parts.probe_soon(node_id)
        if telling.others is not None:
            self.words.others[name] = telling.others
        self.words.keep(nodes.keys())

    def _row(self, name: str, known: Known) -> GatewayRow:
        member = known.member
        own = self._policy_versions()
        others = self.words.others.get(name) if self.words is not None else None
        return GatewayRow(
            name=name,
            this=name == self.me,
            alive=known.alive,
            why=member.why,
            since=iso(known.since),
            address=member.address,
            port=member.port,
            admin=member.admin,
            peers=member.peers or None,
            version=member.version,
            started_at=iso(member.started_at) if member.started_at is not None else None,
            policies=dict(member.policies),
            differs=tuple(
                sorted(kind for kind, version in member.policies.items() if own.get(kind, version) != version)
            ),
            fault=member.fault or None,
            disagrees=None if others is None or name == self.me else self._assessments.differences(others),
        )

    def _describe(self) -> Member:
        gateway, cluster = self._parts.settings.gateway, self._settings
        faults = self.policies.shared_faults if hasattr(self, "policies") else ()
        return Member(
            id=self.me,
            address=cluster.address or "",
            port=split_host_port(gateway.listen[0])[1],
            version=__version__,
            admin=admin_url(gateway.admin, cluster.address),
            peers=advertised(cluster.peers),
            exchange=advertised(cluster.exchange),
            started_at=Instant(round(self._started_at, 3)),
            policies=self._policy_versions(),
            fault="; ".join(faults),
        )

    def _policy_versions(self) -> dict[str, str]:
        policies = self._parts.policies
        return {kind: policies.version(kind) for kind in policies.kinds()}

    def _health(self) -> tuple[bool, str]:
        snapshot = self._parts.snapshot()
        if not snapshot.ready:
            return False, "the first pass is not applied yet"
        return snapshot.haproxy_error is None, snapshot.haproxy_error or "ready"

    def _incarnation(self) -> object:
        running = self._parts.snapshot().running
        return None if running is None else running.pid
