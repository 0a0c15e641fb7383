"""`nodegate openstack purge` on a real Neutron with several projects."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from cloud.client import cloud_of
from cloud.tenant import Size, fill, outside
from shared import Facts
from support import until_sync

pytestmark = [pytest.mark.scenario, pytest.mark.timeout(900), pytest.mark.usefixtures("calm_cloud")]

GROUPS = 40
"""So many that a purge of them, one by one, can be interrupted."""


class Tenant:
    """A project of the test's own, with a user of its own in it."""

    def __init__(self, facts: Facts) -> None:
        name = f"tenant-{uuid4().hex[:6]}"
        with cloud_of(facts["rc"]["admin"]) as admin:
            self.project = admin.identity.create_project(name=name, domain_id="default")
            user = admin.identity.create_user(
                name=name, password="secret", default_project_id=self.project.id
            )
            admin.identity.assign_project_role_to_user(
                self.project.id, user.id, admin.identity.find_role("member").id
            )
        self.facts = facts | {
            "rc": facts["rc"] | {name: facts["rc"]["demo"] | {"OS_USERNAME": name, "OS_PROJECT_NAME": name}}
        }
        self.name = name
        self.rc: dict[str, str] = self.facts["rc"][name]

    def fill(self, size: Size) -> None:
        fill(self.facts, self.name, size)

    def purge(
        self, *arguments: str, state: Path, rc: dict[str, str] | None = None, said: str = ""
    ) -> subprocess.CompletedProcess[str]:
        return purge(*arguments, state=state, rc=self.rc if rc is None else rc, said=said)

    def left(self) -> Counter[str]:
        """What the project still has, counted by Neutron itself."""
        with cloud_of(self.facts["rc"]["admin"]) as admin:
            network = admin.network
            found: Counter[str] = Counter()
            for name in (
                "ips",
                "trunks",
                "routers",
                "ports",
                "networks",
                "subnets",
                "subnet_pools",
                "address_scopes",
                "address_groups",
                "qos_policies",
            ):
                found[name] = sum(each.project_id == self.project.id for each in getattr(network, name)())
            groups = network.security_groups(project_id=self.project.id)
            found["groups"] = sum(each.name != "default" for each in groups)
        return +found


def purge(
    *arguments: str, state: Path, rc: dict[str, str], said: str = ""
) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "nodegate", "openstack", "purge", *arguments]
    environment = clean_environment() | rc | {"XDG_STATE_HOME": str(state)}
    return subprocess.run(
        command, input=said, capture_output=True, text=True, check=False, env=environment, timeout=600
    )


def clean_environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("OS_")}


@pytest.fixture
def tenant(cloud: Facts) -> Tenant:
    return Tenant(cloud)


def document(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    assert done.stdout, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_a_full_tenant_is_swept_and_nothing_of_anybody_else(
    cloud: Facts, tenant: Tenant, tmp_path: Path
) -> None:
    other = Tenant(cloud)
    with cloud_of(other.rc) as connection:
        connection.network.create_router(name="others-router")
    tenant.fill(Size())

    shown = document(tenant.purge("--dry-run", "--json", state=tmp_path))
    assert shown["counts"] == {
        "port-forwarding": 1, "floating-ip": 3, "trunk": 1, "route": 2, "router-interface": 2, "router": 2, "port": 9,
        "subnet": 4, "network": 4, "rbac-policy": 1, "security-group": 3, "subnet-pool": 1, "address-scope": 1,
        "address-group": 1,
    }  # fmt: skip
    assert tenant.left()["networks"] == 4, "a dry run deletes nothing"

    wrong = tenant.purge(state=tmp_path, said="another-project\n")
    assert (wrong.returncode, tenant.left()["networks"]) == (5, 4), "the wrong name deletes nothing"

    # The administrator sees everybody's things, and must still take this project's only.
    admin = cloud["rc"]["admin"]
    done = document(tenant.purge("--project", tenant.name, "--yes", "--json", state=tmp_path, rc=admin))
    assert Counter(each["outcome"] for each in done["results"]) == {"deleted": 35}
    assert tenant.left() == {}
    assert other.left() == {"routers": 1}
    with cloud_of(admin) as connection:
        assert {connection.network.find_network(name).id for name in ("outside", "common")} == set(
            outside(cloud).values()
        )


def test_exactly_what_was_reviewed_goes_even_after_an_interruption(tenant: Tenant, tmp_path: Path) -> None:
    tenant.fill(Size(networks=2, ports=4, routers=1, floating_ips=1, trunks=0, groups=2))
    shown = document(tenant.purge("--dry-run", "--json", state=tmp_path))
    with cloud_of(tenant.rc) as connection:
        newcomer = connection.network.create_network(name="newcomer")
        first = next(each for each in shown["layers"][0] if each["kind"] == "port")
        connection.network.delete_port(first["id"])  # somebody was faster

    done = tenant.purge("--apply", shown["digest"], "--json", state=tmp_path)
    results = document(done)["results"]
    assert done.returncode == 0, results
    assert tenant.left() == {"networks": 1}
    again = tenant.purge("--apply", shown["digest"], "--json", state=tmp_path)
    assert (again.returncode, document(again)["results"]) == (0, [])
    with cloud_of(tenant.rc) as connection:
        assert connection.network.get_network(newcomer.id).name == "newcomer"
    unknown = tenant.purge("--apply", "0123456789abcdef", state=tmp_path)
    assert (unknown.returncode, "no plan '0123456789abcdef' was made here" in unknown.stderr) == (6, True)


def test_what_the_cloud_does_not_let_go_is_named_with_its_reason(
    cloud: Facts, tenant: Tenant, tmp_path: Path
) -> None:
    """Another project's port on a network of ours: Neutron refuses to delete the network."""
    with cloud_of(tenant.rc) as connection:
        network = connection.network.create_network(name="busy")
        connection.network.create_subnet(
            network_id=network.id, name="busy", ip_version=4, cidr="10.50.0.0/24"
        )
    other = Tenant(cloud)
    with cloud_of(cloud["rc"]["admin"]) as admin:
        port = admin.network.create_port(network_id=network.id, project_id=other.project.id)
    done = tenant.purge("--yes", "--json", state=tmp_path)
    stayed = {each["kind"]: each["why"] for each in document(done)["results"] if each["outcome"] == "stayed"}
    assert done.returncode == 1
    assert "There are one or more ports still in use on the network" in stayed["network"]
    assert stayed["subnet"] == "network busy stays"

    with cloud_of(cloud["rc"]["admin"]) as admin:
        admin.network.delete_port(port)
    assert tenant.purge("--yes", state=tmp_path).returncode == 0
    assert tenant.left() == {}


def test_kept_protected_and_young_things_stay(tenant: Tenant, tmp_path: Path) -> None:
    with cloud_of(tenant.rc) as connection:
        kept = connection.network.create_network(name="keep-me")
        connection.network.create_subnet(network_id=kept.id, name="kept", ip_version=4, cidr="10.51.0.0/24")
        protected = connection.network.create_network(name="treasure")
        connection.network.set_tags(protected, ["Protected"])
        connection.network.create_network(name="rubbish")
    assert tenant.purge("--older-than", "1d", "--yes", state=tmp_path).returncode == 0
    assert tenant.left() == {"networks": 3, "subnets": 1}
    done = tenant.purge("--keep", "keep-*", "--yes", state=tmp_path)
    assert done.returncode == 0
    assert "protected by the tag 'protected'" in done.stdout
    assert tenant.left() == {"networks": 2, "subnets": 1}
    assert tenant.purge("--include", "treasure", "--yes", state=tmp_path).returncode == 0
    assert tenant.left() == {}


@pytest.mark.alone_in_cloud
def test_a_cloud_that_stops_half_way_is_said_and_a_second_run_completes(
    cloud: Facts, tenant: Tenant, tmp_path: Path
) -> None:
    with cloud_of(tenant.rc) as connection, ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda n: connection.network.create_security_group(name=f"g{n}"), range(GROUPS)))
    command = [sys.executable, "-m", "nodegate", "openstack", "purge", "--yes", "--json", "--parallel", "1"]
    environment = clean_environment() | tenant.rc | {"XDG_STATE_HOME": str(tmp_path)}
    with cloud_of(tenant.rc) as connection:
        before = len(list(connection.network.security_groups()))
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
        )
        # One short question each time: a look at all that is left takes as long as the rest of the purge.
        until_sync(
            lambda: len(list(connection.network.security_groups())) < before,
            within=300,
            what="the purge has begun",
        )
        process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=120)
    left = tenant.left()["groups"]
    assert process.returncode == 1, err
    results = json.loads(out)["results"]
    assert sum(each["why"] == "stopped before its turn" for each in results) == left > 0

    os.killpg(cloud["neutron_pid"], signal.SIGSTOP)
    try:
        dead = tenant.purge("--yes", state=tmp_path, rc=tenant.rc | {"OS_API_TIMEOUT": "3"})
    finally:
        os.killpg(cloud["neutron_pid"], signal.SIGCONT)
    assert dead.returncode == 4
    assert "does not answer" in dead.stderr
    assert tenant.purge("--yes", state=tmp_path).returncode == 0
    assert tenant.left() == {}


@pytest.mark.parametrize(
    ("user", "arguments", "code", "said"),
    [
        ("admin", ("--project", "nobody"), 6, "no project 'nobody'"),
        ("demo", ("--project", "other"), 5, "these credentials may not do that"),
        ("demo", ("--older-than", "soon"), 3, "'soon' is no span of time"),
    ],
)
def test_a_wrong_question_is_answered_clearly(
    cloud: Facts, tmp_path: Path, user: str, arguments: tuple[str, ...], code: int, said: str
) -> None:
    done = purge(*arguments, "--yes", state=tmp_path, rc=cloud["rc"][user])
    assert (done.returncode, said in done.stderr) == (code, True), done.stderr
