"""How this gateway judges its nodes, in the form in which gateways compare it. No I/O."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping

from nodegate.model import Inventory, Judgement, Node, Snapshot, Status

SHOWN = 100
"""Differences that are listed at most: with more, it is not single nodes that are judged otherwise."""


class Assessments:
    """What the latest snapshot says; worked out once for each."""

    def __init__(self, snapshot: Callable[[], Snapshot]) -> None:
        self._snapshot = snapshot
        self._judgement: Judgement | None = None
        self._not_up: tuple[Mapping[str, str], str] = ({}, "")
        self._inventory: Inventory | None = None
        self._nodes: Mapping[str, Node] = {}

    def nodes(self) -> Mapping[str, Node]:
        """All nodes by id."""
        inventory = self._snapshot().inventory
        if inventory is not None and inventory is not self._inventory:
            self._inventory = inventory
            self._nodes = {node.id: node for node in inventory.nodes}
        return self._nodes

    def not_up(self) -> tuple[Mapping[str, str], str]:
        """The nodes that are not up, by id with their status, and a digest of that."""
        judgement = self._snapshot().judgement
        if judgement is not self._judgement:
            self._judgement = judgement
            verdicts = sorted(judgement.verdicts.items())
            others = {name: item.status.value for name, item in verdicts if item.status is not Status.UP}
            text = json.dumps(others).encode()
            self._not_up = (others, hashlib.blake2b(text, digest_size=8).hexdigest())
        return self._not_up

    def differences(self, theirs: Mapping[str, str]) -> dict[str, str]:
        """The nodes that another gateway judges otherwise: `up here, down there`. `theirs` are those that are
        not up there; nodes that this gateway does not have are left out."""
        here, _ = self.not_up()
        found: dict[str, str] = {}
        for name in sorted((here.keys() | theirs.keys()) & self.nodes().keys()):
            mine, other = here.get(name, Status.UP.value), theirs.get(name, Status.UP.value)
            if mine != other and len(found) < SHOWN:
                found[name] = f"{mine} here, {other} there"
        return found
