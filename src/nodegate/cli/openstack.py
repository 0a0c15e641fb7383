"""`nodegate openstack`: tools for the clouds that fleets are tested on."""

from __future__ import annotations

import typer

from nodegate.cli.openstack_hosts import hosts
from nodegate.cli.openstack_macs import macs
from nodegate.cli.openstack_provider import provider
from nodegate.cli.openstack_purge import purge

openstack = typer.Typer(no_args_is_help=True, add_completion=False)


@openstack.callback()
def _group() -> None:
    """Names, a clean sweep, and MAC addresses for OpenStack clouds; see docs/openstack.md."""


openstack.command("hosts")(hosts)
openstack.command("macs")(macs)
openstack.command("purge")(purge)
openstack.add_typer(provider, name="provider")
