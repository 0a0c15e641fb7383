"""`nodegate openstack macs` on real libvirt: its test driver, and a running domain of a real libvirtd."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("libvirt", reason='needs libvirt-python: pip install "nodegate[openstack]"')
pytestmark = pytest.mark.scenario

FARM = """<node>
  <network><name>brbm</name><forward mode='bridge'/><bridge name='brbm'/><virtualport type='openvswitch'/></network>
  <domain type='test'><name>baremetalbrbm_10</name><memory>2097152</memory><vcpu>1</vcpu><os><type>hvm</type></os><devices>
    <interface type='bridge'><mac address='52:54:00:AA:01:01'/><source bridge='brbm'/><virtualport type='openvswitch'/></interface>
  </devices></domain>
  <domain type='test'><name>baremetalbrbm_2</name><memory>1048576</memory><vcpu>2</vcpu><os><type>hvm</type></os><devices>
    <interface type='network'><mac address='52:54:00:aa:00:02'/><source network='default'/></interface>
    <interface type='network'><mac address='52:54:00:aa:00:01'/><source network='brbm'/></interface></devices></domain>
  <domain type='test'><name>baremetalbrbm_3</name><memory>1048576</memory><vcpu>1</vcpu><os><type>hvm</type></os><devices>
    <interface type='network'><mac address='52:54:00:aa:03:01'/><source network='default'/></interface></devices></domain>
  <domain type='test'><name>undercloud</name><memory>1048576</memory><vcpu>1</vcpu><os><type>hvm</type></os><devices>
    <interface type='network'><mac address='52:54:00:aa:04:01'/><source network='brbm'/></interface></devices></domain>
</node>"""


def macs(*arguments: str, uri: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "nodegate", "openstack", "macs", "--connect", uri, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


@pytest.fixture
def farm(tmp_path: Path) -> str:
    path = tmp_path / "farm.xml"
    path.write_text(FARM)
    return f"test://{path}"


def test_the_addresses_come_in_natural_order_from_that_network_only(farm: str) -> None:
    done = macs(uri=farm)
    assert (done.returncode, done.stdout) == (0, "52:54:00:aa:00:01\n52:54:00:aa:01:01\n")


def test_other_domains_and_networks_can_be_named(farm: str) -> None:
    assert macs("--match", "under*", uri=farm).stdout == "52:54:00:aa:04:01\n"
    assert macs("--network", "default", uri=farm).stdout == "52:54:00:aa:00:02\n52:54:00:aa:03:01\n"


@pytest.mark.parametrize("form", ["json", "ironic", "instackenv"])
def test_other_tools_get_their_formats(farm: str, form: str) -> None:
    document = json.loads(macs("--format", form, uri=farm).stdout)
    (machines,) = document.values()
    assert [machine["name"].replace("_", "-") for machine in machines] == [
        "baremetalbrbm-2",
        "baremetalbrbm-10",
    ]


def test_no_machine_is_exit_code_1_with_a_message(farm: str) -> None:
    done = macs("--match", "nothing*", uri=farm)
    assert (done.returncode, done.stdout) == (1, "")
    assert f"no domain at {farm} matches 'nothing*' and has an interface on 'brbm'" in done.stderr


def test_a_hypervisor_that_is_not_there_is_named_once(tmp_path: Path) -> None:
    uri = f"qemu+unix:///system?socket={tmp_path}/none"
    done = macs(uri=uri)
    assert done.returncode == 4
    assert done.stderr.count("Failed to connect socket") == 1
    assert uri in done.stderr


INSIDE = """
set -eu
for folder in /run/libvirt /etc/libvirt /var/lib/libvirt /var/log/libvirt; do mkdir -p $folder; mount -t tmpfs t $folder; done
mkdir -p /etc/libvirt/qemu/networks
printf 'auth_unix_ro="none"\\nauth_unix_rw="none"\\n' > /etc/libvirt/libvirtd.conf
printf 'user="root"\\ngroup="root"\\nsecurity_driver="none"\\nnamespaces=[]\\ncgroup_controllers=[]\\nremember_owner=0\\nstdio_handler="file"\\n' > /etc/libvirt/qemu.conf
mkdir "$1/dev"  # a /dev without kvm: root's libvirtd probes nested KVM for most of a minute
for name in null zero random urandom tty; do touch "$1/dev/$name"; mount --bind /dev/$name "$1/dev/$name"; done
if [ -e /dev/net ]; then mkdir "$1/dev/net"; mount --rbind /dev/net "$1/dev/net"; fi
mkdir "$1/dev/shm" "$1/dev/pts"; mount -t devpts -o newinstance,ptmxmode=666 d "$1/dev/pts"
ln -s pts/ptmx "$1/dev/ptmx"; ln -s /proc/self/fd "$1/dev/fd"; mount --rbind "$1/dev" /dev
ip link set lo up; ip link add brbm type bridge; ip link set brbm up
libvirtd --config /etc/libvirt/libvirtd.conf --pid-file /run/libvirt/pid 2> "$1/libvirtd.log" &
trap 'virsh destroy baremetalbrbm_0 || true; kill $(cat /run/libvirt/pid)' EXIT
exec 3>&1 > "$1/virsh.log" 2>&1
until virsh -c qemu:///system version; do sleep .1; done
virsh net-define "$1/network.xml"; virsh net-start brbm
virsh define "$1/domain.xml"
sed -e s/_0/_1/ -e s/00:01/00:02/ "$1/domain.xml" > "$1/second.xml"; virsh define "$1/second.xml"
virsh start baremetalbrbm_0
"$2" -m nodegate openstack macs --format json >&3
"""
NETWORK = "<network><name>brbm</name><forward mode='bridge'/><bridge name='brbm'/></network>"
DOMAIN = """<domain type='qemu'><name>baremetalbrbm_0</name><memory unit='MiB'>64</memory><vcpu>1</vcpu>
  <os><type arch='x86_64' machine='pc'>hvm</type></os><devices><emulator>/usr/bin/qemu-system-x86_64</emulator>
  <disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='{disk}'/><target dev='vda'/></disk>
  <interface type='network'><mac address='52:54:00:bb:00:01'/><source network='brbm'/><model type='virtio'/></interface>
  </devices></domain>"""


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root for namespaces")
@pytest.mark.skipif(
    not all(map(shutil.which, ("libvirtd", "virsh", "qemu-system-x86_64", "unshare", "ip"))),
    reason="needs the packages libvirt-daemon-system libvirt-clients qemu-system-x86 iproute2",
)
def test_a_running_machine_on_a_real_bridge_is_found_and_a_stopped_one_too(tmp_path: Path) -> None:
    disk = tmp_path / "disk.raw"
    with disk.open("wb") as file:
        file.truncate(3 << 30)
    (tmp_path / "network.xml").write_text(NETWORK)
    (tmp_path / "domain.xml").write_text(DOMAIN.format(disk=disk))
    command = ["unshare", "-n", "-m", "bash", "-c", INSIDE, "inside", str(tmp_path), sys.executable]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    logs = "".join(path.read_text() for path in tmp_path.glob("*.log"))
    assert done.returncode == 0, done.stderr + logs
    machines = json.loads(done.stdout)["machines"]
    assert [(each["name"], each["running"], each["macs"], each["disk_gib"]) for each in machines] == [
        ("baremetalbrbm_0", True, ["52:54:00:bb:00:01"], 3),
        ("baremetalbrbm_1", False, ["52:54:00:bb:00:02"], 3),
    ]
