"""Consul's catalogue as values: service instances with the checks that count for them. Pure.

They stand beside `nodegate.model` so that the rules which read them (Fabio's tags, the registry) need not
know how they are fetched.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from nodegate.model import Instant

PASSING = "passing"
WARNING = "warning"
CRITICAL = "critical"


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One check of Consul's. `status` is `passing`, `warning` or `critical`, or a word this module does not
    know; `service_id` is empty for a check of the whole Consul node, `kind` is how it is made (`http`, `ttl`)."""

    id: str
    name: str
    status: str
    service_id: str = ""
    output: str = ""
    kind: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """One instance of a service.

    `id` is unique on one Consul node (`node`) only. `address` is the service's own, or the Consul node's where
    it has none. Weights are Consul's (0 to 65535, 1 unless set). `checks` are the instance's, `node_checks` those
    of its Consul node (`serfHealth`, maintenance). `modify_index` counts changes of the registration, not of
    the checks.
    """

    service: str
    id: str
    node: str
    address: str
    port: int
    tags: tuple[str, ...] = ()
    meta: Mapping[str, str] = field(default_factory=dict)
    weights_passing: int = 1
    weights_warning: int = 1
    datacenter: str = ""
    checks: tuple[Check, ...] = ()
    node_checks: tuple[Check, ...] = ()
    modify_index: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalog:
    """All instances in order of service, Consul node and id. `index` is Consul's at the latest change of
    registrations or checks."""

    instances: tuple[Instance, ...]
    index: int
    read_at: Instant
