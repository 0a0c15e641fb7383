"""The hosts file: a marked block that is ours, and every other line that is not. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address

from nodegate.errors import Conflict
from nodegate.openstack.names import DEFAULT_RULES, Rule, friendly, is_host_name, natural

BEGIN = "# BEGIN nodegate openstack hosts"
END = "# END nodegate openstack hosts"


@dataclass(frozen=True, slots=True, kw_only=True)
class CloudServer:
    """A server as the cloud knows it, with its addresses on the network in question."""

    name: str
    addresses: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One line of the block: an address and its names, the friendly one first."""

    address: str
    names: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.address} {' '.join(self.names)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entries:
    """What servers come to, and in `problems`, one sentence each, who is left out and why."""

    entries: tuple[Entry, ...]
    problems: tuple[str, ...] = field(default=())


def entries_of(
    servers: Iterable[CloudServer], network: str, rules: tuple[Rule, ...] = DEFAULT_RULES
) -> Entries:
    """The lines for `servers`, by name in natural order, IPv4 before IPv6."""
    ordered = sorted(servers, key=lambda server: (natural(friendly(server.name, rules)), server.name))
    uses = Counter(friendly(server.name, rules) for server in ordered)
    entries: list[Entry] = []
    problems: list[str] = []
    for server in ordered:
        name = friendly(server.name, rules)
        if problem := _problem(server, name, network, uses):
            problems.append(problem)
            continue
        own = server.name.lower()
        names = (name, own) if own != name and is_host_name(own) and own not in uses else (name,)
        found = sorted({ip_address(text) for text in server.addresses}, key=lambda each: (each.version, each))
        entries.extend(Entry(address=str(address), names=names) for address in found)
    return Entries(entries=tuple(entries), problems=tuple(problems))


def _problem(server: CloudServer, name: str, network: str, uses: Counter[str]) -> str | None:
    if not is_host_name(name):
        renamed = "" if name == server.name.lower() else f" (from {server.name!r})"
        return f"{name!r}{renamed} cannot be a host name: choose another with --rename; left out"
    if uses[name] > 1:
        return f"{server.name}: {uses[name]} servers would be called {name!r}: set them apart with --rename; left out"
    if not server.addresses:
        return f"{server.name}: no address on network {network!r}; left out"
    for address in server.addresses:
        try:
            ip_address(address)
        except ValueError:
            return f"{server.name}: {address!r} is no IP address; left out"
    return None


def without_collisions(text: str, found: Entries, tag: str) -> Entries:
    """`found` without names that a line outside the block gives to another address: the hand-written line would
    win or lose by its place in the file, which nobody should have to know."""
    taken = _names_of(_split(text, tag).outside)
    entries: list[Entry] = []
    problems = list(found.problems)
    for entry in found.entries:
        family = ip_address(entry.address).version
        clashes = [name for name in entry.names if taken.get((name, family), entry.address) != entry.address]
        problems.extend(
            f"{name!r} already stands in the file with {taken[name, family]}, the cloud says {entry.address}: "
            "that name is left out; mend or remove the line by hand"
            for name in clashes
        )
        if names := tuple(name for name in entry.names if name not in clashes):
            entries.append(Entry(address=entry.address, names=names))
    return Entries(entries=tuple(entries), problems=tuple(problems))


def block(entries: Sequence[Entry], tag: str) -> str:
    """The marked block, lines ended; empty for no entries."""
    if not entries:
        return ""
    lines = [f"{BEGIN} {tag}", *map(str, entries), f"{END} {tag}"]
    return "\n".join(lines) + "\n"


def updated(text: str, entries: Sequence[Entry], tag: str) -> str:
    """`text` with the block of `tag` brought up to date, where it stands; a new one goes to the end. Every other
    byte stays. No entries: the block is taken out.

    Raises Conflict, naming the line, when the block's marks are not a pair.
    """
    parts = _split(text, tag)
    new = block(entries, tag)
    before = parts.before
    if new and before and not before.endswith("\n"):
        before += "\n"
    return before + new + parts.after


@dataclass(frozen=True, slots=True, kw_only=True)
class _Parts:
    """A text around the block; without a block, all is `before`."""

    before: str
    after: str

    @property
    def outside(self) -> str:
        return f"{self.before}\n{self.after}"


def _split(text: str, tag: str) -> _Parts:
    # Only "\n" ends a line here: what splitlines() takes for one more may stand in a hand-written comment.
    lines = [line + "\n" for line in text.split("\n")]
    lines[-1] = lines[-1][:-1]
    begins = [number for number, line in enumerate(lines) if line.rstrip() == f"{BEGIN} {tag}"]
    ends = [number for number, line in enumerate(lines) if line.rstrip() == f"{END} {tag}"]
    if not begins and not ends:
        return _Parts(before=text, after="")
    if len(begins) != 1 or len(ends) != 1 or begins[0] > ends[0]:
        places = ", ".join(str(number + 1) for number in sorted([*begins, *ends]))
        raise Conflict(
            f"the marks of the block {tag!r} are not one pair (lines {places}); mend them by hand, nothing was changed"
        )
    return _Parts(before="".join(lines[: begins[0]]), after="".join(lines[ends[0] + 1 :]))


def _names_of(text: str) -> dict[tuple[str, int], str]:
    """The address of each (name, IP version) as the resolver finds it: the first line wins."""
    names: dict[tuple[str, int], str] = {}
    for line in text.split("\n"):
        words = line.partition("#")[0].split()
        try:
            address = ip_address(words[0]) if words else None
        except ValueError:
            continue
        if address is not None:
            for name in words[1:]:
                names.setdefault((name.lower(), address.version), str(address))
    return names
