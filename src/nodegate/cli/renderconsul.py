"""`nodegate render consul`."""

from __future__ import annotations

import base64
import secrets
from pathlib import Path
from typing import Annotated

import typer

from nodegate.cli.rendered import Output, deliver
from nodegate.errors import BadDocument, Fault


def consul(
    *,
    node: Annotated[str, typer.Option(help="This host's name in Consul.")],
    bind: Annotated[str, typer.Option(help="The address at which the other hosts reach this one.")],
    join: Annotated[list[str], typer.Option(help="Address of a server; name them all, one --join each.")],
    servers: Annotated[
        int, typer.Option(help="How many servers the cluster has, if this host is one: 3 or 5; 0: an agent.")
    ] = 0,
    datacenter: Annotated[str, typer.Option(help="Name of the datacenter.")] = "dc1",
    gossip_key_file: Annotated[
        Path | None,
        typer.Option("--gossip-key-file", metavar="FILE", help="The gossip key; without it a new one is made."),
    ] = None,
    tls: Annotated[
        str, typer.Option(metavar="DIR", help="Directory with ca.pem, and on servers cert.pem and key.pem.")
    ] = "/etc/consul.d/tls",
    no_tls: Annotated[bool, typer.Option("--no-tls", help="No encryption: on a network of its own only.")] = False,
    data: Annotated[str, typer.Option(metavar="DIR", help="Consul's data directory.")] = "/var/lib/consul",
    modern: Annotated[bool, typer.Option("--modern", help="The words of Consul 1.12 and newer.")] = False,
    output: Output = None,
) -> None:  # fmt: skip
    """A hardened Consul server, or the agent beside a gateway or node: gossip key, TLS, everything denied
    without a token, script checks from local files only.

    Make the first host's files with a new gossip key, and give its file to the others.
    """
    from nodegate.render.consul import ConsulHost, render_consul

    host = ConsulHost(
        node=node, bind=bind, join=join, servers=servers, datacenter=datacenter, data=data, modern=modern,
        tls=None if no_tls else tls, key=_key(gossip_key_file),
    )  # fmt: skip
    deliver(render_consul(host), output)


def _key(file: Path | None) -> str:
    """The key in the file, which may be one that this command wrote; a new one without a file."""
    if file is None:
        return base64.b64encode(secrets.token_bytes(32)).decode()
    try:
        lines = [line.strip() for line in file.read_text("utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        fault = Fault(file=str(file), line=None, key="", message=f"cannot be read: {error}")
        raise BadDocument([fault]) from error
    found = [line for line in lines if line and not line.startswith("#")]
    return found[0].removeprefix("encrypt").strip(' ="') if len(found) == 1 else ""
