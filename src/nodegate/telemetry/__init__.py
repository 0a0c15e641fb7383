"""All metrics and events of nodegate, by name, in one place.

Labels are bounded: pools and kinds are what the operator declares, methods what policies name, all others are
words of nodegate's own. No metric has a node or a client in its labels; the admin API speaks of single ones.
"""

from __future__ import annotations

from nodegate.telemetry.events import say_pass
from nodegate.telemetry.firewall import Names
from nodegate.telemetry.logs import Event, configure_logging, record
from nodegate.telemetry.metrics import Telemetry

__all__ = ["Event", "Names", "Telemetry", "configure_logging", "record", "say_pass"]
