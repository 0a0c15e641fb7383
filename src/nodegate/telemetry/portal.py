"""Metrics of the registration page."""

from __future__ import annotations

from collections.abc import Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge


class PortalMetrics:
    """Registrations and mails. Without a portal nothing is ever counted, and no sample is exported."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registrations = Gauge(
            "nodegate_registrations", "Registrations of nodes by state.", ("state",), registry=registry
        )
        self._mails = Counter(
            "nodegate_portal_mails",
            "Tries to send a mail of the registration page, by outcome.",
            ("outcome",),
            registry=registry,
        )
        self._waiting = Gauge(
            "nodegate_portal_mails_waiting",
            "Mails of the registration page that the mail server has not taken yet.",
            registry=registry,
        )

    def counted(self, states: Mapping[str, int], waiting: int) -> None:
        """So many registrations there are by state, and so many mails wait."""
        self._registrations.clear()
        for state, count in states.items():
            self._registrations.labels(state).set(count)
        self._waiting.set(waiting)

    def mailed(self, outcome: str) -> None:
        """A mail was `sent`, `put off` or `given up`."""
        self._mails.labels(outcome).inc()
