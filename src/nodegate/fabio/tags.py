"""The grammar of routing tags: `PREFIX [HOST]/PATH [OPTION...]`."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from nodegate.fabio import options
from nodegate.fabio.options import Meaning
from nodegate.routes import globs

_VARIABLE = re.compile(r"\$\{([^}]*)\}|\$([A-Za-z0-9_]+)")
_KEY = re.compile(r"[!-~]+")
_PORT = re.compile(r":[0-9]{1,5}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tag:
    """One routing tag that can be used. `host` is lower-case, empty for any; `path` begins with a slash.
    `text` are the options as they were written, `meaning` what they say, `remarks` what is not obeyed."""

    host: str
    path: str
    text: str
    meaning: Meaning
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class BadTag:
    """A routing tag that cannot be used, and why in a sentence."""

    tag: str
    why: str


def is_routing(tag: str, prefix: str) -> bool:
    """Whether a service's tag is one for routing; white space around it does not count."""
    return tag.strip().startswith(prefix)


def other_tags(tags: Iterable[str], prefix: str) -> tuple[str, ...]:
    """The tags that are not for routing, in their order."""
    return tuple(tag for tag in (tag.strip() for tag in tags) if tag and not tag.startswith(prefix))


def parse(
    tag: str, *, prefix: str, datacenter: str = "", strict: bool = False, glob_hosts: bool = True,
    glob_paths: bool = False,
) -> Tag | BadTag:  # fmt: skip
    """A routing tag as what it means. Never raises, whatever stands in the tag."""
    words = tag.strip().removeprefix(prefix).strip().split(None, 1)
    if not words:
        return BadTag(tag=tag, why="it has neither host nor path")
    text = " ".join(words[1].split()) if len(words) > 1 else ""
    source = _VARIABLE.sub(lambda found: datacenter if (found[1] or found[2]) == "DC" else "", words[0])
    slash = source.find("/")
    host, path = (source, "/") if slash < 0 else (source[:slash], source[slash:])
    host = host.lower()
    meaning, remarks = options.read(options.split(text), strict=strict)
    why = _place_fault(host, path, glob_hosts=glob_hosts, glob_paths=glob_paths)
    if why is None and glob_hosts and not strict and ":" in host and globs.is_glob(host):
        why = "a host that is a pattern and has a port counts only with fabio.strict"
    if why is None and meaning is None:
        why = "; ".join(remarks)
    if why is not None or meaning is None:
        return BadTag(tag=tag, why=why or "")
    return Tag(host=host, path=path, text=text, meaning=meaning, remarks=remarks)


def _place_fault(host: str, path: str, *, glob_hosts: bool, glob_paths: bool) -> str | None:
    if host.startswith(":") or _PORT.fullmatch(host):
        return "routes of TCP ports are not supported: nodegate routes HTTP and HTTPS"
    if _KEY.fullmatch(host + path) is None:
        return "host and path must be printable ASCII; write other characters of a host in their xn-- form"
    if host.startswith(("#", "!", "~")) or '"' in host:
        return f"{host!r} is not a host name"
    for part, counts in ((host, glob_hosts), (path, glob_paths)):
        if counts and globs.is_glob(part):
            try:
                globs.to_regex(part)
            except ValueError as error:
                return str(error)
    return None
