"""Further names of the gateway in Consul: routes ask for them by `register=NAME`. Pure.

Whoever looks for NAME in Consul DNS finds the gateways, which know where the route leads. Each gateway registers
itself, beside its own service and with a check that follows that one's.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from nodegate.haproxy.config import split_host_port
from nodegate.registry.consulservices import DIGEST
from nodegate.settings import Settings

ALIAS = "nodegate-alias"
"""Meta of a service that is a further name of a gateway: that gateway's name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Itself:
    """The gateway as it is registered on the agent of its machine: its name, the name and the id of its service, and
    where clients reach it (`address` None: at the agent's own)."""

    name: str
    service: str
    service_id: str
    address: str | None
    port: int


def itself(settings: Settings, name: str) -> Itself:
    """The gateway of this name, as the cluster registers it."""
    cluster = settings.cluster
    _, port = split_host_port(settings.gateway.listen[0])
    return Itself(
        name=name, service=cluster.service, service_id=f"{cluster.service}-{name}", address=cluster.address, port=port
    )  # fmt: skip


def alias_definitions(
    names: Iterable[str], itself: Itself | None
) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """The bodies of `/v1/agent/service/register` by service id, and a sentence for each name that is not taken."""
    documents: dict[str, dict[str, Any]] = {}
    faults = []
    for name in names:
        if itself is None:
            faults.append(
                f"register={name}: this gateway registers no service of its own; set cluster.enabled"
            )
        elif name.lower() in {"consul", itself.service.lower()}:
            faults.append(
                f"register={name}: this name is taken by Consul or by the gateways; choose another one"
            )
        else:
            document = _definition(name, itself)
            documents[document["ID"]] = document
    return documents, faults


def _definition(name: str, itself: Itself) -> dict[str, Any]:
    key = f"{name}-{itself.name}"
    document: dict[str, Any] = {
        "ID": key,
        "Name": name,
        "Port": itself.port,
        "Meta": {ALIAS: itself.name},
        "Checks": [
            {"CheckID": f"{key}:alias", "Name": "the gateway lives", "AliasService": itself.service_id},
        ],
    }
    if itself.address is not None:
        document["Address"] = itself.address
    document["Meta"][DIGEST] = hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()[:16]
    return document
