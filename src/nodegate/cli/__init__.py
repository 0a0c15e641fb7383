"""The command line: parse, call, print.

Commands are imported when they are called, so that `nodegate check`, which a monitoring system may start
every second for each node, does not pay for the rest.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperGroup
from typer.main import get_command, get_group

from nodegate import __version__
from nodegate.errors import BadDocument, NodegateError

USAGE = BadDocument.exit_code
"""Exit code for a wrong command line: 3, which Nagios and Consul read as "unknown", not as "critical"."""


@dataclass(frozen=True, slots=True)
class Lazy:
    """A command that lives in `module` as `attribute`: a function, or a Typer application."""

    module: str
    attribute: str
    help: str


COMMANDS = {
    "up": Lazy("nodegate.cli.up", "up", "Run the gateway in the foreground."),
    "down": Lazy("nodegate.cli.up", "down", "Stop a gateway and its HAProxy."),
    "status": Lazy("nodegate.cli.status", "status", "Show how the gateway and its pools are."),
    "nodes": Lazy("nodegate.cli.nodes", "nodes", "List, add, drain and remove nodes."),
    "plan": Lazy("nodegate.cli.plan", "plan", "Show what the next pass would change, and what is withheld."),
    "policy": Lazy("nodegate.cli.policy", "policy", "Say what clients may ask, and try it out."),
    "clients": Lazy("nodegate.cli.clients", "clients", "Show who asks how much; ban and unban."),
    "why": Lazy("nodegate.cli.why", "why", "Explain how one request was answered."),
    "check": Lazy("nodegate.cli.check", "check", "Check one node, as a Nagios or Consul check does."),
    "config": Lazy("nodegate.cli.config", "config", "Work with nodegate.toml."),
    "token": Lazy("nodegate.cli.status", "token", "Print the admin token of a local gateway."),
    "openstack": Lazy(
        "nodegate.cli.openstack", "openstack", "Hosts file, clean sweep and MAC addresses of OpenStack clouds."
    ),
    "scale": Lazy("nodegate.cli.scale", "scale", "Show pools that are kept at their size."),
    "lab": Lazy("nodegate.cli.lab", "lab", "Simulated nodes, with faults on demand."),
    "demo": Lazy("nodegate.cli.demo", "demo", "See it work: five nodes, a gateway, and a story."),
    "version": Lazy("nodegate.cli.version", "version", "Print the versions of nodegate and of its HAProxy."),
}


class LazyGroup(TyperGroup):
    """Shows every command in its help, and loads the one that is called."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The called command, loaded; completion comes this way too."""
        if args and args[0] in self.commands and args[0] in COMMANDS:
            self.commands[args[0]] = load(args[0])
        return super().resolve_command(ctx, args)


def load(name: str) -> Any:
    """The real command behind `name`."""
    lazy = COMMANDS[name]
    found = getattr(import_module(lazy.module), lazy.attribute)
    holder = typer.Typer(add_completion=False)
    if isinstance(found, typer.Typer):
        holder.add_typer(found, name=name, help=lazy.help)
    else:
        holder.command(name)(found)
    holder.callback()(_nothing)
    return get_group(holder).commands[name]


def application() -> typer.Typer:
    """The whole command line, each command as a stand-in until it is called."""
    app = typer.Typer(
        cls=LazyGroup,
        no_args_is_help=True,
        help="One address in front of a fleet of full nodes that keeps itself healthy and safe.",
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_root)
    for name, lazy in COMMANDS.items():
        app.command(name, help=lazy.help)(_nothing)
    return app


def run(arguments: Sequence[str]) -> int:
    """Run one command line; returns its exit code. Errors are one clear message on standard error."""
    try:
        code = get_command(application()).main(
            args=list(arguments), prog_name="nodegate", standalone_mode=False
        )
    except NodegateError as error:
        _say(str(error))
        return error.exit_code
    except typer.TyperException as error:
        return _usage(error)
    except typer.Abort:
        _say("stopped")
        return 130
    return code if isinstance(code, int) else 0


def main() -> None:
    """Entry point of the `nodegate` command."""
    sys.exit(run(sys.argv[1:]))


def _nothing() -> None:
    """Stands in for a command until it is called."""


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"nodegate {__version__}")
        raise typer.Exit


def _root(
    version: Annotated[
        bool,
        typer.Option("--version", is_eager=True, callback=_print_version, help="Print the version and exit."),
    ] = False,
) -> None:
    """Options that stand before the command."""


def _usage(error: typer.TyperException) -> int:
    context = getattr(error, "ctx", None)
    text = error.format_message().strip()
    if text:
        _say(text)
    if text and context is not None:
        print(f"Try `{context.command_path} --help`.", file=sys.stderr)
    return USAGE


def _say(text: str) -> None:
    printable = "".join(char if char.isprintable() or char == "\n" else "?" for char in text)
    for line in printable.splitlines():
        print(f"nodegate: {line}", file=sys.stderr)
