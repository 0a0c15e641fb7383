"""Which instances count, by Consul's own checks."""

from __future__ import annotations

from dataclasses import dataclass

from nodegate.catalog import CRITICAL, Check, Instance
from nodegate.settings.fabio import FabioSettings

SERF = "serfHealth"
NODE_MAINTENANCE = "_node_maintenance"
SERVICE_MAINTENANCE = "_service_maintenance:"


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What Consul says of an instance. `failing`: why it must not serve now on health grounds, empty when it
    may. `maintenance`: an operator has taken it out. `unchecked`: it has no check of its own."""

    failing: str = ""
    maintenance: bool = False
    unchecked: bool = False


def standing(instance: Instance, settings: FabioSettings) -> Standing:
    """An instance's standing under the settings' rules: one or all of its own checks must have one of the
    wanted statuses, the Consul node must be alive, and nobody may have asked for maintenance."""
    for check in instance.node_checks:
        if check.id == NODE_MAINTENANCE and check.status == CRITICAL:
            return Standing(maintenance=True)
    if any(
        check.id.startswith(SERVICE_MAINTENANCE) and check.status == CRITICAL for check in instance.checks
    ):
        return Standing(maintenance=True)
    for check in instance.node_checks:
        if check.id == SERF and check.status == CRITICAL:
            return Standing(failing=f"Consul node {instance.node} is lost (serfHealth is critical)")
    own = [check for check in instance.checks if not check.id.startswith("_")]
    if not own:
        return Standing(unchecked=True)
    bad = [check for check in own if check.status not in settings.service_status]
    if not bad or (settings.checks_required == "one" and len(bad) < len(own)):
        return Standing()
    return Standing(failing="; ".join(_words(check) for check in bad))


def _words(check: Check) -> str:
    """One failing check in words. Its output is left out: it changes with every run of the check."""
    name = check.name or check.id
    return f"Consul check {name!r} is {check.status}"
