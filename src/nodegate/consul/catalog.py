"""Consul's documents as the values of `nodegate.catalog`. Pure.

A document that is not what Consul 1.x sends raises Malformed; it is never read as "nothing there".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from nodegate.catalog import CRITICAL, PASSING, WARNING, Catalog, Check, Instance
from nodegate.errors import Malformed

__all__ = [
    "CRITICAL",
    "PASSING",
    "WARNING",
    "Catalog",
    "Check",
    "Instance",
    "check_of",
    "checks_of",
    "instances_of_service",
    "instances_on_node",
    "service_names",
]

T = TypeVar("T")


def service_names(value: Any) -> dict[str, tuple[str, ...]]:
    """`/v1/catalog/services`: all services and the union of their instances' tags."""
    return _understood(
        "list of services",
        lambda: {str(name): tuple(map(str, tags or ())) for name, tags in _mapping(value).items()},
    )


def checks_of(value: Any) -> dict[tuple[str, str], Mapping[str, Any]]:
    """`/v1/health/state/any`: the raw checks by Consul node and check id, all with the members that
    `check_of` reads."""
    return _understood(
        "list of checks",
        lambda: {(str(item["Node"]), str(item["CheckID"])): _complete(item) for item in _list(value)},
    )


def check_of(raw: Mapping[str, Any]) -> Check:
    """One check of `checks_of`."""
    return Check(
        id=raw["CheckID"],
        name=raw["Name"],
        status=raw["Status"],
        service_id=raw["ServiceID"],
        output=raw.get("Output") or "",
        kind=raw.get("Type") or "",
    )


def instances_of_service(value: Any) -> tuple[Instance, ...]:
    """`/v1/catalog/service/NAME`: the instances, without checks."""
    return _understood("service", lambda: tuple(map(_of_service, _list(value))))


def instances_on_node(value: Any) -> tuple[Instance, ...]:
    """`/v1/catalog/node/NAME`: all instances on one Consul node, without checks; none for a node that is gone."""
    if value is None:
        return ()
    return _understood(
        "node",
        lambda: tuple(
            _on_node(value["Node"], service) for service in _mapping(value["Services"] or {}).values()
        ),
    )


def _of_service(item: Mapping[str, Any]) -> Instance:
    return _instance(
        item["ServiceName"], item["ServiceID"], item, item["ServiceAddress"], item["ServicePort"],
        item["ServiceTags"], item["ServiceMeta"], item.get("ServiceWeights"), item["ModifyIndex"],
    )  # fmt: skip


def _on_node(node: Mapping[str, Any], item: Mapping[str, Any]) -> Instance:
    return _instance(
        item["Service"], item["ID"], node, item["Address"], item["Port"], item["Tags"], item["Meta"],
        item.get("Weights"), item["ModifyIndex"],
    )  # fmt: skip


def _instance(
    service: str,
    instance_id: str,
    node: Mapping[str, Any],
    address: str,
    port: int,
    tags: list[str] | None,
    meta: Mapping[str, str] | None,
    weights: Mapping[str, int] | None,
    modify_index: int,
) -> Instance:
    weights = weights or {}
    return Instance(
        service=str(service),
        id=str(instance_id),
        node=str(node["Node"]),
        address=str(address or node["Address"]),
        port=int(port or 0),
        tags=tuple(map(str, tags or ())),
        meta={str(key): str(value) for key, value in (meta or {}).items()},
        weights_passing=int(weights.get("Passing", 1)),
        weights_warning=int(weights.get("Warning", 1)),
        datacenter=str(node.get("Datacenter") or ""),
        modify_index=int(modify_index),
    )


def _complete(item: Any) -> Mapping[str, Any]:
    for member in ("Name", "Status", "ServiceID", "ServiceName"):
        if not isinstance(item[member], str):
            raise TypeError(f"{member} is {item[member]!r}")
    return _mapping(item)


def _mapping(value: Any) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise TypeError(f"an object is expected, not {type(value).__name__}")
    return value


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise TypeError(f"a list is expected, not {type(value).__name__}")
    return value


def _understood(what: str, read: Callable[[], T]) -> T:
    try:
        return read()
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise Malformed(f"Consul's {what} is not what it should be: {error!r}") from error
