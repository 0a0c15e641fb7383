"""`nodegate openstack hosts` on a real Nova, and on a real Ironic where there is no Nova."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from uuid import uuid4

import pytest

from cloud.client import make_servers
from shared import Facts
from support import until_sync

pytestmark = [pytest.mark.scenario, pytest.mark.timeout(600), pytest.mark.usefixtures("calm_cloud")]

SERVERS = {
    "overcloud-controller-0": 10,
    "overcloud-controller-1": 11,
    "overcloud-novacompute-0": 20,
    "overcloud-novacompute-10": 30,
    "overcloud-ceph-storage-0": 40,
}
OWN = "127.0.0.1\tlocalhost\n# by hand\n192.0.2.7  printer\n"


class Undercloud:
    """A network with servers on it, in a project of the cloud."""

    def __init__(self, facts: Facts) -> None:
        self.rc = facts["rc"]["demo"]
        self.network = f"ctlplane-{uuid4().hex[:6]}"
        self.subnet = make_servers(facts, "demo", self.network, SERVERS)

    def hosts(
        self, *arguments: str, environment: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        command = [
            sys.executable,
            "-m",
            "nodegate",
            "openstack",
            "hosts",
            "--network",
            self.network,
            *arguments,
        ]
        env = clean_environment() | (self.rc if environment is None else environment)
        return subprocess.run(command, capture_output=True, text=True, check=False, env=env, timeout=120)


def clean_environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("OS_")}


@pytest.fixture(scope="module")
def undercloud(cloud: Facts) -> Undercloud:
    return Undercloud(cloud)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "hosts"
    path.write_text(OWN)
    return path


def test_the_servers_get_short_names_and_a_second_run_changes_nothing(
    undercloud: Undercloud, file: Path
) -> None:
    shown = undercloud.hosts("--file", str(file), "--diff")
    assert (shown.returncode, file.read_text()) == (1, OWN)
    assert f"+{undercloud.subnet}.30 compute10 overcloud-novacompute-10" in shown.stdout

    first = undercloud.hosts("--file", str(file))
    assert first.returncode == 0, first.stderr
    text = file.read_text()
    assert text.startswith(OWN)
    lines = [line for line in text.removeprefix(OWN).splitlines() if not line.startswith("#")]
    assert [line.split()[:2] for line in lines] == [
        [f"{undercloud.subnet}.40", "cephstorage0"],
        [f"{undercloud.subnet}.20", "compute0"],
        [f"{undercloud.subnet}.30", "compute10"],
        [f"{undercloud.subnet}.10", "controller0"],
        [f"{undercloud.subnet}.11", "controller1"],
    ]

    before = file.stat()
    second = undercloud.hosts("--file", str(file))
    assert (second.returncode, file.stat().st_ino, file.stat().st_mtime_ns) == (
        0,
        before.st_ino,
        before.st_mtime_ns,
    )
    assert undercloud.hosts("--file", str(file), "--check").returncode == 0

    gone = undercloud.hosts("--file", str(file), "--remove", environment={})
    assert (gone.returncode, file.read_text()) == (0, OWN)


def test_a_rule_of_ones_own_and_the_block_alone(undercloud: Undercloud) -> None:
    done = undercloud.hosts("--file", "-", "--block", "mine", "--rename", r"s/^overcloud-(\w+)-(\d+)$/\2.\1/")
    assert done.returncode == 0
    assert done.stdout.splitlines()[0].endswith(" mine")
    assert "0.novacompute" in done.stdout
    assert " overcloud-ceph-storage-0" in done.stdout, "a name that the rule does not match stays"


def test_a_name_of_the_operators_own_is_not_taken_over(undercloud: Undercloud, file: Path) -> None:
    file.write_text(OWN + "192.0.2.9 controller0\n")
    done = undercloud.hosts("--file", str(file))
    assert done.returncode == 7
    assert "'controller0' already stands in the file with 192.0.2.9" in done.stderr
    assert f"{undercloud.subnet}.10 overcloud-controller-0\n" in file.read_text()
    assert "192.0.2.9 controller0\n" in file.read_text()


@pytest.mark.parametrize(
    ("environment", "code", "said"),
    [
        ({}, 5, "no credentials"),
        ({"OS_PASSWORD": "wrong"}, 5, "does not accept these credentials"),
        ({"OS_AUTH_URL": "http://127.0.0.1:9"}, 4, "does not answer"),
        ({"OS_CLOUD": "nowhere"}, 6, "cloud 'nowhere'"),
    ],
)
def test_without_a_cloud_the_file_stays_as_it_is(
    undercloud: Undercloud, file: Path, environment: dict[str, str], code: int, said: str
) -> None:
    wrong = undercloud.rc | environment if environment else {}
    done = undercloud.hosts("--file", str(file), environment=wrong)
    assert (done.returncode, file.read_text()) == (code, OWN), done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_a_network_that_is_not_there_leaves_the_block_as_it_is(undercloud: Undercloud, file: Path) -> None:
    assert undercloud.hosts("--file", str(file)).returncode == 0
    before = file.read_text()
    done = undercloud.hosts("--file", str(file), "--network", "elsewhere")
    assert (done.returncode, file.read_text()) == (9, before)
    assert "no address on network 'elsewhere'" in done.stderr


@pytest.mark.alone_in_cloud
def test_nova_that_fails_half_way_leaves_the_file_and_the_next_run_completes(
    cloud: Facts, undercloud: Undercloud, file: Path
) -> None:
    os.killpg(cloud["nova_pid"], signal.SIGSTOP)
    try:
        watch = subprocess.Popen(
            [
                sys.executable, "-m", "nodegate", "openstack", "hosts", "--network", undercloud.network,
                "--file", str(file), "--watch", "1",
            ],
            env=clean_environment() | undercloud.rc | {"OS_API_TIMEOUT": "10"}, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert watch.stderr is not None
        assert "keeping" in watch.stderr.readline()
        assert "does not answer" in watch.stderr.readline()
        assert file.read_text() == OWN
    finally:
        os.killpg(cloud["nova_pid"], signal.SIGCONT)
    try:
        until_sync(lambda: "compute10" in file.read_text(), within=120, what="the watch has caught up")
    finally:
        watch.terminate()
        watch.wait(10)
        watch.stderr.close()


def test_the_resolver_finds_the_names_in_a_mounted_hosts_file(undercloud: Undercloud, file: Path) -> None:
    script = 'mount --bind "$1" /etc/hosts && "$2" -m nodegate openstack hosts --network "$3" && getent hosts compute10'
    done = subprocess.run(
        ["unshare", "-m", "bash", "-c", script, "inside", str(file), sys.executable, undercloud.network],
        capture_output=True, text=True, check=False, env=clean_environment() | undercloud.rc, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[:2] == [f"{undercloud.subnet}.30", "compute10"]


def test_where_there_is_no_nova_ironic_knows_the_machines(cloud: Facts, file: Path) -> None:
    from cloud.ironic import Ironic

    with Ironic(cloud) as ironic:
        network, subnet = ironic.deploy({"overcloud-controller-0": 10, "overcloud-novacompute-2": 22}, idle=1)
        done = subprocess.run(
            [sys.executable, "-m", "nodegate", "openstack", "hosts", "--network", network, "--file", str(file)],
            capture_output=True, text=True, check=False, env=clean_environment() | ironic.rc, timeout=120,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert f"{subnet}.10 controller0 overcloud-controller-0\n" in file.read_text()
        assert f"{subnet}.22 compute2 overcloud-novacompute-2\n" in file.read_text()
        assert "2 lines written" in done.stderr
