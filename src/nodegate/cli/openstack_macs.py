"""`nodegate openstack macs`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from nodegate.errors import BadDocument, Fault


class Format(StrEnum):
    """Forms of the answer; `nodegate.openstack.domains.FORMATS` makes them."""

    PLAIN = "plain"
    JSON = "json"
    IRONIC = "ironic"
    INSTACKENV = "instackenv"


POWER = "Power settings (ironic, instackenv)"


def macs(
    *,
    connect: Annotated[
        str, typer.Option("--connect", envvar="LIBVIRT_DEFAULT_URI", metavar="URI", help="The hypervisor.")
    ] = "qemu:///system",
    network: Annotated[str, typer.Option("--network", help="A network's or a bridge's name.")] = "brbm",
    match: Annotated[
        str, typer.Option("--match", metavar="PATTERN", help="Domains by name, as a shell pattern.")
    ] = "baremetalbrbm*",
    form: Annotated[Format, typer.Option("--format", help="plain: one address a line.")] = Format.PLAIN,
    pm_type: Annotated[str, typer.Option("--pm-type", help="Driver.", rich_help_panel=POWER)] = "ipmi",
    pm_addr: Annotated[
        str, typer.Option("--pm-addr", help="Address of the controllers.", rich_help_panel=POWER)
    ] = "127.0.0.1",
    pm_port: Annotated[
        int,
        typer.Option(
            "--pm-port",
            min=1,
            max=65_535,
            help="Port of the first machine; the next has the next one.",
            rich_help_panel=POWER,
        ),
    ] = 6230,
    pm_user: Annotated[str, typer.Option("--pm-user", rich_help_panel=POWER)] = "admin",
    pm_password_file: Annotated[
        Path | None,
        typer.Option("--pm-password-file", help="File with the password.", rich_help_panel=POWER),
    ] = None,
) -> None:
    """Print the MAC addresses of virtual bare-metal machines, running or not, in natural order. Exit 1 when there
    are none."""
    from nodegate.cli import output
    from nodegate.openstack.domains import FORMATS, Power
    from nodegate.openstack.hypervisor import machines_on

    power = Power(type=pm_type, address=pm_addr, port=pm_port, user=pm_user)
    if pm_password_file is not None:
        power = Power(
            type=pm_type, address=pm_addr, port=pm_port, user=pm_user, password=_password(pm_password_file)
        )
    found = machines_on(connect, network, match)
    if not found:
        output.note(f"no domain at {connect} matches {match!r} and has an interface on {network!r}")
        raise typer.Exit(1)
    print(FORMATS[form.value](found, power))


def _password(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError as error:
        message = f"cannot be read: {error.strerror}"
        raise BadDocument(
            [Fault(file=str(path), line=None, key="--pm-password-file", message=message)]
        ) from error
