"""The document as variables of the role, for one host. Pure: what was read is passed in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nodegate.errors import BadDocument, NodegateError
from nodegate.haproxy.config import split_host_port
from nodegate.host.provision.document import Fleet, Host, Node
from nodegate.host.provision.firewall import accept_rules, ssh_rules
from nodegate.host.provision.inputs import Inputs
from nodegate.host.provision.reading import Source, own_address
from nodegate.host.provision.units import data_path, environment_line, jar_path, start_line, unit_name
from nodegate.host.rules import role_variables
from nodegate.render.consul import ConsulHost, render_consul
from nodegate.render.keepalived import Vrrp, render_keepalived
from nodegate.render.rendered import Rendered
from nodegate.render.systemd import PRIVILEGED, render_systemd
from nodegate.render.systemd import Host as Machine

PACKAGES = ("openssh-server", "nftables", "sudo", "logrotate")
WHEEL = "/var/lib/nodehost/"
GATEWAY = "/opt/nodegate"
PRIORITY = 150
"""Of the first host of the document for the shared address; each next one has ten less."""

Item = dict[str, Any]


def host_variables(source: Source, inputs: Inputs, host: Host) -> dict[str, Any]:
    """All variables of one host. Raises BadDocument for what a renderer (keepalived, Consul) refuses."""
    fleet = source.fleet
    build = _Build(source, inputs, host)
    for part, add in _PARTS.items():
        if part in fleet.parts(host):
            add(build)
    return {
        **role_variables(),
        "nodehost_admin": fleet.ssh.user,
        "nodehost_admin_keys": list(inputs.keys),
        "nodehost_own_key": inputs.own_key or "",
        "nodehost_ssh_port": host.ssh_port or fleet.ssh.port,
        "nodehost_ssh_from": list(fleet.firewall.ssh_from),
        "nodehost_ssh_rules": ssh_rules(fleet, host),
        "nodehost_accept_rules": accept_rules(fleet, host, inputs.settings),
        "nodehost_tor4": list(inputs.tor4),
        "nodehost_tor6": list(inputs.tor6),
        "nodehost_rollback": fleet.firewall.rollback,
        "nodehost_system": fleet.system.model_dump(mode="json"),
        **build.variables,
    }


class _Build:
    """Collects what the parts of one host need."""

    def __init__(self, source: Source, inputs: Inputs, host: Host) -> None:
        self.source, self.inputs, self.host = source, inputs, host
        packages = [*PACKAGES, *(["unattended-upgrades"] if source.fleet.system.upgrades else [])]
        self.variables: dict[str, Any] = {
            "nodehost_packages": packages, "nodehost_users": [], "nodehost_directories": [], "nodehost_part_files": [],
            "nodehost_uploads": [], "nodehost_part_units": [], "nodehost_node": {}, "nodehost_pip": "",
        }  # fmt: skip

    @property
    def fleet(self) -> Fleet:
        return self.source.fleet

    def add(self, kind: str, **values: Any) -> None:
        """One more of `kind`: users, directories, uploads, part_files, part_units."""
        self.variables[f"nodehost_{kind}"].append(values)

    def directory(self, path: str, *, owner: str = "root", mode: str = "0755") -> None:
        self.add("directories", path=path, owner=owner, group=owner, mode=mode)

    def upload(self, name: str, path: str, *, owner: str = "root", mode: str = "0644") -> None:
        file = self.inputs.uploads[name]
        self.add(
            "uploads", src=str(file.path), sha256=file.sha256, path=path, owner=owner, group=owner, mode=mode
        )

    def file(self, path: str, content: str, *, owner: str = "root", mode: str = "0644") -> None:
        self.add("part_files", path=path, content=content, owner=owner, group=owner, mode=mode)

    def rendered(self, files: tuple[Rendered, ...], *, owner: str = "root") -> list[str]:
        for file in files:
            self.file(file.install, file.text, owner=owner, mode=f"{file.mode:04o}")
        return [file.install for file in files]

    def unit(self, name: str, *restart_on: str) -> None:
        self.add("part_units", name=name, restart_on=list(restart_on))


def _add_node(build: _Build) -> None:
    node = build.fleet.node
    assert node is not None
    name, data = node.name, data_path(node)
    build.add("users", name=name, home=data, comment=f"{name} node")
    build.directory(data, owner=name, mode="0700")
    build.directory(f"/var/log/{name}", owner=name, mode="0750")
    restart_on = [
        f"/etc/systemd/system/{unit_name(node)}",
        f"/etc/default/{name}",
        f"/etc/default/{name}-neighbours",
    ]
    programs = ((node.jar, jar_path(node), "0644"), (node.program, (*node.command, "")[0], "0755"))
    for here, there, mode in programs:
        if here is not None:
            build.directory(there.rpartition("/")[0])
            build.upload(here, there, mode=mode)
            restart_on.append(there)
    for there, here in node.files.items():
        for parent in _parents(there):
            build.directory(f"{data}/{parent}", owner=name, mode="0700")
        build.upload(here, f"{data}/{there}", owner=name, mode="0600")
        restart_on.append(f"{data}/{there}")
    if node.kind == "iri" and node.java_package:
        build.variables["nodehost_packages"].append(node.java_package)
    build.variables["nodehost_node"] = _node_variables(node, build.host)
    build.unit(unit_name(node), *restart_on)


def _node_variables(node: Node, host: Host) -> dict[str, Any]:
    neighbours = node.neighbours if host.neighbours is None else host.neighbours
    return {
        "name": node.name,
        "kind": node.kind,
        "start": start_line(node),
        "data": data_path(node),
        "unit": unit_name(node),
        "environment": [environment_line(name, value) for name, value in sorted(node.environment.items())],
        "neighbours": environment_line("NEIGHBORS", " ".join(neighbours or ())),
        "neighbours_kept": neighbours is None,
        "fd_limit": node.fd_limit,
        "memory": node.memory or "",
    }


def _add_gateway(build: _Build) -> None:
    gateway, settings = build.fleet.gateway, build.inputs.settings
    assert gateway is not None
    assert settings is not None
    build.add("users", name="nodegate", home="/var/lib/nodegate", comment="nodegate")
    build.directory("/etc/nodegate")
    build.directory("/etc/sysusers.d")
    config = "/etc/nodegate/nodegate.toml"
    build.upload(gateway.config, config, owner="nodegate", mode="0600")
    restart_on = [config]
    for there, here in gateway.files.items():
        for parent in _parents(there):
            build.directory(f"/etc/nodegate/{parent}")
        build.upload(here, f"/etc/nodegate/{there}", owner="nodegate", mode="0600")
    if gateway.package is not None:
        requirement = gateway.package
        if requirement.endswith(".whl"):
            requirement = WHEEL + requirement.rpartition("/")[2]
            build.directory(WHEEL.rstrip("/"))
            build.upload(gateway.package, requirement)
            restart_on.append(requirement)
        build.variables["nodehost_pip"] = requirement
        build.variables["nodehost_packages"].append("python3-venv")
    places = [*settings.gateway.listen, *([settings.gateway.health] if settings.gateway.health else [])]
    machine = Machine(
        program=gateway.program or f"{GATEWAY}/bin/nodegate", maxconn=settings.gateway.maxconn,
        low_ports=any(split_host_port(place)[1] < PRIVILEGED for place in places),
        own_haproxy=settings.gateway.haproxy is None,
    )  # fmt: skip
    paths = build.rendered(render_systemd(machine))
    build.unit("nodegate-haproxy.service", *(path for path in paths if "haproxy" in path))
    build.unit(
        "nodegate.service", *restart_on, *(path for path in paths if path.endswith("nodegate.service"))
    )


def _add_keepalived(build: _Build) -> None:
    table, settings = build.fleet.keepalived, build.inputs.settings
    assert table is not None
    assert settings is not None
    if settings.gateway.health is None:
        words = "gateway.health is not set there, and keepalived asks it"
        raise build.source.fault(("gateway", "config"), words)
    group = [host for host in build.fleet.hosts if "keepalived" in build.fleet.parts(host)]
    vrrp = Vrrp(
        addresses=table.addresses, interface=table.interface, own=_own(build.host), health=settings.gateway.health,
        peers=[_own(host) for host in group if host is not build.host], pool=table.pool, ready=table.ready,
        priority=max(1, PRIORITY - 10 * group.index(build.host)), router_id=table.router_id, advert=table.advert,
    )  # fmt: skip
    build.variables["nodehost_packages"].append("keepalived")
    build.directory("/etc/keepalived")
    build.directory("/etc/systemd/system/keepalived.service.d")
    paths = build.rendered(_told(build, "keepalived", lambda: render_keepalived(vrrp)))
    build.unit("keepalived.service", *paths)


def _add_consul(build: _Build) -> None:
    table = build.fleet.consul
    assert table is not None
    tls = "/etc/consul.d/tls"
    agent = ConsulHost(
        node=build.host.name.replace(".", "-"), bind=_own(build.host), join=table.join, key=build.inputs.gossip_key,
        datacenter=table.datacenter, tls=tls if table.ca else None, modern=table.modern,
    )  # fmt: skip
    build.add("users", name="consul", home="/var/lib/consul", comment="Consul agent")
    build.directory("/var/lib/consul", owner="consul", mode="0700")
    build.directory("/etc/consul.d", owner="consul", mode="0750")
    if table.ca is not None:
        build.directory(tls, owner="consul", mode="0750")
        build.upload(table.ca, f"{tls}/ca.pem", owner="consul")
    if table.binary is not None:
        build.upload(table.binary, table.program, mode="0755")
    elif table.package:
        build.variables["nodehost_packages"].append(table.package)
    paths = build.rendered(_told(build, "consul", lambda: render_consul(agent)), owner="consul")
    unit = "/etc/systemd/system/nodehost-consul.service"
    build.file(unit, CONSUL_UNIT.format(program=table.program))
    build.unit("nodehost-consul.service", unit, *paths, *([table.program] if table.binary else []))


CONSUL_UNIT = """\
# Written by `nodegate provision`: Consul's agent. The name is its own, so that a package's unit stays as it is.
[Unit]
Description=Consul agent
After=network-online.target
Wants=network-online.target
StartLimitIntervalSec=0

[Service]
Type=exec
User=consul
ExecStart={program} agent -config-dir=/etc/consul.d -data-dir=/var/lib/consul
ExecReload=/bin/kill -HUP $MAINPID
KillSignal=SIGTERM
Restart=always
RestartSec=2
LimitNOFILE=16384
NoNewPrivileges=yes
CapabilityBoundingSet=
ProtectSystem=strict
ReadWritePaths=/var/lib/consul
ProtectHome=yes
PrivateTmp=yes
PrivateDevices=yes
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectControlGroups=yes
RestrictSUIDSGID=yes
RestrictNamespaces=yes
LockPersonality=yes
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX AF_NETLINK
SystemCallArchitectures=native
SystemCallFilter=@system-service

[Install]
WantedBy=multi-user.target
"""

_PARTS = {"node": _add_node, "gateway": _add_gateway, "keepalived": _add_keepalived, "consul": _add_consul}


def _told(build: _Build, table: str, render: Any) -> tuple[Rendered, ...]:
    """What the renderer gives; what it refuses becomes a fault of the document's table."""
    try:
        files: tuple[Rendered, ...] = render()
    except BadDocument as error:
        document = build.source.document
        raise BadDocument(
            document.fault((table,), f"host {build.host.name}: {fault.key.lstrip('-')}: {fault.message}")
            for fault in error.faults
        ) from error
    except NodegateError as error:
        raise build.source.fault((table,), str(error)) from error
    return files


def _own(host: Host) -> str:
    address = own_address(host)
    assert address is not None, "checked when the document was read"
    return address


def _parents(path: str) -> list[str]:
    """The directories on the way to a relative path, the outermost first."""
    parts = path.split("/")[:-1]
    return ["/".join(parts[: count + 1]) for count in range(len(parts))]


def inventory(hosts: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """An inventory as Ansible reads it (YAML's form, which JSON is)."""
    return {"all": {"hosts": {name: dict(values) for name, values in hosts.items()}}}
