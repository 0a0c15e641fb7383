"""The options of a routing tag: one table says what each means, and which of them nodegate does not do."""

from __future__ import annotations

import ipaddress
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from nodegate.routes import Redirect, Treatment

_HOST = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9._-]*[A-Za-z0-9])?(:[0-9]{1,5})?")
_PATH = re.compile(r"/[!-~]*")
_LOCATION = re.compile(r"[!-~]+")
_NUMBER = re.compile(
    r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]{1,3})?|[+-]?(nan|inf|infinity)", re.IGNORECASE
)
LONGEST_STRIP = 127
"""Characters that can be cut; the gateway cuts by powers of two up to 64."""

UPSTREAM = "dst"
"""The value of `host` that stands for the node's own host and port."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Meaning:
    """What the options of one tag say. `host` may be `dst`, which only the instance can tell; then it stands in
    `upstream_host` and not in the treatment. `registers` is a further name for the gateway in Consul."""

    weight: float = 0.0
    https: bool = False
    verify: bool = True
    upstream_host: str = ""
    registers: str = ""
    treatment: Treatment = field(default_factory=Treatment)


class _Bad(ValueError):
    """An option that makes its tag unusable; the sentence says why."""


class _Closed(ValueError):
    """An access rule that cannot be understood: nobody may use the route."""


class _Ignored(ValueError):
    """An option that is left out; the tag is used without it."""


def split(text: str) -> dict[str, str]:
    """`weight=0.2 strip=/a flag` as names and values; a name alone has an empty value, the last one counts."""
    options: dict[str, str] = {}
    for word in text.split():
        name, _, value = word.partition("=")
        options[name] = value
    return options


def read(options: Mapping[str, str], *, strict: bool) -> tuple[Meaning | None, tuple[str, ...]]:
    """What the options mean, None when the tag cannot be used, and a sentence for each that is not obeyed.

    A wrong access rule closes the route for everybody: an operator who wanted to restrict it must not find it
    open. `strict`: a redirect that cannot be understood is left out, as Fabio does; else it spoils the tag.
    """
    meaning = Meaning()
    faults: list[str] = []
    closed = ""
    for name, value in options.items():
        try:
            meaning = _TABLE.get(name, _unknown(name))(meaning, value)
        except _Closed as error:
            closed = str(error)
        except _Ignored as error:
            faults.append(str(error))
        except _Bad as error:
            if not (strict and name == "redirect"):
                return None, (*faults, f"{error}; the tag is left out")
            faults.append(f"{error}; it is left out, and requests are proxied")
    if "allow" in options and "deny" in options:
        closed = "allow and deny cannot stand together"
    if closed:
        faults.append(f"{closed}; the route is closed for everybody")
        meaning = _treated(meaning, closed=closed, allow=(), deny=())
    return meaning, tuple(faults)


def _treated(meaning: Meaning, **changes: object) -> Meaning:
    return replace(meaning, treatment=replace(meaning.treatment, **changes))  # type: ignore[arg-type]


def _unknown(name: str) -> Callable[[Meaning, str], Meaning]:
    def ignore(_: Meaning, __: str) -> Meaning:
        raise _Ignored(f"the option {name!r} is not known and has no effect")

    return ignore


def _weight(meaning: Meaning, value: str) -> Meaning:
    if _NUMBER.fullmatch(value) is None:
        raise _Bad(f"weight={value} is not a number such as 0.2")
    weight = float(value)
    if math.isnan(weight) or weight <= 0:
        weight = 0.0
    return replace(meaning, weight=min(weight, 1e6))


def _proto(meaning: Meaning, value: str) -> Meaning:
    if value == "https":
        return replace(meaning, https=True)
    if value in {"http", ""}:
        return meaning
    if value in {"tcp", "grpc", "grpcs", "tcp-dynamic", "https+tcp+sni", "tcp+sni"}:
        raise _Bad(f"proto={value} is not supported: nodegate routes HTTP and HTTPS")
    raise _Bad(f"proto={value} is not known")


def _path(name: str, value: str) -> str:
    if _PATH.fullmatch(value) is None:
        raise _Bad(f"{name}={value} is not a path that begins with a slash, in printable ASCII")
    return value


def _strip(meaning: Meaning, value: str) -> Meaning:
    if not value:
        return meaning
    path = _path("strip", value)
    if len(path) > LONGEST_STRIP:
        raise _Bad(f"strip is longer than {LONGEST_STRIP} characters")
    return _treated(meaning, strip=path)


def _prepend(meaning: Meaning, value: str) -> Meaning:
    return _treated(meaning, prepend=_path("prepend", value)) if value else meaning


def _host(meaning: Meaning, value: str) -> Meaning:
    if not value:
        return meaning
    if value == UPSTREAM:
        return replace(meaning, upstream_host=value)
    if _HOST.fullmatch(value) is None:
        raise _Bad(f"host={value} is not a host name")
    return _treated(replace(meaning, upstream_host=value), host=value)


def _redirect(meaning: Meaning, value: str) -> Meaning:
    code, comma, url = value.partition(",")
    if not comma or re.fullmatch(r"30[12378]", code) is None:
        raise _Bad(f"redirect={value} is not CODE,URL with a code of 301, 302, 303, 307 or 308")
    if _LOCATION.fullmatch(url) is None or re.match(r"https?://[^/]|/", url) is None:
        raise _Bad(f"redirect={value} has no URL that begins with http://, https:// or a slash")
    if url.count("$path") > 1 or url.count("$host") > 1:
        raise _Bad(f"redirect={value} has $path or $host more than once")
    return _treated(meaning, redirect=Redirect(code=int(code), url=url))


def _networks(name: str, value: str) -> tuple[str, ...]:
    networks = []
    for word in value.split(","):
        kind, colon, text = word.strip().partition(":")
        if kind != "ip" or not colon:
            raise _Closed(f"{name}={value} is not ip:NETWORK")
        try:
            networks.append(str(ipaddress.ip_network(text, strict=False)))
        except ValueError:
            raise _Closed(f"{name}={value}: {text!r} is not a network such as 10.0.0.0/8") from None
    return tuple(dict.fromkeys(networks))


def _allow(meaning: Meaning, value: str) -> Meaning:
    return _treated(meaning, allow=_networks("allow", value))


def _deny(meaning: Meaning, value: str) -> Meaning:
    return _treated(meaning, deny=_networks("deny", value))


def _auth(meaning: Meaning, value: str) -> Meaning:
    if re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}", value) is None:
        raise _Closed(f"auth={value} is not the name of a scheme")
    return _treated(meaning, auth=value)


def _tlsskipverify(meaning: Meaning, value: str) -> Meaning:
    if value not in {"true", "false", ""}:
        raise _Ignored(f"tlsskipverify={value} is neither true nor false; certificates are verified")
    return replace(meaning, verify=value != "true")


def _register(meaning: Meaning, value: str) -> Meaning:
    if re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?", value) is None:
        raise _Ignored(f"register={value} is not a name that DNS could answer for; it is not registered")
    return replace(meaning, registers=value)


def _unsupported(name: str) -> Callable[[Meaning, str], Meaning]:
    def refuse(_: Meaning, value: str) -> Meaning:
        raise _Bad(f"{name}={value} is not supported")

    return refuse


_TABLE: Mapping[str, Callable[[Meaning, str], Meaning]] = {
    "weight": _weight,
    "proto": _proto,
    "strip": _strip,
    "prepend": _prepend,
    "host": _host,
    "redirect": _redirect,
    "allow": _allow,
    "deny": _deny,
    "auth": _auth,
    "tlsskipverify": _tlsskipverify,
    "register": _register,
    "pxyproto": _unsupported("pxyproto"),
    "grpcservername": _unsupported("grpcservername"),
}

NAMES = tuple(_TABLE)
"""All options that are known, supported or not."""
