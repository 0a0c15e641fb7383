"""`nodegate lab provider`: a running lab as a provider of nodes, by the contract of docs/scaling.md."""

from __future__ import annotations

import asyncio
import json
from typing import Annotated

import typer

from nodegate.cli.providervars import variable
from nodegate.errors import Conflict, NotFound

provider = typer.Typer(no_args_is_help=True, help="A lab as provider: starts and stops nodes for a pool.")

Control = Annotated[
    str,
    typer.Option("--control", envvar="NODEGATE_LAB", help="URL of the lab's control port."),
]
DEFAULT_CONTROL = "http://127.0.0.1:14279"


@provider.command()
def start(control: Control = DEFAULT_CONTROL) -> None:
    """Start the node that NODEGATE_NODE and NODEGATE_KIND name; print its URL as JSON."""
    from nodegate.lab.remote import RemoteLab

    name, kind = variable("NODEGATE_NODE"), variable("NODEGATE_KIND")

    async def run() -> str:
        lab = RemoteLab(control)
        try:
            return (await lab.add(kind, name=name)).url
        except Conflict:  # asked for before: the answer got lost
            return str((await lab.node(name))["url"])

    print(json.dumps({"url": asyncio.run(run())}))


@provider.command()
def stop(control: Control = DEFAULT_CONTROL) -> None:
    """Stop the node that NODEGATE_NODE names; one that is gone is no error."""
    from nodegate.lab.remote import RemoteLab

    name = variable("NODEGATE_NODE")

    async def run() -> None:
        try:
            await RemoteLab(control).remove(name)
        except NotFound:
            return

    asyncio.run(run())
    print("{}")
