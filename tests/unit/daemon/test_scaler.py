"""What the scaler does by a provider's commands, and what it tells of that."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from contract.memory_registry import MemoryRegistry
from contract.registry_contract import FixedClock
from nodegate.daemon.scaler import Scaler, ScalerParts
from nodegate.model import Instant, Inventory, Judgement, Node, Snapshot, Status, Verdict
from nodegate.protocols import adapters
from nodegate.settings import Settings
from nodegate.telemetry import Telemetry
from nodegate.telemetry.kinds import Event, Kind, Severity

NOW = Instant(1000.0)
URL = "http://192.0.2.9:14265"


@dataclass
class Scene:
    """A pool of one healthy node that wants two; `script` is the provider's start command."""

    directory: Path
    script: str
    told: list[Event] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.clock = FixedClock(NOW)
        self.registry = MemoryRegistry(self.clock)
        command = ["/bin/sh", "-c", self.script]
        scaling: Mapping[str, object] = {"size": 2, "start": command, "stop": ["/bin/true"], "cooldown": 5}
        self.scaler = Scaler(
            ScalerParts(
                settings=Settings.model_validate({"pools": {"main": {"kind": "iri", "scaling": scaling}}}),
                adapters=adapters(), registry=self.registry, clock=self.clock, snapshot=self.snapshot,
                telemetry=Telemetry(clock=self.clock, version="test"), wake=lambda: None,
                directory=self.directory, tell=self.told.append,
            )
        )  # fmt: skip

    def snapshot(self) -> Snapshot:
        node = Node(id="n1", url="http://192.0.2.1:14265", kind="iri")
        verdict = Verdict(node_id="n1", status=Status.UP, since=Instant(0.0))
        return Snapshot(
            at=NOW, started_at=Instant(0.0), ready=True, judgement=Judgement(verdicts={"n1": verdict}),
            inventory=Inventory(nodes=(node,), index=1, read_at=NOW),
        )  # fmt: skip


async def test_a_started_node_is_declared_and_told(tmp_path: Path) -> None:
    scene = Scene(tmp_path, f"echo '{json.dumps({'url': URL})}'")
    await scene.scaler.tick()
    (name,) = scene.registry.memory.nodes
    assert scene.registry.memory.nodes[name].url == URL
    (told,) = scene.told
    assert (told.kind, told.subject, told.severity) == (Kind.SCALED, "pool/main", Severity.INFO)
    assert told.text == f"pool main: {name} was started: 1 healthy node, 2 wanted"
    assert told.data == {
        "pool": "main", "node": name, "action": "start", "why": "1 healthy node, 2 wanted", "healthy": 1, "wanted": 2,
    }  # fmt: skip
    await scene.scaler.tick()
    assert len(scene.told) == 1  # it is on its way; nothing new


async def test_a_provider_that_fails_is_told_in_its_own_words(tmp_path: Path) -> None:
    scene = Scene(tmp_path, "echo 'no quota left' >&2; exit 4")
    await scene.scaler.tick()
    assert scene.registry.memory.nodes == {}
    (told,) = scene.told
    assert (told.kind, told.subject, told.severity) == (Kind.SCALING_FAILED, "pool/main", Severity.WARNING)
    assert told.text.endswith("start failed: /bin/sh ended with exit code 4: no quota left")
    await scene.scaler.tick()
    assert len(scene.told) == 1  # it waits before it tries again
