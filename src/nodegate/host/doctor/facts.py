"""Facts of one host as they came, and what is judged of them. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from nodegate.host.rules import WANTED, Rule, Wanted
from nodegate.model import Instant


class Unsure(Exception):
    """A rule cannot be judged; the text says why."""


class State(StrEnum):
    """What became of a rule on a host."""

    PASS = "pass"  # noqa: S105  # a verdict
    FAIL = "fail"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One rule on one host; `text` says what was found, or why nothing could be. `silenced` is the reason that an
    operator gave, None for none: such a result is shown and does not count."""

    rule: Rule
    state: State
    text: str
    silenced: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Expect:
    """What the audit holds a host against. `ssh_port` None: any but 22. `unit` None: the node is searched for."""

    wanted: Wanted = WANTED
    ssh_port: int | None = None
    unit: str | None = None
    kind: str = "iri"
    version: str = ""

    def ask(self, **more: object) -> dict[str, object]:
        """What the gathering script has to know."""
        return {"unit": self.unit, "node_port": self.wanted.node_port, **more}


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """`{"name": {"value": …} | {"unknown": why}}` as the script printed it, and when that was."""

    values: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    now: Instant

    def get(self, name: str) -> Any:
        """The value of a fact. Raises Unsure with the reason that the host gave."""
        fact = self.values.get(name)
        if fact is None:
            raise Unsure(f"the host told nothing about {name}")
        if "value" not in fact:
            raise Unsure(str(fact.get("unknown", "no reason given")))
        return fact["value"]

    def maybe(self, name: str) -> Any:
        """The value of a fact, None when it is unknown."""
        fact = self.values.get(name)
        return None if fact is None else fact.get("value")
