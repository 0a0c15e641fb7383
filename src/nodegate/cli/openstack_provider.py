"""`nodegate openstack provider`: servers of a cloud for pools that keep their size (docs/scaling.md)."""

from __future__ import annotations

import json
import os
from base64 import b64encode
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nodegate.cli.providervars import variable
from nodegate.errors import BadDocument, Fault
from nodegate.model import Seconds

if TYPE_CHECKING:
    from openstack.connection import Connection

provider = typer.Typer(no_args_is_help=True, help="Servers of a cloud for pools that keep their size.")

Cloud = Annotated[
    str | None, typer.Option("--cloud", envvar="OS_CLOUD", help="Cloud of clouds.yaml; else OS_* variables.")
]
Patience = Annotated[
    float, typer.Option("--wait", metavar="SECONDS", min=1, help="How long the cloud may take.")
]


@provider.command()
def start(
    *,
    flavor: Annotated[str, typer.Option("--flavor", help="Name or id.")],
    network: Annotated[str, typer.Option("--network", help="Network whose address the gateway uses.")],
    image: Annotated[
        str | None,
        typer.Option(
            "--image", help="Name or id. [default: an empty disk, for machines that install themselves]"
        ),
    ] = None,
    disk: Annotated[int, typer.Option("--disk", metavar="GIB", min=1, help="Size of that empty disk.")] = 1,
    port: Annotated[int, typer.Option("--port", min=1, max=65_535, help="Port of the node's API.")] = 14265,
    scheme: Annotated[str, typer.Option("--scheme", help="http or https.")] = "http",
    path: Annotated[str, typer.Option("--path", help="Path of the node's API.")] = "",
    weight: Annotated[int, typer.Option("--weight", min=0, max=256)] = 100,
    key_name: Annotated[
        str | None, typer.Option("--key-name", help="SSH key of the cloud for the server.")
    ] = None,
    security_group: Annotated[list[str] | None, typer.Option("--security-group", help="Repeatable.")] = None,
    user_data: Annotated[Path | None, typer.Option("--user-data", help="File for cloud-init.")] = None,
    cloud: Cloud = None,
    patience: Patience = 240.0,
) -> None:
    """Start the server of the node that NODEGATE_NODE names, wait until it is ACTIVE, print the node as JSON."""
    from nodegate.openstack.provider import Template
    from nodegate.openstack.provider import start as start_server

    node = variable("NODEGATE_NODE")
    template = Template(
        image=image, flavor=flavor, network=network, disk=disk, key_name=key_name,
        security_groups=tuple(security_group or ()), user_data=_encoded(user_data),
        metadata={"nodegate-pool": os.environ.get("NODEGATE_POOL", "")},
    )  # fmt: skip
    address = start_server(_connect(cloud), node, template, patience=Seconds(patience))
    host = f"[{address}]" if ":" in address else address
    print(json.dumps({"url": f"{scheme}://{host}:{port}{path}", "weight": weight}))


@provider.command()
def stop(*, cloud: Cloud = None, patience: Patience = 240.0) -> None:
    """Delete the server of the node that NODEGATE_NODE names; one that is gone is no error."""
    from nodegate.openstack.provider import stop as stop_server

    node = variable("NODEGATE_NODE")
    stop_server(_connect(cloud), node, patience=Seconds(patience))
    print("{}")


def _connect(cloud: str | None) -> Connection:
    from nodegate.openstack.cloud import connect

    return connect(cloud)


def _encoded(path: Path | None) -> str | None:
    """Nova takes user data in base64."""
    if path is None:
        return None
    try:
        return b64encode(path.read_bytes()).decode()
    except OSError as error:
        message = f"cannot be read: {error.strerror}"
        raise BadDocument([Fault(file=str(path), line=None, key="--user-data", message=message)]) from error
