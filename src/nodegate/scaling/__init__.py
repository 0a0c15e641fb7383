"""How many nodes a pool should have, and what to do about it: decisions only, the daemon carries them out.

- **facts**: the pool as the latest pass saw it.
- **ledger**: the nodes that nodegate itself started, and when it last acted; kept on disk.
- **decision**: start one, drain one, stop one, or nothing, with the reason in words.
"""

from __future__ import annotations

from nodegate.scaling.contract import (
    LIMIT,
    Started,
    environment,
    request_document,
    started_from,
    stdin_of,
)
from nodegate.scaling.decide import decide, marked, wait_after, wanted
from nodegate.scaling.ledger import is_own, new_ledger, own_id, read_ledgers, settle, write_ledgers
from nodegate.scaling.load import Meter
from nodegate.scaling.values import Action, Decision, Facts, Ledger, Member, Own, Phase, PoolScaling

__all__ = [
    "LIMIT",
    "Action",
    "Decision",
    "Facts",
    "Ledger",
    "Member",
    "Meter",
    "Own",
    "Phase",
    "PoolScaling",
    "Started",
    "decide",
    "environment",
    "is_own",
    "marked",
    "new_ledger",
    "own_id",
    "read_ledgers",
    "request_document",
    "settle",
    "started_from",
    "stdin_of",
    "wait_after",
    "wanted",
    "write_ledgers",
]
