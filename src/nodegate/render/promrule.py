"""One alerting rule of Prometheus. Pure."""

from __future__ import annotations

from typing import Any, NamedTuple

WARNING = "warning"
CRITICAL = "critical"


class PromRule(NamedTuple):
    """`hold` is how long `expr` must hold; `summary` and `advice` may use Prometheus's templates."""

    alert: str
    expr: str
    severity: str
    hold: str
    summary: str
    advice: str
    group: str = "nodegate"

    def document(self) -> dict[str, Any]:
        """As it stands in a rule file."""
        found: dict[str, Any] = {"alert": self.alert, "expr": self.expr}
        if self.hold != "0m":
            found["for"] = self.hold
        return found | {
            "labels": {"severity": self.severity},
            "annotations": {"summary": self.summary, "description": self.advice},
        }
