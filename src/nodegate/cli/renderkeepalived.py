"""`nodegate render keepalived`."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from nodegate.cli.rendered import Output, deliver
from nodegate.cli.up import ConfigFile
from nodegate.errors import BadDocument, Fault


def keepalived(
    *,
    address: Annotated[
        list[str],
        typer.Option(help="A shared address with its prefix length, such as 192.0.2.100/24; may be repeated."),
    ],
    interface: Annotated[str, typer.Option(help="Network interface that carries it, such as eth0.")],
    own: Annotated[str, typer.Option(help="This gateway's own address on that interface.")],
    peer: Annotated[list[str], typer.Option(help="Another gateway's own address; may be repeated.")],
    priority: Annotated[
        int, typer.Option(help="1 to 254; the highest has the address first. Different on each gateway.")
    ] = 100,
    router_id: Annotated[
        int, typer.Option("--router-id", help="1 to 255; the same on all gateways, unique on the network.")
    ] = 51,
    advert: Annotated[
        float, typer.Option(help="Seconds between two adverts; three of them unheard move the address.")
    ] = 0.2,
    preempt: Annotated[
        bool, typer.Option("--preempt/--no-preempt", help="Whether a gateway that is back takes the address again.")
    ] = False,
    ready: Annotated[int, typer.Option(help="Nodes that must be ready, for a gateway to keep the address.")] = 1,
    pool: Annotated[str | None, typer.Option(help="Count the nodes of this pool; without it those of all.")] = None,
    name: Annotated[str, typer.Option(help="Name of the instance, and of this host in keepalived's log.")] = "nodegate",
    script_user: Annotated[
        str, typer.Option("--script-user", help="Who runs the health script.")
    ] = "root",
    health: Annotated[
        str | None, typer.Option(metavar="ADDR", help="HOST:PORT of gateway.health; without it the file's.")
    ] = None,
    config: ConfigFile = None,
    output: Output = None,
) -> None:  # fmt: skip
    """A shared address by VRRP, with a health script that asks HAProxy, and a drop-in for keepalived's unit.

    The gateway must have `gateway.health` set. Firewalls between the gateways must let IP protocol 112 pass.
    """
    from nodegate.render.keepalived import Vrrp, render_keepalived

    vrrp = Vrrp(
        addresses=address, interface=interface, own=own, peers=peer, priority=priority, router_id=router_id,
        advert=advert, preempt=preempt, ready=ready, pool=pool, name=name, script_user=script_user,
        health=_health(health, config),
    )  # fmt: skip
    deliver(render_keepalived(vrrp), output)


def _health(given: str | None, config: ConfigFile) -> str:
    """The address of the health listener. Raises BadDocument when nobody names it."""
    from nodegate.settings import load_settings
    from nodegate.settings.checks import checked_address

    found = given or load_settings(config, os.environ).gateway.health
    if found is None:
        words = 'set gateway.health = "127.0.0.1:9781" in nodegate.toml and name the file with --config'
        raise BadDocument([Fault(file="command line", line=None, key="--health", message=words)])
    try:
        return checked_address(found)
    except ValueError as error:
        raise BadDocument(
            [Fault(file="command line", line=None, key="--health", message=str(error))]
        ) from error
