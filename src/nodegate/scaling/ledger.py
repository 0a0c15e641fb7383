"""The ledger: which nodes are nodegate's own, and how far each is. Settled from every pass, kept as JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from pydantic import TypeAdapter, ValidationError

from nodegate.errors import BadDocument, Fault
from nodegate.model import Instant, Intent, Seconds, Status
from nodegate.scaling.values import Facts, Ledger, Member, Own, Phase

_FORMAT = 1
_LEDGERS = TypeAdapter(dict[str, Ledger])
LINGER = Seconds(15.0)
"""How long a record may stand that serves nothing any more, before the node is stopped with the record in place."""
_STEM = 46
"""Characters of the pool's name in the id of a node, so that the id is not longer than an id may be."""


def own_id(pool: str, ending: str) -> str:
    """The id of a new node; `ending` is six characters of a-z and 0-9, chosen at random."""
    return f"{pool[:_STEM]}-auto-{ending}"


def is_own(pool: str, node_id: str) -> bool:
    """Whether nodegate started the node: its id says so, in whatever registry it stands."""
    return re.fullmatch(rf"{re.escape(pool[:_STEM])}-auto-[a-z0-9]{{6}}", node_id) is not None


def new_ledger() -> Ledger:
    """A pool that was never scaled."""
    return Ledger()


def settle(ledger: Ledger, facts: Facts, now: Instant, *, patience: Seconds) -> Ledger:
    """The ledger after a look at a registry that could be read.

    Nodes of nodegate's own that it did not know (another gateway started them) are adopted. A record that
    was asked to go and is gone leaves the stop command owed; so does one that has been missing for
    `patience` seconds without having been asked. A node whose intent was set back to serve stays.
    """
    members = {member.id: member for member in facts.members}
    own = {entry.id: _settled(entry, members.get(entry.id), now, patience) for entry in ledger.own.values()}
    for member in facts.members:
        if member.id not in own and is_own(facts.pool, member.id) and not _is_over(member):
            own[member.id] = _adopted(member, now)
    return ledger if own == ledger.own else replace(ledger, own=own)


def _is_over(member: Member) -> bool:
    """Whether nobody is served by it any more: its record only waits for its own end."""
    return member.intent is Intent.REMOVE and not member.routed


def _adopted(member: Member, now: Instant) -> Own:
    entry = Own(id=member.id, kind=member.kind, url=member.url, started_at=now, at=now, phase=Phase.RUNNING)
    return _settled(entry, member, now, Seconds(0.0))


def _settled(own: Own, member: Member | None, now: Instant, patience: Seconds) -> Own:
    phase = _phase(own, member, now, patience)
    if member is None:
        waits = phase is Phase.RUNNING and bool(own.url)  # without a URL it has yet to register itself
        missing = (own.missing_since if own.missing_since is not None else now) if waits else None
        return replace(own, phase=phase, at=own.at if phase is own.phase else now, missing_since=missing)
    return replace(
        own,
        url=member.url,
        phase=phase,
        at=own.at if phase is own.phase else now,
        joined=own.joined or member.status is Status.UP,
        missing_since=None,
    )


def _phase(own: Own, member: Member | None, now: Instant, patience: Seconds) -> Phase:
    if member is None:
        lost = own.missing_since is not None and now - own.missing_since >= patience
        return Phase.GONE if own.phase is Phase.DRAINING or lost else own.phase
    if member.intent is not Intent.REMOVE:
        return Phase.RUNNING
    if own.phase is Phase.GONE:
        return own.phase
    # A record that somebody else keeps (the node registers itself) does not go while the node runs.
    over = own.phase is Phase.DRAINING and _is_over(member) and now - own.at >= LINGER
    return Phase.GONE if over else Phase.DRAINING


def write_ledgers(ledgers: Mapping[str, Ledger]) -> str:
    """The ledgers of all pools as the text of a file."""
    document = {"format": _FORMAT, "pools": _LEDGERS.dump_python(dict(ledgers), mode="json")}
    return json.dumps(document, indent=1) + "\n"


def read_ledgers(text: str, *, file: str) -> dict[str, Ledger]:
    """The ledgers that `write_ledgers` wrote. Raises BadDocument for anything else."""
    try:
        document: Any = json.loads(text)
        if not isinstance(document, dict) or document.get("format") != _FORMAT:
            raise ValueError(f"not a ledger of format {_FORMAT}")
        return _LEDGERS.validate_python(document.get("pools"))
    except (ValueError, ValidationError) as error:
        first = str(error).splitlines()[0]
        words = (
            f"not what nodegate wrote ({first}); mend it, or remove it and stop the nodes it named by hand"
        )
        raise BadDocument([Fault(file=file, line=None, key="", message=words)]) from error
