"""What keys change: the question before it, the call, and the sentence after it. Pure until it is done."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from nodegate.cli.top.feed import Daemon, Look
from nodegate.model import Intent

BAN_FOR = 600.0
"""Seconds of a ban by key; `nodegate clients ban` takes any."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Deed:
    """`do` blocks, says what was done, and raises as the admin API does."""

    question: str
    do: Callable[[Daemon], str]


def deed(name: str, look: Look, pane: str, key: str | None) -> Deed | str:
    """What `name` (a key of `DEEDS`) does with the row `key` of `pane`, or why it can do nothing."""
    return DEEDS[name](look, pane, key)


def _drain(look: Look, pane: str, key: str | None) -> Deed | str:
    node = next((row for row in look.nodes if row.id == key), None)
    if pane != "nodes" or node is None:
        return "choose a node in the first pane"
    under_way = f" {node.sessions} requests are under way." if node.sessions else ""
    question = f"Drain {node.id}? It gets no new requests.{under_way}"
    return Deed(question=question, do=_intend(node.id, Intent.DRAIN, f"{node.id} is draining"))


def _serve(look: Look, pane: str, key: str | None) -> Deed | str:
    node = next((row for row in look.nodes if row.id == key), None)
    if pane != "nodes" or node is None:
        return "choose a node in the first pane"
    question = f"Let {node.id} serve again? It is {node.status.value}."
    return Deed(question=question, do=_intend(node.id, Intent.SERVE, f"{node.id} may serve"))


def _intend(node_id: str, intent: Intent, said: str) -> Callable[[Daemon], str]:
    def do(daemon: Daemon) -> str:
        daemon.revise(node_id, {"intent": intent.value})
        return said

    return do


def _ban(look: Look, pane: str, key: str | None) -> Deed | str:
    row = look.client(key) if pane == "clients" else None
    if row is None:
        return "choose a client in the third pane"
    if row.key:
        return "an API key cannot be banned; take it out of the policy"
    if row.banned_until:
        return f"{row.client} is banned already"

    def do(daemon: Daemon) -> str:
        return f"{daemon.ban(row.client, BAN_FOR, None).client} is banned for {BAN_FOR / 60:g} minutes"

    question = f"Ban {row.client} for {BAN_FOR / 60:g} minutes? All its requests are refused at once."
    return Deed(question=question, do=do)


def _unban(look: Look, pane: str, key: str | None) -> Deed | str:
    row = look.client(key) if pane == "clients" else None
    if row is None:
        return "choose a client in the third pane"
    if not row.banned_until:
        return f"{row.client} is not banned"

    def do(daemon: Daemon) -> str:
        daemon.unban(row.client)
        return f"{row.client} may come in again"

    return Deed(question=f"Lift the ban of {row.client}?", do=do)


DEEDS: Mapping[str, Callable[[Look, str, str | None], Deed | str]] = {
    "drain": _drain,
    "serve": _serve,
    "ban": _ban,
    "unban": _unban,
}
