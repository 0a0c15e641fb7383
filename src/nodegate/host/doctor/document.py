"""doctor.toml: what is expected of hosts, and which rules are silenced for how long and why."""

from __future__ import annotations

from dataclasses import fields, replace
from datetime import date
from pathlib import Path

from pydantic import Field, field_validator

from nodegate.documents import Document, load, validate
from nodegate.errors import BadDocument, Fault
from nodegate.host.doctor.facts import Expect, Result, State
from nodegate.host.rules import BY_ID, WANTED
from nodegate.settings.base import Section


class ExpectSection(Section):
    """`[expect]`: how these hosts differ from the usual ones. None: as the rules say."""

    unit: str | None = Field(None, description="unit of the node; None: it is searched for")
    kind: str = Field(
        "iri", pattern="^(iri|evm|none)$", description="kind of the node; none: its API is not asked"
    )
    ssh_port: int | None = Field(None, ge=1, le=65535, description="where SSH listens; None: any port but 22")
    client_port: int | None = Field(None, ge=1, le=65535, description="gateway.listen's port")
    node_port: int | None = Field(None, ge=1, le=65535, description="the node's own API port")
    admin_port: int | None = Field(None, ge=1, le=65535, description="gateway.admin's port")
    fd_limit: int | None = Field(None, ge=64, description="descriptors the node may open, at least")
    sandbox_exposure: float | None = Field(None, ge=0, le=10, description="of the node's unit, at most")
    close_wait: int | None = Field(None, ge=0, description="connections in CLOSE_WAIT, at most")
    owed: int | None = Field(None, ge=0, description="connections that wait for an answer, at most")
    disk_free: float | None = Field(None, ge=0, le=1, description="share, at least")
    memory_free: float | None = Field(None, ge=0, le=1, description="share, at least")
    certificate_days: int | None = Field(None, ge=0, description="days left, at least")
    certificates: tuple[str, ...] = Field((), description="certificate files besides the usual places")
    secrets: tuple[str, ...] = Field((), description="files with secrets besides the usual places")
    states: tuple[str, ...] = Field((), description="nodegate's state directories besides the usual ones")


class Silence(Section):
    """`[[silence]]`: a rule that may be broken for a while. It counts again after `until`."""

    rule: str
    reason: str = Field(min_length=3)
    until: date
    hosts: tuple[str, ...] = Field((), description="names as given on the command line; none: all")

    @field_validator("rule")
    @classmethod
    def _known(cls, name: str) -> str:
        if name not in BY_ID:
            raise ValueError(f"{name!r} is no rule; `nodegate doctor --rules` lists them")
        return name


class DoctorDocument(Section):
    """The whole file."""

    expect: ExpectSection = ExpectSection()
    silence: tuple[Silence, ...] = ()

    def expectation(self, *, version: str) -> Expect:
        """What to judge by."""
        given = self.expect
        names = {field.name for field in fields(WANTED)} - {"ssh_port"}
        changed = {
            name: value for name, value in given.model_dump().items() if name in names and value is not None
        }
        return Expect(
            wanted=replace(WANTED, **changed),
            ssh_port=given.ssh_port,
            unit=given.unit,
            kind=given.kind,
            version=version,
        )


def load_document(path: Path) -> tuple[DoctorDocument, Document]:
    """The file at `path`. Raises BadDocument with every fault and its line."""
    document = load(path)
    return validate(DoctorDocument, document), document


def silenced(
    results: tuple[Result, ...], silences: tuple[Silence, ...], *, host: str, today: date
) -> tuple[Result, ...]:
    """The results with the reasons of those silences that still hold for the host. Pure."""
    reasons = {
        item.rule: f"{item.reason} (until {item.until})"
        for item in silences
        if item.until >= today and (not item.hosts or host in item.hosts)
    }
    return tuple(
        replace(result, silenced=reasons[result.rule.id])
        if result.rule.id in reasons and result.state is not State.PASS
        else result
        for result in results
    )


def expired(document: DoctorDocument, source: Document, *, today: date) -> tuple[Fault, ...]:
    """The silences whose time is over, with their lines: they no longer hold and should be taken out."""
    return tuple(
        source.fault(
            ("silence", place, "until"), f"the silence of {item.rule} ended on {item.until}: it counts again"
        )
        for place, item in enumerate(document.silence)
        if item.until < today
    )


__all__ = [
    "BadDocument",
    "DoctorDocument",
    "ExpectSection",
    "Silence",
    "expired",
    "load_document",
    "silenced",
]
