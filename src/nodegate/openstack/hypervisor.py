"""What libvirt knows of the machines, read only."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from fnmatch import fnmatchcase
from typing import Any

from nodegate.errors import Refused, Unavailable
from nodegate.openstack.domains import Machine, arch_of, disks_of, interfaces_of, on_network
from nodegate.openstack.names import natural

INSTALL = 'this command needs libvirt-python: pip install "nodegate[openstack]" (Debian: apt install libvirt-dev pkg-config gcc python3-dev first)'
GIB = 1 << 30


def machines_on(uri: str, network: str, match: str) -> tuple[Machine, ...]:
    """The domains at `uri` whose name fits the shell pattern `match`, running or not, in natural order of name,
    each with its MAC addresses on `network` (a network's or a bridge's name); those without one are left out.

    Raises Unavailable when libvirt-python is missing or the hypervisor does not answer, Refused when it does not
    let us in.
    """
    try:
        import libvirt
    except ImportError as error:
        raise Unavailable(INSTALL) from error
    libvirt.registerErrorHandler(_quiet, None)  # it prints to standard error by itself otherwise
    with _connected(libvirt, uri) as connection:
        try:
            bridges = _bridges(libvirt, connection)
            domains = [each for each in connection.listAllDomains() if fnmatchcase(each.name(), match)]
            found = [_machine(libvirt, domain, network, bridges) for domain in domains]
        except libvirt.libvirtError as error:
            raise Unavailable(f"{uri}: {error}") from error
    return tuple(sorted((each for each in found if each.macs), key=lambda each: natural(each.name)))


def _quiet(_: object, __: object) -> None:
    """Errors are raised; that is enough."""


@contextmanager
def _connected(libvirt: Any, uri: str) -> Iterator[Any]:
    try:
        connection = libvirt.openReadOnly(uri)
    except libvirt.libvirtError as error:
        denied = error.get_error_code() in {libvirt.VIR_ERR_AUTH_FAILED, libvirt.VIR_ERR_AUTH_CANCELLED}
        refused = denied or "Permission denied" in str(error)
        raise (Refused if refused else Unavailable)(f"{uri}: {error}") from error
    try:
        yield connection
    finally:
        with suppress(libvirt.libvirtError):
            connection.close()


def _bridges(libvirt: Any, connection: Any) -> dict[str, str]:
    """The bridge of each network that has one; none where the hypervisor has no networks at all."""
    bridges = {}
    try:
        networks = connection.listAllNetworks()
    except libvirt.libvirtError as error:
        if error.get_error_code() == libvirt.VIR_ERR_NO_SUPPORT:
            return {}
        raise
    for network in networks:
        with suppress(libvirt.libvirtError):  # a network without a bridge says so by an error
            bridges[network.name()] = network.bridgeName()
    return bridges


def _machine(libvirt: Any, domain: Any, network: str, bridges: dict[str, str]) -> Machine:
    name = domain.name()
    xml = domain.XMLDesc(0)
    info = domain.info()
    macs = [each.mac for each in interfaces_of(xml, name) if on_network(each, network, bridges)]
    return Machine(
        name=name,
        uuid=domain.UUIDString(),
        running=bool(domain.isActive()),
        arch=arch_of(xml, name),
        cpus=info[3],
        memory_mib=info[1] // 1024,
        disk_gib=_disk(libvirt, domain, disks_of(xml, name)),
        macs=tuple(dict.fromkeys(macs)),
    )


def _disk(libvirt: Any, domain: Any, targets: tuple[str, ...]) -> int | None:
    """The size of the first disk in GiB. A disk that cannot be read (not made yet, another pool) has none."""
    for target in targets[:1]:
        with suppress(libvirt.libvirtError):
            return int(domain.blockInfo(target)[0]) // GIB
    return None
