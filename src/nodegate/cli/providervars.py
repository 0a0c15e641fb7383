"""What a gateway tells a provider command of the node that it wants, by the contract of docs/scaling.md."""

from __future__ import annotations

import os

from nodegate.errors import BadDocument, Fault


def variable(name: str) -> str:
    """An environment variable that the gateway sets. Raises BadDocument when it is missing or empty."""
    value = os.environ.get(name, "")
    if not value:
        message = "is not set: this command is called by a gateway, see docs/scaling.md"
        raise BadDocument([Fault(file=name, line=None, key="", message=message)])
    return value
