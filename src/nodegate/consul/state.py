"""What is known of the catalogue, and how it follows from Consul's answers. Pure.

Values that did not change stay the same objects, so that whoever derives something from an instance may keep
it as long as the instance is the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

from nodegate.catalog import Check, Instance
from nodegate.consul.catalog import check_of
from nodegate.consul.damping import Place

Wanted = Callable[[str], bool]


def merged_checks(
    raw: Mapping[Place, Mapping[str, Any]],
    known_raw: Mapping[Place, Mapping[str, Any]],
    known: Mapping[Place, Check],
) -> dict[Place, Check]:
    """The checks of `raw`; those that are as they were in `known_raw` are the objects of `known`."""
    return {
        place: known[place] if place in known and known_raw.get(place) == item else check_of(item)
        for place, item in raw.items()
    }


def merged_instances(fetched: Iterable[Instance], known: Mapping[Place, Instance]) -> dict[Place, Instance]:
    """The fetched instances by Consul node and id; unchanged ones are the objects of `known`."""
    found = {}
    for instance in fetched:
        place = (instance.node, instance.id)
        former = known.get(place)
        found[place] = former if former == instance and former is not None else instance
    return found


def composed(
    bare: Mapping[Place, Instance],
    checks: Mapping[Place, Check],
    known_bare: Mapping[Place, Instance],
    known: Mapping[Place, Instance],
) -> dict[Place, Instance]:
    """All instances with their checks. `known` is what was composed before, of `known_bare`."""
    own: dict[Place, list[Check]] = {}
    whole: dict[str, list[Check]] = {}
    for (node, _), check in sorted(checks.items(), key=_place):
        if check.service_id:
            own.setdefault((node, check.service_id), []).append(check)
        else:
            whole.setdefault(node, []).append(check)
    on_node = {node: tuple(found) for node, found in whole.items()}
    result = {}
    for place, instance in bare.items():
        mine, nodes = tuple(own.get(place, ())), on_node.get(place[0], ())
        former = known.get(place)
        if (
            former is not None
            and known_bare.get(place) is instance
            and (former.checks, former.node_checks) == (mine, nodes)
        ):
            result[place] = former
        else:
            result[place] = replace(instance, checks=mine, node_checks=nodes)
    return result


def _place(item: tuple[Place, Check]) -> Place:
    return item[0]


def suspects(
    names: Mapping[str, tuple[str, ...]],
    known_names: Mapping[str, tuple[str, ...]],
    raw: Mapping[Place, Mapping[str, Any]],
    bare: Mapping[Place, Instance],
    wanted: Wanted,
) -> set[str]:
    """Services that have evidently changed: their name is new or gone, their tags are others, or a check is of an
    instance that is not known, or an instance has lost its checks."""
    found = {name for name in names.keys() | known_names.keys() if names.get(name) != known_names.get(name)}
    checked = set()
    for (node, _), item in raw.items():
        if item["ServiceID"]:
            place = (node, item["ServiceID"])
            checked.add(place)
            if place not in bare and wanted(item["ServiceName"]):
                found.add(item["ServiceName"])
    found |= {one.service for place, one in bare.items() if one.checks and place not in checked}
    return found
