"""nodegate.toml and NODEGATE_* as typed settings.

Unknown keys are faults, and so is what contradicts itself: a document that loads is one that runs.
"""

from __future__ import annotations

from nodegate.settings.checks import NAME, Name, Scalar, Url, checked_url
from nodegate.settings.faults import file_faults
from nodegate.settings.load import load_settings
from nodegate.settings.sections import (
    GatewaySettings,
    HealthSettings,
    NodeSettings,
    PoolSettings,
    ProbeSettings,
    SafetySettings,
    Section,
    Settings,
    default_id,
    routes_of,
)

__all__ = [
    "NAME",
    "GatewaySettings",
    "HealthSettings",
    "Name",
    "NodeSettings",
    "PoolSettings",
    "ProbeSettings",
    "SafetySettings",
    "Scalar",
    "Section",
    "Settings",
    "Url",
    "checked_url",
    "default_id",
    "file_faults",
    "load_settings",
    "routes_of",
]
