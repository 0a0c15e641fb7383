"""Who may do what in the dashboard."""

from __future__ import annotations

from enum import StrEnum


class Role(StrEnum):
    """An operator changes things, a viewer only looks."""

    OPERATOR = "operator"
    VIEWER = "viewer"

    @property
    def may_write(self) -> bool:
        """Whether the role may change anything."""
        return self is Role.OPERATOR
