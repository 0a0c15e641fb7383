"""All metrics and events of nodegate, by name, in one place.

Labels are bounded: pools and kinds are what the operator declares, all others are words of nodegate's own.
No metric has a node in its labels; the admin API speaks of single nodes.
"""

from __future__ import annotations

from nodegate.telemetry.events import say_pass
from nodegate.telemetry.logs import Event, configure_logging, record
from nodegate.telemetry.metrics import Telemetry

__all__ = ["Event", "Telemetry", "configure_logging", "record", "say_pass"]
