from __future__ import annotations

import pytest
from argon2 import PasswordHasher

from nodegate.dashboard import passwords


@pytest.fixture(autouse=True)
def cheap_hashes(monkeypatch: pytest.MonkeyPatch) -> None:
    """The real function with the least work: these tests are not about how long a guess takes."""
    cheap = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
    monkeypatch.setattr(passwords, "_HASHER", cheap)
