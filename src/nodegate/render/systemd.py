"""Units for systemd: nodegate and its HAProxy apart, unprivileged, and shut in.

HAProxy has a unit of its own, so that an upgrade or a crash of nodegate never touches traffic: nodegate adopts
the HAProxy that runs (`gateway.start_haproxy = false`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePosixPath

from nodegate.errors import BadDocument, Fault
from nodegate.render.rendered import Rendered

PRIVILEGED = 1024
"""Ports below this one need a capability."""

_USER = re.compile(r"[a-z_][a-z0-9_-]{0,30}")
_PATH = re.compile(r"/[A-Za-z0-9._/+@-]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """One machine. `program` is nodegate's file, `config` its nodegate.toml, `state` a directory below
    /var/lib that systemd makes for `user`. `maxconn` are the connections that HAProxy is to serve; `low_ports`
    says that it listens below 1024. `own_haproxy` is False for an HAProxy that the operator chose, which may
    compile patterns to machine code."""

    program: str
    config: str = "/etc/nodegate/nodegate.toml"
    state: str = "/var/lib/nodegate"
    user: str = "nodegate"
    maxconn: int = 4000
    low_ports: bool = False
    own_haproxy: bool = True


def render_systemd(host: Host, *, directory: str = "/etc/systemd/system") -> tuple[Rendered, ...]:
    """Both units and the user they run as. Raises BadDocument with every fault."""
    if faults := _faults(host):
        raise BadDocument(faults)
    sysusers = f'u {host.user} - "nodegate" {host.state} /usr/sbin/nologin\n'
    return (
        Rendered(path="nodegate.service", install=f"{directory}/nodegate.service", text=_nodegate(host)),
        Rendered(path="nodegate-haproxy.service", install=f"{directory}/nodegate-haproxy.service", text=_haproxy(host)),
        Rendered(path="nodegate.sysusers.conf", install="/etc/sysusers.d/nodegate.conf", text=sysusers),
    )  # fmt: skip


def _nodegate(host: Host) -> str:
    return f"""\
# nodegate: probes nodes, judges, and steers HAProxy. Stopping it leaves HAProxy serving.
[Unit]
Description=nodegate, health-aware gateway for full nodes
After=network-online.target nodegate-haproxy.service
Wants=network-online.target nodegate-haproxy.service
StartLimitIntervalSec=0

[Service]
Type=exec
ExecStart={host.program} up --config {host.config} --state {host.state}
Restart=always
RestartSec=1
# HAProxy is the other unit's; nodegate must not try to start one in this unit's sandbox.
Environment=NODEGATE_GATEWAY__START_HAPROXY=false
{_sandbox(host)}MemoryDenyWriteExecute=yes
CapabilityBoundingSet=
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX
OOMScoreAdjust=-100

[Install]
WantedBy=multi-user.target
"""


def _haproxy(host: Host) -> str:
    capability = "CAP_NET_BIND_SERVICE" if host.low_ports else ""
    ambient = f"AmbientCapabilities={capability}\n" if capability else ""
    files = 2 * (host.maxconn + 50) + 2000
    return f"""\
# HAProxy, which carries every byte. Upgrades of nodegate leave it alone: after one of HAProxy itself,
# restart this unit in a quiet moment.
[Unit]
Description=HAProxy of nodegate
After=network-online.target
Wants=network-online.target
StartLimitIntervalSec=0

[Service]
Type=exec
# Writes a first configuration if there is none, and becomes HAProxy.
ExecStart={host.program} haproxy --config {host.config} --state {host.state}
# Requests under way may finish.
KillSignal=SIGUSR1
KillMode=mixed
TimeoutStopSec=30
Restart=always
RestartSec=200ms
# Two for each connection, and as many again for a reload.
LimitNOFILE={files}
{_sandbox(host)}{"MemoryDenyWriteExecute=yes" + chr(10) if host.own_haproxy else ""}CapabilityBoundingSet={capability}
{ambient}RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX
OOMScoreAdjust=-500

[Install]
WantedBy=multi-user.target
"""


def _sandbox(host: Host) -> str:
    """What both units are shut in. The home directories are hidden unless the program itself lies in one."""
    at_home = host.program.startswith(("/home/", "/root/"))
    state = PurePosixPath(host.state).relative_to("/var/lib")
    return f"""\
User={host.user}
StateDirectory={state}
StateDirectoryMode=0700
UMask=0077
NoNewPrivileges=yes
ProtectSystem=strict
ProtectHome={"read-only" if at_home else "yes"}
PrivateTmp=yes
PrivateDevices=yes
DevicePolicy=closed
ProtectProc=invisible
ProcSubset=pid
ProtectClock=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectControlGroups=yes
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
RemoveIPC=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @resources
SystemCallErrorNumber=EPERM
"""


def _faults(host: Host) -> list[Fault]:
    found = [
        (option, f"{text!r} is not an absolute path without spaces")
        for option, text in (("--program", host.program), ("--config", host.config), ("--state", host.state))
        if _PATH.fullmatch(text) is None
    ]
    if not host.state.startswith("/var/lib/") or ".." in PurePosixPath(host.state).parts:
        found.append(
            ("--state", f"{host.state!r} must be below /var/lib, where systemd makes it for the user")
        )
    if _USER.fullmatch(host.user) is None:
        found.append(("--user", f"{host.user!r} is no user's name"))
    elif host.user == "root":
        found.append(("--user", "not root: neither of them needs it"))
    return [Fault(file="command line", line=None, key=option, message=words) for option, words in found]
