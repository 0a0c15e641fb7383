"""`nodegate config`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from nodegate.cli.options import AsJson

config = typer.Typer(no_args_is_help=True, add_completion=False)


@config.callback()
def _group() -> None:
    """Work with nodegate.toml."""


@config.command("check")
def check(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="nodegate.toml to check.")],
    as_json: AsJson = False,
) -> None:
    """Check a configuration without starting anything: file, line and key of every fault."""
    from nodegate.cli import output
    from nodegate.errors import BadDocument

    try:
        nodes, pools = _checked(file)
    except BadDocument as error:
        if not as_json:
            raise
        faults = [
            {"file": fault.file, "line": fault.line, "key": fault.key, "message": fault.message}
            for fault in error.faults
        ]
        output.print_json({"file": str(file), "ok": False, "faults": faults})
        raise typer.Exit(error.exit_code) from None
    if as_json:
        output.print_json({"file": str(file), "ok": True, "faults": []})
    else:
        print(f"{file}: good, {nodes} nodes in {pools} pools")


def _checked(file: Path) -> tuple[int, int]:
    """How many nodes and pools the file declares. Raises BadDocument with every fault."""
    from nodegate.alerting.defaults import rules_of
    from nodegate.documents import load
    from nodegate.protocols import adapters
    from nodegate.registry.records import declared_nodes
    from nodegate.settings import load_settings

    settings = load_settings(file, os.environ)
    document = load(file)
    nodes = declared_nodes(settings, adapters(), document)
    rules_of(settings.alerts, document)
    return len(nodes), len({*settings.pools, *(node.pool for node in nodes)})
