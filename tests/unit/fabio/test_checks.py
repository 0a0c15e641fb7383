"""Which instances count, by Consul's own checks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from fabio_rig import instance
from nodegate.catalog import Check
from nodegate.fabio.checks import standing
from nodegate.settings import FabioSettings


def own(*statuses: str) -> list[Check]:
    return [
        Check(id=f"own-{number}", name=f"own {number}", status=status, service_id="web-1")
        for number, status in enumerate(statuses)
    ]


def serf(status: str = "passing") -> Check:
    return Check(id="serfHealth", name="Serf Health Status", status=status)


@pytest.mark.parametrize(
    ("statuses", "options", "serves"),
    [
        (["passing"], {}, True),
        (["warning"], {}, False),
        (["critical"], {}, False),
        (["unknown"], {}, False),
        (["passing", "critical"], {}, True),
        (["passing", "critical"], {"checks_required": "all"}, False),
        (["passing", "warning"], {"checks_required": "all"}, False),
        (["passing", "passing"], {"checks_required": "all"}, True),
        (["warning"], {"service_status": ("passing", "warning")}, True),
        (["passing", "warning"], {"service_status": ("passing", "warning"), "checks_required": "all"}, True),
        (["warning", "critical"], {"service_status": ("passing", "warning")}, True),
        (
            ["warning", "critical"],
            {"service_status": ("passing", "warning"), "checks_required": "all"},
            False,
        ),
        (["unknown"], {"service_status": ("passing", "unknown")}, True),
        (["critical"], {"service_status": ("critical",)}, True),
    ],
)
def test_one_or_all_checks_and_the_wanted_statuses(
    statuses: Sequence[str], options: dict[str, Any], serves: bool
) -> None:
    found = standing(instance("web", checks=own(*statuses), node_checks=(serf(),)), FabioSettings(**options))
    assert (not found.failing) is serves
    assert not found.maintenance


def test_an_instance_without_a_check_of_its_own_is_told() -> None:
    assert standing(instance("web", checks=(), node_checks=(serf(),)), FabioSettings()).unchecked
    published = (Check(id="_nodegate_verdict:web-1", name="verdict", status="passing", service_id="web-1"),)
    assert standing(instance("web", checks=published), FabioSettings()).unchecked


def test_a_lost_consul_node_takes_its_instances_along() -> None:
    found = standing(instance("web", node_checks=(serf("critical"),)), FabioSettings())
    assert "serfHealth" in found.failing
    assert not standing(instance("web", node_checks=(serf("warning"),)), FabioSettings()).failing


def test_another_check_of_the_consul_node_does_not_count() -> None:
    disk = Check(id="disk", name="disk", status="critical")
    assert not standing(instance("web", node_checks=(serf(), disk)), FabioSettings()).failing


@pytest.mark.parametrize(
    "maintenance",
    [
        {"node_checks": (serf(), Check(id="_node_maintenance", name="m", status="critical"))},
        {"checks": [*own("passing"), Check(id="_service_maintenance:web-1", name="m", status="critical", service_id="web-1")]},
    ],
)  # fmt: skip
def test_maintenance_is_an_operators_word_and_no_failure(maintenance: dict[str, Any]) -> None:
    found = standing(instance("web", **maintenance), FabioSettings())
    assert (found.maintenance, found.failing) == (True, "")


def test_the_reason_names_the_checks() -> None:
    found = standing(instance("web", checks=own("critical", "warning")), FabioSettings())
    assert found.failing == "Consul check 'own 0' is critical; Consul check 'own 1' is warning"
