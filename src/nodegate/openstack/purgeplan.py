"""Which of a project's resources go, which stay and why, and the digest of that decision. Pure."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from typing import Any

from nodegate.errors import Malformed
from nodegate.model import Instant, Seconds
from nodegate.openstack.resources import Kind, Resource, held_back, levels

DIGEST = 16
"""Hexadecimal digits of a plan's digest: it tells plans of one operator apart, it is no signature."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """What the operator wants.

    `keep` are shell patterns on names and ids, `include` names or ids of spared things that may go after all,
    `only` the kinds to touch (empty: all), `older_than` the least age in seconds.
    """

    keep: tuple[str, ...] = ()
    include: frozenset[str] = frozenset()
    only: frozenset[Kind] = frozenset()
    older_than: Seconds | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PurgePlan:
    """What goes, in layers, and what stays with its reason."""

    project_id: str
    project: str
    layers: tuple[tuple[Resource, ...], ...]
    stays: tuple[tuple[Resource, str], ...] = field(default=())

    @property
    def goes(self) -> tuple[Resource, ...]:
        """All that goes, in order."""
        return tuple(each for layer in self.layers for each in layer)

    @property
    def digest(self) -> str:
        """Names exactly this set of deletions in this project."""
        keys = sorted("/".join(each.key) for each in self.goes)
        return hashlib.sha256("\n".join([self.project_id, *keys]).encode()).hexdigest()[:DIGEST]

    def counts(self) -> dict[Kind, int]:
        """How many of each kind go, in the order of kinds."""
        found = Counter(each.kind for each in self.goes)
        return {kind: found[kind] for kind in Kind if found[kind]}


def plan(
    resources: Iterable[Resource], selection: Selection, *, project_id: str, project: str, now: Instant
) -> PurgePlan:
    """Decide. Things of other projects stay, whatever was listed."""
    everything = {each.key: each for each in resources}
    kept = {
        key: why for key, each in everything.items() if (why := _why_kept(each, selection, project_id, now))
    }
    for key, each in everything.items():
        if key not in kept and each.part_of in kept:
            kept[key] = f"part of {everything[each.part_of].label}, which stays"
    unwanted = {
        key: "not of the kinds asked for"
        for key, each in everything.items()
        if selection.only and each.kind not in selection.only and key not in kept
    }
    stay = held_back(everything, kept | unwanted)
    goes = [each for key, each in everything.items() if key not in stay]
    return PurgePlan(
        project_id=project_id,
        project=project,
        layers=levels(goes),
        stays=tuple((everything[key], why) for key, why in stay.items() if key in everything),
    )


def _why_kept(resource: Resource, selection: Selection, project_id: str, now: Instant) -> str:
    if resource.project_id != project_id:
        return "belongs to another project"
    if resource.spared and not {resource.id, resource.name} & selection.include:
        return f"{resource.spared}; name it with --include to have it deleted"
    for pattern in selection.keep:
        if fnmatchcase(resource.name, pattern) or resource.id == pattern:
            return f"kept by --keep {pattern}"
    if selection.older_than is not None:
        if not resource.created_at:
            return "its age is not known"
        if now - _instant(resource.created_at) < selection.older_than:
            return f"younger than asked for (of {resource.created_at})"
    return ""


def _instant(text: str) -> Instant:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise Malformed(f"the cloud gave {text!r} as a time") from error
    return Instant((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())


def without_gone(reviewed: PurgePlan, there: Iterable[Resource]) -> PurgePlan:
    """What is left of a plan that was reviewed, given what is there now; nothing new joins it. Dependencies are
    those of now."""
    wanted = {each.key for each in reviewed.goes}
    left = [each for each in there if each.key in wanted and each.project_id == reviewed.project_id]
    return PurgePlan(
        project_id=reviewed.project_id, project=reviewed.project, layers=levels(left), stays=reviewed.stays
    )


def to_json(made: PurgePlan) -> dict[str, Any]:
    """The plan as a document."""
    return {
        "project_id": made.project_id,
        "project": made.project,
        "digest": made.digest,
        "total": len(made.goes),
        "counts": {kind.value: count for kind, count in made.counts().items()},
        "layers": [[_document(each) for each in layer] for layer in made.layers],
        "stays": [{**_document(each), "why": why} for each, why in made.stays],
    }


def _document(resource: Resource) -> dict[str, Any]:
    return {"kind": resource.kind.value, "id": resource.id, "name": resource.name}


def from_json(text: str) -> PurgePlan:
    """A plan that `to_json` made; only names are in it, no dependencies. Raises Malformed."""
    try:
        data: Mapping[str, Any] = json.loads(text)
        layers = tuple(
            tuple(_resource(each, data["project_id"]) for each in layer) for layer in data["layers"]
        )
        return PurgePlan(project_id=data["project_id"], project=data["project"], layers=layers)
    except (ValueError, KeyError, TypeError) as error:
        raise Malformed(f"not a plan: {error}") from error


def _resource(data: Mapping[str, str], project_id: str) -> Resource:
    return Resource(kind=Kind(data["kind"]), id=data["id"], name=data["name"], project_id=project_id)
