"""Which route a request takes: Fabio's order, as the reference that the gateway's maps are tested against.

All hosts that match are tried, the most specific first: hosts are compared as reversed strings, the greater
one is the more specific (`z.abc.com` > `*.aaa.abc.com` > `*.abc.com`); routes for any host come last. Within
a host paths are tried in reverse order of strings, longer prefixes first. A host that matches and has no
path for the request falls through to the next host.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from nodegate.routes import globs
from nodegate.routes.values import Matcher, PlacedRoute, Route

AnyRoute = Route | PlacedRoute


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """How requests are compared with routes. `tls`: clients speak TLS, so 443 and not 80 is the port that needs
    no mention. `exact_port`: a port in the Host header must be in the route too; else a route that has this
    very host and port comes first, and the port does not count for the others. `glob_hosts`: hosts may be globs."""

    matcher: Matcher = "prefix"
    tls: bool = False
    exact_port: bool = False
    glob_hosts: bool = True


def normal_host(host: str, *, tls: bool) -> str:
    """A host as it is compared: lower-case, without the scheme's own port and a final dot."""
    host = host.strip().lower()
    return host.removesuffix(":443" if tls else ":80").rstrip(".")


def without_port(host: str) -> str:
    """The host without any port."""
    return re.sub(r":[0-9]+$", "", host).rstrip(".")


def host_key(host: str) -> tuple[bool, str]:
    """Sorts hosts from the least to the most specific."""
    return bool(host), host[::-1]


def in_order(routes: Iterable[AnyRoute], rules: Rules) -> list[AnyRoute]:
    """The routes in the order in which they are tried."""
    return sorted(
        routes, key=lambda route: (host_key(normal_host(route.host, tls=rules.tls)), route.path), reverse=True
    )


def lookup(routes: Sequence[AnyRoute], host: str, path: str, rules: Rules) -> AnyRoute | None:
    """The route that a request takes, None for none. `path` is decoded once."""
    asked = normal_host(host, tls=rules.tls)
    if rules.exact_port:
        return _first(routes, asked, path, rules)
    with_port = [route for route in routes if normal_host(route.host, tls=rules.tls) == asked]
    bare = without_port(asked)
    found = _first(with_port, asked, path, rules) if bare != asked else None
    return found or _first(routes, bare, path, rules)


def _first(routes: Sequence[AnyRoute], host: str, path: str, rules: Rules) -> AnyRoute | None:
    for route in in_order(routes, rules):
        if host_matches(route.host, host, rules) and path_matches(route.path, path, rules.matcher):
            return route
    return None


def is_glob_host(host: str, rules: Rules) -> bool:
    """Whether a route's host has to be matched, and not only compared."""
    return rules.glob_hosts and globs.is_glob(host)


def host_matches(pattern: str, host: str, rules: Rules) -> bool:
    """Whether a route for `pattern` is one for `host`, which is normal already."""
    if not pattern:
        return True
    wanted = normal_host(pattern, tls=rules.tls)
    return _compiled(wanted).fullmatch(host) is not None if is_glob_host(wanted, rules) else wanted == host


def path_matches(pattern: str, path: str, matcher: Matcher) -> bool:
    """Whether a route for `pattern` is one for `path`."""
    if matcher == "glob":
        return _compiled(pattern).fullmatch(path) is not None
    if matcher == "iprefix":
        return path.lower().startswith(pattern.lower())
    return path.startswith(pattern)


@lru_cache(maxsize=4096)
def _compiled(glob: str) -> re.Pattern[str]:
    return re.compile(globs.to_regex(glob), re.DOTALL)
