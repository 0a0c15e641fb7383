"""The frontend's rules for routes of services. docs/decisions/0010-fabio-routes.md tells why they are so."""

from __future__ import annotations

from nodegate.haproxy import services as maps
from nodegate.haproxy.conditions import cond, if_found, unless_found, unless_str
from nodegate.haproxy.config import Userlist, Words, words
from nodegate.haproxy.paths import ROUTES, map_reference
from nodegate.haproxy.services import Services
from nodegate.settings import FabioSettings, PoolSettings, Settings

SPEAKERS = 8
"""Addresses of X-Forwarded-For that an access rule looks at; with more of them the request is denied."""

FULL_HOST = "req.hdr(host),lower"
_HOST = "req.hdr(host),host_only,lower,rtrim(.)"
_PATH = "path,url_dec"
_CODES = (301, 302, 303, 307, 308)


def process_lines() -> tuple[Words, ...]:
    """What `global` needs: the normalising of paths counts as experimental in HAProxy."""
    return (words("expose-experimental-directives"),)


def auth_name(scheme: str) -> str:
    """The list of users of an authentication scheme."""
    return f"auth:{scheme}"


def pool_settings(name: str, settings: Settings, services: Services | None) -> PoolSettings:
    """The settings of a pool. One that only services make goes round its nodes unless the file says otherwise:
    their weights are shares of the requests, which HAProxy's leastconn does not keep while little is going on."""
    pool = settings.pool(name)
    if services is None or name not in services.pools or name in settings.pools:
        return pool
    return pool.model_copy(update={"balance": "roundrobin"})


def userlists(services: Services) -> tuple[Userlist, ...]:
    """The users of each authentication scheme."""
    return tuple(
        Userlist(
            name=auth_name(scheme),
            lines=tuple(words("user", user, "password", secret) for user, secret in users),
        )
        for scheme, users in services.users
    )


def path_lines() -> tuple[Words, ...]:
    """One spelling for each path before anything is looked up, else `/open/../closed` would be matched as one
    thing and understood by a node as another. What stays ambiguous is refused."""
    dotted = "(^|[/\\\\])\\.\\.?([/\\\\]|$)"
    return (
        words("http-request", "normalize-uri", "path-merge-slashes", "if", *cond("path", "-m", "sub", "//")),
        words("http-request", "normalize-uri", "path-strip-dot", "if", *cond("path", "-m", "sub", "/.")),
        words(
            "http-request", "normalize-uri", "path-strip-dotdot", "full", "if", *cond("path", "-m", "sub", "/..")
        ),
        words("http-request", "deny", "deny_status", 400, "if", *cond("path", "-m", "sub", "%"),
              *cond(_PATH, "-m", "reg", dotted)),
        words("http-request", "deny", "deny_status", 400, "if", *cond("path", "-m", "sub", "%00")),
        words("http-request", "deny", "deny_status", 400, "if", *cond("req.hdr(host)", "-m", "sub", "/")),
    )  # fmt: skip


def lookup_lines(services: Services, settings: Settings) -> tuple[Words, ...]:
    """Find `txn.route` where no route of the file did; `txn.service` says so."""
    rules, lines = services.rules, [set_var("service", "bool(true)", *unless_found("txn.route"))]
    path = f"{_PATH},lower" if rules.matcher == "iprefix" else _PATH
    if services.ports:
        port = ":443" if rules.tls else ":80"
        lines.append(set_var("host", f"{FULL_HOST},regsub({port}$,),rtrim(.)", *if_found("txn.service")))
    lines += _lookups(services, path)
    lines += _resolve(services)
    if services.redirects:
        lines += _redirected(services, path)
    status = settings.fabio.no_route_status
    lines.append(words("http-request", "return", "status", status, "if", *unless_found("txn.route")))
    return tuple(lines)


def treatment_lines(services: Services, settings: Settings) -> tuple[Words, ...]:
    """What is done to the request before it is passed on: access, authentication, redirect, path."""
    if not services.treated:
        return ()
    return (
        *(_access() if services.guarded else ()),
        *_authentication(settings.fabio),
        *_leave(),
    )


# ---- pieces --------------------------------------------------------------------------------------------


def set_var(name: str, sample: str, *when: str) -> Words:
    """Set the request's variable `name`."""
    return words("http-request", f"set-var(txn.{name})", sample, *(("if", *when) if when else ()))


def _fmt(name: str, text: str, *when: str) -> Words:
    return words("http-request", f"set-var-fmt(txn.{name})", text, *(("if", *when) if when else ()))


def _found_in(sample: str) -> Words:
    return set_var("route", sample, *unless_found("txn.route"))


def treatment_of(key: str) -> str:
    """The value of the treatment's `key`."""
    return f"var(txn.how),concat(/{key}),map_str({map_reference(maps.TREATMENTS)})"


def _lookups(services: Services, path: str, mark: str = "") -> list[Words]:
    """All lookups in order; each one only as long as there is no route."""
    rules = services.rules
    hosts = ["%[var(txn.host)]"] if services.ports else []
    hosts += [] if rules.exact_port else [f"%[{_HOST}]"]
    places = [f"{mark}{host}%[{path}]" for host in hosts]
    lines: list[Words] = []
    for number, place in enumerate(places):
        lines.append(_fmt("place", place, *unless_found("txn.route")))
        if rules.matcher != "glob":
            lines.append(_found_in(f"var(txn.place),map_beg({map_reference(maps.SERVICES)})"))
        if services.globs and number == len(places) - 1:
            lines.append(_found_in(f"var(txn.place),map_reg({map_reference(maps.SERVICE_GLOBS)})"))
    by_path = (
        f"map_reg({map_reference(maps.SERVICE_GLOBS)})"
        if rules.matcher == "glob"
        else f"map_beg({map_reference(maps.SERVICES)})"
    )
    lines.append(_fmt("place", f"{mark}%[{path}]", *unless_found("txn.route")))
    lines.append(_found_in(f"var(txn.place),{by_path}"))
    return [*lines, _found_in(f"str({maps.CATCH_ALL}),map_str({map_reference(ROUTES)})")]


def _resolve(services: Services) -> list[Words]:
    """From what a lookup found to one pool and one treatment, and the path that the treatment makes."""
    lines: list[Words] = []
    if services.shared:
        drawn = cond("var(txn.route)", "-m", "beg", "~")
        lots = f"var(txn.lot),concat(/,txn.drawn),map_str({map_reference(maps.LOTS)})"
        lines += [
            set_var("lot", "var(txn.route),ltrim(~)", *drawn),
            set_var("drawn", f"rand({maps.LOT_SIZE}),concat()", *drawn),
            set_var("route", lots, *drawn),
        ]
    if services.treated:
        # Pools of the file have a number here, treatments a name.
        is_treated = cond("var(txn.route),field(2,/)", "-m", "beg", "t")
        lines += [set_var("how", "var(txn.route),field(2,/)", *is_treated), *_new_path()]
    return lines


def _new_path() -> list[Words]:
    """`txn.rest`: the path without the prefix to strip (HAProxy cuts constant lengths only, so it is done by
    powers of two) and with the one to prepend."""
    how, cut = if_found("txn.how"), if_found("txn.cut")
    return [
        _fmt("place", "%[var(txn.how)]%[path]", *how),
        set_var("cut", f"var(txn.place),map_beg_int({map_reference(maps.STRIPS)})", *how),
        set_var("rest", "path", *how),
        *(
            set_var("rest", f"var(txn.rest),bytes({bit})", *cut, *cond(f"var(txn.cut),and({bit})", "eq", bit))
            for bit in (64, 32, 16, 8, 4, 2, 1)
        ),
        _fmt("rest", "/%[var(txn.rest)]", *cut, "!", *cond("var(txn.rest)", "-m", "beg", "/")),
        set_var("prepend", treatment_of("prepend"), *how),
        _fmt("rest", "%[var(txn.prepend)]%[var(txn.rest)]", *if_found("txn.prepend")),
    ]


def _redirected(services: Services, path: str) -> list[Words]:
    """Where a redirect leads. One that leads to the very place that was asked for is none: then the routes that
    are no redirects count."""
    code, again = if_found("txn.code"), if_found("txn.again")
    scheme = "https" if services.rules.tls else "http"
    lines = [
        set_var("code", treatment_of("code"), *if_found("txn.how")),
        *(
            line
            for key in "xy"
            for line in (
                set_var(key, "var(txn.rest)", *code, *cond(treatment_of(key), "-m", "str", "path")),
                set_var(key, "req.hdr(host)", *code, *cond(treatment_of(key), "-m", "str", "host")),
            )
        ),
        _fmt(
            "location",
            f"%[{treatment_of('a')}]%[var(txn.x)]%[{treatment_of('b')}]%[var(txn.y)]%[{treatment_of('c')}]",
            *code,
        ),
        _fmt("here", f"{scheme}://%[req.hdr(host)]%[path]", *code),
        set_var("again", "bool(true)", *code, *cond("var(txn.location),strcmp(txn.here)", "eq", 0)),
        *(
            words("http-request", f"unset-var(txn.{name})", "if", *again)
            for name in ("route", "how", "code", "cut", "prepend", "lot")
        ),
    ]
    lines += _lookups(services, path, maps.AFTER_REDIRECT)
    return [*lines, *_resolve(services)]


def _access() -> tuple[Words, ...]:
    """By the address of the connection and each of X-Forwarded-For. What is no address is on no list: `allow`
    denies it."""
    rule = if_found("txn.access")
    lines = [
        set_var("access", treatment_of("access"), *if_found("txn.how")),
        _denied("if", *cond("var(txn.access)", "-m", "str", "closed")),
        _denied("if", *rule, *cond("req.hdr_cnt(x-forwarded-for)", "gt", SPEAKERS)),
        # HAProxy takes what stands in quotes for one value, commas and all: addresses could hide in there.
        _denied("if", *rule, *cond("req.fhdr(x-forwarded-for)", "-m", "sub", '"')),
    ]
    for number in range(SPEAKERS + 1):
        speaker = "src" if number == 0 else f"req.hdr_ip(x-forwarded-for,{number})"
        there = () if number == 0 else cond("req.hdr_cnt(x-forwarded-for)", "ge", number)
        listed = cond(
            f"var(txn.how),concat(/,txn.network),map_str({map_reference(maps.ACCESS)})", "-m", "found"
        )
        lines += [
            words("http-request", "unset-var(txn.network)", "if", *rule),
            set_var("network", f"{speaker},map_ip({map_reference(maps.NETWORKS)})", *rule, *there),
            _denied("if", *cond("var(txn.access)", "-m", "str", "allow"), *there, "!", *listed),
            _denied("if", *cond("var(txn.access)", "-m", "str", "deny"), *there, *listed),
        ]
    return tuple(lines)


def _denied(*when: str) -> Words:
    return words(
        "http-request",
        "return",
        "status",
        403,
        "content-type",
        "text/plain",
        "string",
        "access denied",
        *when,
    )


def _authentication(fabio: FabioSettings) -> tuple[Words, ...]:
    """Basic authentication by the scheme that the treatment names; one that nobody knows lets nobody in."""
    return (
        set_var("auth", treatment_of("auth"), *if_found("txn.how")),
        *(
            words("http-request", "auth", "realm", scheme.realm or name, "if",
                  *cond("var(txn.auth)", "-m", "str", name), "!", *cond(f"http_auth({auth_name(name)})"))
            for name, scheme in sorted(fabio.auth.items())
        ),
        words("http-request", "deny", "deny_status", 401, "if", *if_found("txn.auth"),
              *(word for name in sorted(fabio.auth) for word in unless_str("txn.auth", name))),
    )  # fmt: skip


def _leave() -> tuple[Words, ...]:
    """Answer with the redirect, or go on with the new path."""
    query = _fmt(
        "query", "?%[query]", *cond(treatment_of("query"), "-m", "found"), *cond("query", "-m", "found")
    )
    return (
        query,
        *(
            words("http-request", "redirect", "location", "%[var(txn.location)]%[var(txn.query)]", "code", code,
                  "if", *cond("var(txn.code)", "eq", code))
            for code in _CODES
        ),
        words("http-request", "set-path", "%[var(txn.rest)]", "if", *if_found("txn.how")),
    )  # fmt: skip
