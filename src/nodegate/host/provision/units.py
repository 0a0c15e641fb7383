"""The node's command line and settings, as systemd reads them. Pure."""

from __future__ import annotations

import re

from nodegate.host.provision.document import Node

_PLAIN = re.compile(r"[A-Za-z0-9_@+=:,./-]+|\$[A-Za-z_][A-Za-z0-9_]*|\"?\$\{[A-Za-z_][A-Za-z0-9_]*\}\"?")


def start_line(node: Node) -> str:
    """What stands behind `ExecStart=`. An argument `$NAME` or `${NAME}` is filled in from the environment."""
    if node.kind == "command":
        return " ".join(quoted(word) for word in (*node.command, *node.options))
    host = "0.0.0.0" if node.api_from else "127.0.0.1"  # noqa: S104  # the firewall says who may ask
    words = [
        node.java, *node.java_options, "-jar", jar_path(node), "--port", str(node.port), "--api-host", host,
        "--remote-limit-api", ", ".join(node.remote_limit), "--neighbors", "${NEIGHBORS}", *node.options,
    ]  # fmt: skip
    return " ".join(quoted(word) for word in words)


def jar_path(node: Node) -> str:
    """Where the jar lies on the host, root's."""
    return f"/opt/{node.name}/{node.name}.jar"


def data_path(node: Node) -> str:
    """The node's own directory."""
    return f"/var/lib/{node.name}"


def unit_name(node: Node) -> str:
    """The unit's name."""
    return f"{node.name}.service"


def quoted(word: str) -> str:
    """One argument for systemd: `%` is no specifier, and only a whole `$NAME` is a variable."""
    if _PLAIN.fullmatch(word):
        return f'"{word}"' if word.startswith("${") else word
    return f'"{_escaped(word).replace("$", "$$")}"'


def environment_line(name: str, value: str) -> str:
    """One line of an environment file."""
    text = value.replace("\\", "\\\\").replace('"', '\\"').replace("$", "\\$").replace("`", "\\`")
    return f'{name}="{text}"'


def _escaped(word: str) -> str:
    return word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
