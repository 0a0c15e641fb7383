"""A node's server on OpenStack: made from an image and a flavour, and taken away again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

from nodegate.errors import NotFound, Unavailable
from nodegate.model import Seconds
from nodegate.openstack.cloud import in_words

if TYPE_CHECKING:
    from openstack.connection import Connection

MARK = "nodegate-node"
"""The server's metadata that says whose node it is: only servers that carry it are ever deleted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """What servers are made of. `image` None: an empty local disk of `disk` GiB, for machines that install
    themselves over the network. `address` is the network whose address the gateway uses, `user_data` is handed to
    cloud-init."""

    image: str | None
    flavor: str
    network: str
    disk: int = 1
    key_name: str | None = None
    security_groups: tuple[str, ...] = ()
    user_data: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)


def start(connection: Connection, node: str, template: Template, *, patience: Seconds) -> str:
    """Make the server of `node`, or find the one that was made before, and wait until it is ACTIVE; returns its
    address on the template's network.

    Raises NotFound for an image, flavour or network that is not there, Unavailable when the server does not come up;
    a failed one is deleted, so that the next try starts anew.
    """
    with in_words():
        connection.session.get_token()
        server = _find(connection, node) or _create(connection, node, template)
        server = _active(connection, server, patience)
        return _address(server, template.network)


def stop(connection: Connection, node: str, *, patience: Seconds) -> bool:
    """Delete the server of `node` and wait until it is gone; False when there was none. Raises Unavailable."""
    with in_words():
        connection.session.get_token()
        server = _find(connection, node)
        if server is None:
            return False
        connection.compute.delete_server(server, ignore_missing=True)
        _gone(connection, server, patience)
        return True


def _find(connection: Connection, node: str) -> Any:
    marked = (
        each for each in connection.compute.servers(details=True) if (each.metadata or {}).get(MARK) == node
    )
    return next(marked, None)


def _create(connection: Connection, node: str, template: Template) -> Any:
    compute = connection.compute
    options: dict[str, Any] = {
        "name": node,
        "flavor_id": _need(compute.find_flavor(template.flavor), "flavour", template.flavor).id,
        "networks": [
            {"uuid": _need(connection.network.find_network(template.network), "network", template.network).id}
        ],
        "metadata": {**template.metadata, MARK: node},
    }
    if template.image is not None:
        image = _need(connection.image.find_image(template.image), "image", template.image)
        options["image_id"] = image.id
    else:
        disk = {
            "boot_index": 0,
            "source_type": "blank",
            "destination_type": "local",
            "volume_size": template.disk,
        }
        options["block_device_mapping_v2"] = [disk]
    if template.key_name is not None:
        options["key_name"] = template.key_name
    if template.security_groups:
        options["security_groups"] = [{"name": name} for name in template.security_groups]
    if template.user_data is not None:
        options["user_data"] = template.user_data
    return compute.create_server(**options)


def _need(found: Any, what: str, name: str) -> Any:
    if found is None:
        raise NotFound(f"the cloud has no {what} {name!r}, or these credentials may not see it")
    return found


def _active(connection: Connection, server: Any, patience: Seconds) -> Any:
    from openstack.exceptions import ResourceFailure, ResourceTimeout

    try:
        return connection.compute.wait_for_server(server, interval=1, wait=round(patience))
    except ResourceFailure as error:
        fault = (connection.compute.get_server(server.id).fault or {}).get("message", str(error))
        connection.compute.delete_server(server, ignore_missing=True)
        raise Unavailable(f"the server did not start and is deleted again: {fault}") from error
    except ResourceTimeout as error:
        raise Unavailable(
            f"the server is not ACTIVE after {patience:g} s; the next try goes on waiting"
        ) from error


def _gone(connection: Connection, server: Any, patience: Seconds) -> None:
    from openstack.exceptions import ResourceTimeout

    try:
        connection.compute.wait_for_delete(server, interval=1, wait=round(patience))
    except ResourceTimeout as error:
        raise Unavailable(
            f"server {server.id} is still there after {patience:g} s; the next try goes on"
        ) from error


def _address(server: Any, network: str) -> str:
    found: list[str] = [each["addr"] for each in (server.addresses or {}).get(network, [])]
    if not found:
        raise Unavailable(f"server {server.id} has no address on network {network!r}")
    return min(found, key=lambda text: (ip_address(text).version, text))
