"""nodegate.toml and NODEGATE_* as typed settings.

Unknown keys are faults, and so is what contradicts itself: a document that loads is one that runs.
"""

from __future__ import annotations

from nodegate.settings.alerts import AlertsSettings, ChannelSettings, RuleSettings
from nodegate.settings.base import Section
from nodegate.settings.checks import NAME, Name, Scalar, Url, checked_url
from nodegate.settings.cluster import ClusterSettings
from nodegate.settings.dashboard import DashboardSettings
from nodegate.settings.fabio import AuthScheme, FabioSettings
from nodegate.settings.faults import file_faults
from nodegate.settings.load import load_settings
from nodegate.settings.mail import MailSettings
from nodegate.settings.portal import PortalSettings
from nodegate.settings.registry import RegistrySettings
from nodegate.settings.scaling import ScalingSettings
from nodegate.settings.sections import (
    GatewaySettings,
    HealthSettings,
    NodeSettings,
    PoolSettings,
    ProbeSettings,
    SafetySettings,
    Settings,
    default_id,
    routes_of,
)

__all__ = [
    "NAME",
    "AlertsSettings",
    "AuthScheme",
    "ChannelSettings",
    "ClusterSettings",
    "DashboardSettings",
    "FabioSettings",
    "GatewaySettings",
    "HealthSettings",
    "MailSettings",
    "Name",
    "NodeSettings",
    "PoolSettings",
    "PortalSettings",
    "ProbeSettings",
    "RegistrySettings",
    "RuleSettings",
    "SafetySettings",
    "Scalar",
    "ScalingSettings",
    "Section",
    "Settings",
    "Url",
    "checked_url",
    "default_id",
    "file_faults",
    "load_settings",
    "routes_of",
]
