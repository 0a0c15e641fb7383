"""Routes of services in HAProxy: the maps that hold them, as Fabio would order them.

A request that no route of the file takes is looked up by host and path, then by the hosts that are globs, then
by path alone. What a lookup finds reads as in the routes map: `POOL/TREATMENT[/KIND]`, with `0` for no
treatment, or `~LOT` for a route that is shared out by lot. All of it changes at run time.
"""

from __future__ import annotations

import hashlib
import ipaddress
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from nodegate.haproxy.guarded import Guarded
from nodegate.routes import PlacedRoute, Rules, Treatment, in_order, normal_host
from nodegate.routes.globs import ANY, IN_HOST, to_regex
from nodegate.routes.lookup import host_key, host_matches, is_glob_host
from nodegate.settings import Settings

SERVICES = "services"
SERVICE_GLOBS = "service_globs"
LOTS = "lots"
TREATMENTS = "treatments"
STRIPS = "strips"
NETWORKS = "route_networks"
ACCESS = "route_access"

LOT_SIZE = 1000
"""Lots of a shared route: shares are kept to a thousandth."""

CATCH_ALL = "*"
"""The key, in the routes map, of what takes whatever nothing else does."""

AFTER_REDIRECT = "!"
"""Before keys that count for a request which a redirect would send to where it came from."""

Entries = dict[str, str]
Users = tuple[tuple[str, tuple[tuple[str, str], ...]], ...]
"""By authentication scheme the users with their password's hash, as crypt(3) writes it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """The routes of services, and which parts of the rules they need: globs, hosts with ports, treatments, access
    rules, redirects, lots. Parts that no route needs are left out of the configuration."""

    routes: tuple[PlacedRoute, ...]
    rules: Rules
    pools: frozenset[str]
    globs: bool = False
    ports: bool = False
    treated: bool = False
    guarded: bool = False
    redirects: bool = False
    shared: bool = False
    users: Users = ()


def rules_of(settings: Settings) -> Rules:
    """How requests are compared with routes, by the settings."""
    fabio = settings.fabio
    return Rules(
        matcher=fabio.matcher,
        tls=settings.gateway.tls_certificate is not None,
        exact_port=fabio.strict or fabio.matcher == "glob",
        glob_hosts=fabio.glob_hosts,
    )


def services_of(routes: Sequence[PlacedRoute], settings: Settings, users: Users = ()) -> Services:
    """The routes with what they need. `users` are those of each authentication scheme."""
    rules = rules_of(settings)
    hosts = [normal_host(route.host, tls=rules.tls) for route in routes]
    treatments = [variant.treatment for route in routes for variant in route.variants]
    return Services(
        routes=tuple(routes),
        rules=rules,
        pools=frozenset(variant.pool for route in routes for variant in route.variants),
        globs=rules.matcher == "glob" or any(is_glob_host(host, rules) for host in hosts),
        ports=rules.exact_port or any(":" in host for host in hosts),
        treated=any(treatment.id for treatment in treatments),
        guarded=any(t.closed or t.allow or t.deny for t in treatments),
        redirects=any(map(_redirects, routes)),
        shared=any(len(route.variants) > 1 for route in routes),
        users=users,
    )


def maps_of(services: Services, guarded: Guarded) -> dict[str, Entries]:
    """The maps that the rules for `services` refer to, by name."""
    kinds = {pool: policy.kind for pool in services.pools if (policy := guarded.of(pool)) is not None}
    made = _maps(services, tuple(sorted(kinds.items())))
    return {name: dict(entries) for name, entries in made.items()}


@lru_cache(maxsize=4)  # the same routes are asked for with every pass
def _maps(services: Services, kinds: tuple[tuple[str, str], ...]) -> Mapping[str, Entries]:
    making = _Making(rules=services.rules, kinds=dict(kinds))
    making.tables(services.routes, "")
    if services.redirects:
        making.tables([route for route in services.routes if not _redirects(route)], AFTER_REDIRECT)
    maps = {} if services.rules.matcher == "glob" else {SERVICES: making.services}
    if services.globs:
        maps[SERVICE_GLOBS] = making.globs
    if services.shared:
        maps[LOTS] = making.lots
    if services.treated:
        treatments = {v.treatment.id: v.treatment for route in services.routes for v in route.variants}
        maps[TREATMENTS] = {
            f"{name}/{key}": value
            for name, treatment in sorted(treatments.items())
            for key, value in treatment_entries(treatment).items()
        }
        maps[STRIPS] = {
            f"{name}{each.strip}": str(len(each.strip))
            for name, each in sorted(treatments.items())
            if each.strip
        }
        if services.guarded:
            maps[NETWORKS], maps[ACCESS] = access_entries(treatments)
    return maps


def _redirects(route: PlacedRoute) -> bool:
    return any(variant.treatment.redirect is not None for variant in route.variants)


@dataclass(slots=True)
class _Making:
    """Maps in the making."""

    rules: Rules
    kinds: Mapping[str, str]
    services: Entries = field(default_factory=dict)
    globs: Entries = field(default_factory=dict)
    lots: Entries = field(default_factory=dict)

    def tables(self, routes: Iterable[PlacedRoute], mark: str) -> None:
        """Enter the routes, each key with `mark` before it."""
        by_host: dict[str, list[PlacedRoute]] = {}
        for route in in_order(routes, self.rules):
            assert isinstance(route, PlacedRoute)
            by_host.setdefault(normal_host(route.host, tls=self.rules.tls), []).append(route)
        patterns = [host for host in by_host if is_glob_host(host, self.rules)]
        for host, each in by_host.items():
            if self.rules.matcher == "glob":
                self._enter_pattern(host, each, mark, whole=True)
            elif host in patterns:
                self._enter_pattern(host, each, mark, whole=False)
            else:
                self._enter_plain(host, self._with_greater(host, each, patterns, by_host), mark)

    def _with_greater(
        self, host: str, own: list[PlacedRoute], patterns: list[str], by_host: Mapping[str, list[PlacedRoute]]
    ) -> list[PlacedRoute]:
        """The routes of a host and of the globs that are tried before it, most specific first."""
        if not host or (":" in host and not self.rules.exact_port):
            return own
        greater = [
            pattern
            for pattern in patterns
            if host_key(pattern) > host_key(host) and host_matches(pattern, host, self.rules)
        ]
        return [route for pattern in greater for route in by_host[pattern]] + own

    def _enter_plain(self, host: str, routes: list[PlacedRoute], mark: str) -> None:
        """By the longest prefix. A path that an earlier route takes anyway is not entered: it would win."""
        seen: list[tuple[str, str]] = []
        for route in routes:
            path = self._cased(route.path)
            if any(path.startswith(earlier) and earlier_host != route.host for earlier, earlier_host in seen):
                continue
            seen.append((path, route.host))
            self.services.setdefault(f"{mark}{host}{path}", self._value(route))

    def _enter_pattern(self, host: str, routes: list[PlacedRoute], mark: str, *, whole: bool) -> None:
        """In order: the first that matches counts."""
        place = to_regex(host, IN_HOST) if is_glob_host(host, self.rules) else re.escape(host)
        for route in routes:
            path = to_regex(route.path, ANY) + "$" if whole else re.escape(self._cased(route.path))
            self.globs.setdefault(f"^{mark}{place}{path}", self._value(route))

    def _cased(self, path: str) -> str:
        return path.lower() if self.rules.matcher == "iprefix" else path

    def _value(self, route: PlacedRoute) -> str:
        lots = [(self._one(variant.pool, variant.treatment), variant.share) for variant in route.variants]
        if len(lots) == 1:
            return lots[0][0]
        name = hashlib.sha256(f"{route.host}{route.path}".encode()).hexdigest()[:10]
        for number, value in enumerate(_drawn(lots)):
            self.lots[f"{name}/{number}"] = value
        return f"~{name}"

    def _one(self, pool: str, treatment: Treatment) -> str:
        kind = self.kinds.get(pool)
        return f"{pool}/{treatment.id or 0}" + (f"/{kind}" if kind else "")


def _drawn(lots: Sequence[tuple[str, float]]) -> list[str]:
    """`LOT_SIZE` lots in proportion to the shares; whoever has a share has at least one."""
    counts = [max(1, round(share * LOT_SIZE)) for _, share in lots]
    counts[counts.index(max(counts))] += LOT_SIZE - sum(counts)
    return [value for (value, _), count in zip(lots, counts, strict=True) for _ in range(count)]


def treatment_entries(treatment: Treatment) -> Entries:
    """What the rules look up of one treatment, by the last part of the key."""
    entries: Entries = {}
    if treatment.closed or treatment.allow or treatment.deny:
        entries["access"] = "closed" if treatment.closed else "allow" if treatment.allow else "deny"
    for key, value in (
        ("auth", treatment.auth),
        ("strip", treatment.strip),
        ("prepend", treatment.prepend),
        ("host", treatment.host),
    ):
        if value:
            entries[key] = value
    if treatment.redirect is not None:
        entries["code"] = str(treatment.redirect.code)
        entries |= location_entries(treatment.redirect.url)
    return entries


def location_entries(url: str) -> Entries:
    """The address of a redirect in pieces: texts `a`, `b`, `c`, and between them `x` and `y`, each `host` or
    `path`. `query` says that the request's query goes along. `/$path` is `$path`, which begins with a slash."""
    url = url.replace("/$path", "$path")
    scheme, slashes, rest = url.rpartition("://")
    if slashes and "/" not in rest and "$path" not in rest:
        rest += "/"
    pieces = re.split(r"\$(host|path)", scheme + slashes + rest)
    entries = {name: piece for name, piece in zip("axbyc", pieces, strict=False) if piece}
    if "path" in pieces[1::2] and "?" not in url:
        entries["query"] = "1"
    return entries


def access_entries(treatments: Mapping[str, Treatment]) -> tuple[Entries, Entries]:
    """Networks and who lists them. An address is looked up once, which finds the smallest network around it; a
    second lookup, `TREATMENT/NETWORK`, finds whether that one lies within one of the treatment's."""
    lists = {
        name: [ipaddress.ip_network(text) for text in (*each.allow, *each.deny)]
        for name, each in treatments.items()
        if not each.closed and (each.allow or each.deny)
    }
    every = sorted({network for each in lists.values() for network in each}, key=str)
    numbered = {network: f"n{number}" for number, network in enumerate(every)}
    networks = {str(network): name for network, name in numbered.items()}
    access = {
        f"{name}/{numbered[network]}": "listed"
        for name, each in sorted(lists.items())
        for network in every
        if any(network.version == outer.version and network.subnet_of(outer) for outer in each)  # type: ignore[arg-type]
    }
    return networks, access
