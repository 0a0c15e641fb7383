"""The faults that a lab node can have, and the document that switches one on. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from nodegate.documents import Document, faults_of
from nodegate.errors import BadDocument
from nodegate.errors import Fault as DocumentFault
from nodegate.model import Seconds


class FaultName(StrEnum):
    """What can be wrong with a node, in an operator's words."""

    SLOW = "slow"  # each answer comes `seconds` late
    HANG = "hang"  # connections are accepted, nothing is answered until the node is healed
    REFUSE = "refuse"  # connections are refused, open ones are reset
    LAG = "lag"  # knows the newest height but has processed only up to `milestones` before it
    FROZEN = "frozen"  # cut off from its network: its height stands still, and it does not notice
    LIE = "lie"  # claims to be `milestones` ahead of everybody
    GARBAGE = "garbage"  # answers with bytes that mean nothing
    WRONG_CHAIN = "wrong-chain"  # belongs to another network
    ERROR = "error"  # answers `status` to everything
    HALF = "half"  # closes the connection in the middle of the body
    SILENT = "silent"  # its last `neighbours` neighbours stay connected and bring nothing any more
    STALL = "stall"  # the lock of the serialised commands is held; other commands are answered


WORDS: Final[Mapping[FaultName, str]] = {
    FaultName.SLOW: "every answer comes late",
    FaultName.HANG: "accepts connections and never answers",
    FaultName.REFUSE: "refuses connections and resets open ones",
    FaultName.LAG: "has processed fewer milestones (blocks) than it knows of",
    FaultName.FROZEN: "its height stands still",
    FaultName.LIE: "claims a height that nobody else has",
    FaultName.GARBAGE: "answers with meaningless bytes",
    FaultName.WRONG_CHAIN: "belongs to another network",
    FaultName.ERROR: "answers every request with a server error",
    FaultName.HALF: "closes the connection in the middle of the answer",
    FaultName.SILENT: "some of its neighbours bring nothing any more (IRI)",
    FaultName.STALL: "serialised commands wait for a lock that is held",
}
TAKES: Final[Mapping[FaultName, frozenset[str]]] = {
    FaultName.SLOW: frozenset({"seconds"}),
    FaultName.LAG: frozenset({"milestones"}),
    FaultName.LIE: frozenset({"milestones"}),
    FaultName.ERROR: frozenset({"status"}),
    FaultName.GARBAGE: frozenset({"layer"}),
    FaultName.SILENT: frozenset({"neighbours"}),
}
"""Which parameters each fault has; the others have none."""

Layer = Literal["body", "wire"]
_SECONDS: Final = Seconds(2.0)
_BEHIND: Final = 20
_LIE_AHEAD: Final = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One fault with its parameters; those that its name does not take mean nothing.

    `milestones` counts blocks on an EVM node. `layer` says where garbage begins: in the body of a good HTTP
    answer, or on the wire instead of one.
    """

    name: FaultName
    seconds: Seconds = _SECONDS
    milestones: int = _BEHIND
    status: int = 503
    layer: Layer = "body"
    neighbours: int = 1

    def document(self) -> dict[str, Any]:
        """The document that `fault_of` reads back."""
        return {"fault": self.name.value} | {
            key: getattr(self, key) for key in sorted(TAKES.get(self.name, frozenset()))
        }


class _FaultDocument(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    fault: str
    seconds: float = Field(default=_SECONDS, ge=0, le=3600)
    milestones: int | None = Field(default=None, ge=1, le=1_000_000_000)
    status: int = Field(default=503, ge=500, le=599)
    layer: Layer = "body"
    neighbours: int = Field(default=1, ge=1, le=1000)


def fault_of(data: object, *, file: str = "fault") -> Fault:
    """`{"fault": NAME, …parameters}` as a Fault.

    Raises BadDocument with the key of everything that is wrong: an unknown name, a parameter out of range or
    one that this fault does not take.
    """
    source = Document(file=file, data=dict(data) if isinstance(data, Mapping) else {}, lines={})
    try:
        document = _FaultDocument.model_validate(data)
    except ValidationError as error:
        raise BadDocument(faults_of(error, source)) from error
    if document.fault not in set(FaultName):
        raise BadDocument([source.fault(["fault"], f"not one of {', '.join(FaultName)}")])
    name = FaultName(document.fault)
    surplus = sorted(document.model_fields_set - {"fault"} - TAKES.get(name, frozenset()))
    if surplus:
        faults: list[DocumentFault] = [
            source.fault([key], f"the fault {name} does not take this") for key in surplus
        ]
        raise BadDocument(faults)
    usual = _LIE_AHEAD if name is FaultName.LIE else _BEHIND
    return Fault(
        name=name,
        seconds=Seconds(document.seconds),
        milestones=document.milestones if document.milestones is not None else usual,
        status=document.status,
        layer=document.layer,
        neighbours=document.neighbours,
    )


def fault(name: FaultName | str, **parameters: float | int | str) -> Fault:
    """`fault("lag", milestones=20)`: the short way for callers in Python. Raises BadDocument."""
    return fault_of({"fault": str(name), **parameters})
