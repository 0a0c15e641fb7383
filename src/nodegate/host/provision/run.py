"""Runs the role with ansible-playbook, as a process of its own, and follows its events."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import yaml

from nodegate.errors import NotFound, Unavailable
from nodegate.host.provision.document import Host
from nodegate.host.provision.events import HostReport, Outcome, Progress
from nodegate.host.provision.inputs import Inputs, read_inputs
from nodegate.host.provision.reach import WayIn, find_ways
from nodegate.host.provision.reading import Source
from nodegate.host.provision.variables import host_variables, inventory

ROLE = Path(__file__).parent / "role"
FORKS = 10
"""Hosts at a time; each is one process here."""
WATCH = Callable[[HostReport], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How to run. `limit` are names of hosts, empty: all; `sudo_password` None: sudo asks for none."""

    check: bool = False
    diff: bool = False
    limit: tuple[str, ...] = ()
    sudo_password: str | None = None


def provision(source: Source, options: Options, watch: WATCH = lambda _: None) -> list[HostReport]:
    """Make the hosts what the document says, and report on each, in the document's order.

    `watch` is called whenever a host got further. Raises BadDocument for files that the document names, NotFound
    for a limit that names no host, Unavailable without Ansible or when it does not run at all. What goes wrong on
    a host is in its report.
    """
    program = playbook_program()
    hosts = chosen(source, options.limit)
    inputs = read_inputs(source)
    variables = {host.name: host_variables(source, inputs, host) for host in hosts}
    progress = Progress(tuple(host.name for host in hosts))
    ways = asyncio.run(find_ways(source.fleet, hosts))
    for name, way in ways.items():
        if isinstance(way, str):
            report = progress.hosts[name]
            report.outcome, report.message = Outcome.UNREACHABLE, f"SSH does not answer: {way}"
            watch(report)
    reached = {
        host.name: {**variables[host.name], **_connection(host, way)}
        for host in hosts if not isinstance(way := ways[host.name], str)
    }  # fmt: skip
    if reached:
        _play(program, source, inputs, reached, options, progress, watch)
    return list(progress.hosts.values())


def playbook_program() -> str:
    """The ansible-playbook beside this Python, or in PATH. Raises Unavailable with what to install."""
    beside = Path(sys.executable).with_name("ansible-playbook")
    program = str(beside) if beside.exists() else shutil.which("ansible-playbook")
    if program is None or (beside.exists() and find_spec("ansible") is None):
        raise Unavailable("provisioning needs Ansible: `pip install 'nodegate[host]'`")
    if shutil.which("ssh") is None:
        raise Unavailable("provisioning needs ssh: install openssh-client")
    return program


def chosen(source: Source, limit: Sequence[str]) -> tuple[Host, ...]:
    """The hosts that are meant. Raises NotFound for a name that the document does not have."""
    known = {host.name: host for host in source.fleet.hosts}
    if unknown := [name for name in limit if name not in known]:
        raise NotFound(f"{source.document.file} has no host {', '.join(unknown)}; it has {', '.join(known)}")
    return tuple(host for name, host in known.items() if not limit or name in limit)


def _connection(host: Host, way: WayIn) -> dict[str, Any]:
    return {
        "ansible_host": host.address, "ansible_port": way.port, "ansible_user": way.user,
        "ansible_become": way.user != "root", "ansible_python_interpreter": "/usr/bin/python3",
        # One name for the host's key, whatever the port: a moved port is no new host.
        "ansible_ssh_extra_args": f"-o HostKeyAlias={host.address}",
    }  # fmt: skip


def _play(
    program: str, source: Source, inputs: Inputs, hosts: Mapping[str, Mapping[str, Any]], options: Options,
    progress: Progress, watch: WATCH,
) -> None:  # fmt: skip
    with _workspace() as place:
        (place / "inventory.yml").write_text(_yaml(inventory(hosts)))
        (place / "ansible.cfg").write_text(_configuration(source, place))
        command = [program, "-i", str(place / "inventory.yml"), str(ROLE / "site.yml")]
        command += ["--check"] if options.check else []
        command += ["--diff"] if options.diff else []
        if options.sudo_password is not None:
            secret = place / "sudo"
            secret.write_text(options.sudo_password + "\n")
            command += ["--become-password-file", str(secret)]
        environ = {key: value for key, value in os.environ.items() if not key.startswith("ANSIBLE_")}
        environ |= {
            "ANSIBLE_CONFIG": str(place / "ansible.cfg"),
            "LC_ALL": "C.UTF-8",
            "PYTHONUNBUFFERED": "1",
        }
        with (place / "errors").open("w+") as errors:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                env=environ,
            )
            _follow(process, progress, watch)
            errors.seek(0)
            if not progress.ended:
                words = errors.read().strip()[-2000:]
                raise Unavailable(
                    f"ansible-playbook ended with {process.returncode}: {words or 'no reason given'}"
                )


def _follow(process: subprocess.Popen[str], progress: Progress, watch: WATCH) -> None:
    assert process.stdout is not None
    with process:
        try:
            for line in process.stdout:
                if (report := progress.take(line)) is not None:
                    watch(report)
                else:
                    for each in progress.hosts.values():
                        watch(each)
        except BaseException:
            # Never leave Ansible behind; a host in the middle of the guarded change goes back by its own timer.
            process.terminate()
            raise


@contextmanager
def _workspace() -> Iterator[Path]:
    """A folder for nobody else: the inventory may hold secrets. SSH's shared connections are closed at the end."""
    with tempfile.TemporaryDirectory(prefix="ng-provision-") as name:
        place = Path(name)
        (place / "c").mkdir()
        try:
            yield place
        finally:
            for master in (place / "c").iterdir():
                subprocess.run(
                    ["ssh", "-o", f"ControlPath={master}", "-O", "exit", "x"], capture_output=True, check=False, timeout=20
                )  # fmt: skip


def _configuration(source: Source, place: Path) -> str:
    ssh = source.fleet.ssh
    options = {
        "ControlMaster": "auto", "ControlPersist": "60s", "BatchMode": "yes",
        "ServerAliveInterval": "5", "ServerAliveCountMax": "4",
        "StrictHostKeyChecking": "accept-new" if ssh.host_keys == "accept-new" else "yes",
    }  # fmt: skip
    if ssh.known_hosts is not None:
        options["UserKnownHostsFile"] = f'"{source.path(ssh.known_hosts)}"'
    if ssh.key is not None:
        options |= {"IdentityFile": f'"{source.path(ssh.key)}"', "IdentitiesOnly": "yes"}
    arguments = " ".join(f"-o {key}={value}" for key, value in options.items()).replace("%", "%%")
    return f"""\
[defaults]
stdout_callback = nodehost_events
callback_plugins = {ROLE / "callback_plugins"}
roles_path = {ROLE / "roles"}
home = {place / "home"}
local_tmp = {place / "tmp"}
forks = {FORKS}
timeout = 30
host_key_checking = True
retry_files_enabled = False
interpreter_python = /usr/bin/python3
deprecation_warnings = False
nocows = True
collections_scan_sys_path = False

[inventory]
enable_plugins = ansible.builtin.yaml

[ssh_connection]
pipelining = True
ssh_args = {arguments}
control_path_dir = {place / "c"}
control_path = %(directory)s/%%C
"""


class _Literal(str):
    """Text that Ansible must not take for a template."""

    __slots__ = ()


class _Dumper(yaml.SafeDumper):
    """Writes what looks like a template as `!unsafe`: what an operator wrote is never one."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


_Dumper.add_representer(
    _Literal, lambda dumper, data: dumper.represent_scalar("!unsafe", str(data), style='"')
)


def _yaml(document: Mapping[str, Any]) -> str:
    return yaml.dump(_literal(document), Dumper=_Dumper, allow_unicode=False, width=10_000)


def _literal(value: Any) -> Any:
    if isinstance(value, str):
        # Only these: Ansible reads `!unsafe "no"` as a boolean, quoted or not.
        return _Literal(value) if re.search(r"\{[{%#]", value) else value
    if isinstance(value, Mapping):
        return {str(key): _literal(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_literal(item) for item in value]
    return value
