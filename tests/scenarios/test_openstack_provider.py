"""`nodegate openstack provider` as a pool's provider, on a real Nova."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from uuid import uuid4

import pytest

from cloud.client import cloud_of, make_flavor, make_network
from shared import Facts

pytestmark = [pytest.mark.scenario, pytest.mark.timeout(600), pytest.mark.usefixtures("calm_cloud")]


class Provider:
    """The provider's commands as a gateway would call them, for one node."""

    def __init__(self, facts: Facts) -> None:
        self.rc: dict[str, str] = facts["rc"][
            "admin"
        ]  # Nova takes a bound port away by the right of its caller
        self.node = f"main-auto-{uuid4().hex[:6]}"
        with cloud_of(self.rc) as connection:
            network, self.subnet = make_network(connection, f"nodes-{uuid4().hex[:6]}")
            self.network = str(network.name)

    def call(self, action: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "nodegate", "openstack", "provider", action, *arguments]
        given = {
            name: value for name, value in os.environ.items() if not name.startswith(("OS_", "NODEGATE_"))
        }
        environment = (
            given | self.rc | {"NODEGATE_ACTION": action, "NODEGATE_NODE": self.node, "NODEGATE_POOL": "main"}
        )
        return subprocess.run(
            command, capture_output=True, text=True, check=False, env=environment, timeout=400
        )

    def servers(self) -> list[str]:
        with cloud_of(self.rc) as connection:
            return [each.name for each in connection.compute.servers() if each.name == self.node]


@pytest.fixture
def provider(cloud: Facts) -> Provider:
    make_flavor(cloud)
    return Provider(cloud)


def test_a_server_is_started_once_found_again_and_stopped(provider: Provider) -> None:
    arguments = ("--flavor", "baremetal", "--network", provider.network, "--port", "14265")
    first = provider.call("start", *arguments)
    assert first.returncode == 0, first.stderr
    node = json.loads(first.stdout)
    assert node["url"].startswith(f"http://{provider.subnet}.")
    assert node["url"].endswith(":14265")
    again = provider.call("start", *arguments)
    assert (json.loads(again.stdout), provider.servers()) == (node, [provider.node]), "an answer may get lost"

    assert (provider.call("stop").returncode, provider.servers()) == (0, [])
    assert provider.call("stop").returncode == 0, "one that is gone is no error"


def test_what_the_cloud_does_not_have_is_named(provider: Provider) -> None:
    done = provider.call("start", "--flavor", "enormous", "--network", provider.network)
    assert (done.returncode, done.stdout) == (6, "")
    assert "no flavour 'enormous'" in done.stderr
    assert provider.servers() == []


def test_without_a_gateway_it_says_who_calls_it() -> None:
    command = [sys.executable, "-m", "nodegate", "openstack", "provider", "stop"]
    given = {name: value for name, value in os.environ.items() if not name.startswith("NODEGATE_")}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=given, timeout=60)
    assert done.returncode == 3
    assert "NODEGATE_NODE" in done.stderr
