"""The command line: parse, call, print.

Commands are imported when they are called, so that `nodegate check`, which a monitoring system may start
every second for each node, does not pay for the rest.
"""

from __future__ import annotations

import errno
import gc
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperGroup
from typer.main import get_command, get_group

from nodegate import __version__
from nodegate.errors import BadDocument, NodegateError, Unavailable

USAGE = BadDocument.exit_code
"""Exit code for a wrong command line: 3, which Nagios and Consul read as "unknown", not as "critical"."""
COLLECT_AFTER = 20_000
"""New objects after which Python looks for garbage: a few megabytes at most wait for it."""


@dataclass(frozen=True, slots=True)
class Lazy:
    """A command that lives in `module` as `attribute`: a function, or a Typer application."""

    module: str
    attribute: str
    help: str


COMMANDS = {
    "up": Lazy("nodegate.cli.up", "up", "Run the gateway in the foreground."),
    "haproxy": Lazy("nodegate.cli.haproxy", "haproxy", "Run the gateway's HAProxy as a service of its own."),
    "render": Lazy(
        "nodegate.cli.render", "render", "Write files for keepalived, Consul, systemd and others."
    ),
    "down": Lazy("nodegate.cli.up", "down", "Stop a gateway and its HAProxy."),
    "status": Lazy("nodegate.cli.status", "status", "Show how the gateway and its pools are."),
    "top": Lazy("nodegate.cli.top.command", "top", "Watch nodes, methods, clients and events, live."),
    "gateways": Lazy("nodegate.cli.gateways", "gateways", "Show the gateways of the cluster."),
    "nodes": Lazy("nodegate.cli.nodes", "nodes", "List, add, drain and remove nodes."),
    "plan": Lazy("nodegate.cli.plan", "plan", "Show what the next pass would change, and what is withheld."),
    "policy": Lazy("nodegate.cli.policy", "policy", "Say what clients may ask, and try it out."),
    "clients": Lazy("nodegate.cli.clients", "clients", "Show who asks how much; ban and unban."),
    "registrations": Lazy(
        "nodegate.cli.registrations", "registrations", "See who registers nodes; approve, reject, ban."
    ),
    "why": Lazy("nodegate.cli.why", "why", "Explain how one request was answered."),
    "events": Lazy("nodegate.cli.events", "events", "Show what happened, and what happens."),
    "alerts": Lazy("nodegate.cli.alerts", "alerts", "List, try and silence alerts."),
    "check": Lazy("nodegate.cli.check", "check", "Check one node, as a Nagios or Consul check does."),
    "config": Lazy("nodegate.cli.config", "config", "Work with nodegate.toml."),
    "password": Lazy("nodegate.cli.password", "password", "Say who may log in to the dashboard."),
    "token": Lazy("nodegate.cli.status", "token", "Print the admin token of a local gateway."),
    "neighbours": Lazy(
        "nodegate.cli.neighbours", "neighbours", "A node's neighbours: list, add, remove, watch."
    ),
    "openstack": Lazy(
        "nodegate.cli.openstack",
        "openstack",
        "Hosts file, clean sweep and MAC addresses of OpenStack clouds.",
    ),
    "scale": Lazy("nodegate.cli.scale", "scale", "Show pools that are kept at their size."),
    "provision": Lazy(
        "nodegate.cli.provision", "provision", "Make bare Debian hosts into hardened node hosts."
    ),
    "doctor": Lazy("nodegate.cli.doctor", "doctor", "Audit this host, or others over SSH."),
    "capture": Lazy("nodegate.cli.capture", "capture", "See what hits a node, and what gets no answer."),
    "sockets": Lazy("nodegate.cli.sockets", "sockets", "Gauge a node's connections and descriptors."),
    "support": Lazy("nodegate.cli.support", "support", "Write a bundle for a bug report, without secrets."),
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
    """Entry point of the `nodegate` command. Output that could not be written is an error, never half a file."""
    # Nearly all that a start makes stays: looking for garbage at the usual 700 objects costs a tenth of its time.
    gc.set_threshold(COLLECT_AFTER)
    try:
        code = run(sys.argv[1:])
        sys.stdout.flush()
    except OSError as error:
        if error.errno not in {errno.ENOSPC, errno.EDQUOT, errno.EPIPE}:
            raise
        # Python writes what is left once more when it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 1
        if error.errno != errno.EPIPE:
            _say(f"the output cannot be written whole: {error.strerror}")
            code = Unavailable.exit_code
    sys.exit(code)


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
