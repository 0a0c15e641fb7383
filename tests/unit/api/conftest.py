from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest

from daemon_double import TOKEN, DaemonDouble
from nodegate.api.app import create_app


@pytest.fixture
def daemon() -> DaemonDouble:
    return DaemonDouble()


@pytest.fixture
async def anyone(daemon: DaemonDouble) -> AsyncIterator[httpx.AsyncClient]:
    """A caller without a token."""
    transport = httpx.ASGITransport(create_app(daemon.context()), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:9780") as client:
        yield client


@pytest.fixture
async def api(anyone: httpx.AsyncClient) -> httpx.AsyncClient:
    """A caller with the token."""
    anyone.headers["Authorization"] = f"Bearer {TOKEN}"
    return anyone
