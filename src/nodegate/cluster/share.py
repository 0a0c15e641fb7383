"""Who asks which node, when several gateways share the probing. Pure.

Rendezvous hashing: every gateway draws a number for every node from a digest of both names, and the highest
one owns the node. All gateways come to the same answer without a word between them. One that goes moves its
own nodes only, and they spread over all others; one that comes takes its share evenly from everybody.

Owning is a matter of who asks first, never of truth: a gateway asks by itself wherever the owner's word is
missing or old, wherever its own last answer was bad, and every `OWN_EVERY`-th time in any case, because
another gateway's way to a node is not its own.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from dataclasses import dataclass

from nodegate.model import Instant, Seconds

OWN_EVERY = 5
"""One in so many probes of a node is made by every gateway. With three gateways a node is then asked 1.4 times
per interval instead of three times, and a broken path of one gateway is seen after five intervals at most."""


def owner(node_id: str, gateways: Collection[str]) -> str | None:
    """The gateway that asks the node; None when there is none. The order of `gateways` does not matter."""
    return max(gateways, key=lambda gateway: (_draw(gateway, node_id), gateway), default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """What is known of one node when a probe of it is due.

    `heard_at` is when another gateway's good answer was got, None if there is none; `own_ok` is what the latest
    own probe said, None if there was none; `skipped` counts the own probes left out since then.
    """

    heard_at: Instant | None = None
    own_ok: bool | None = None
    skipped: int = 0


def may_skip(
    node_id: str, words: Words, now: Instant, *, me: str, living: Collection[str], max_age: Seconds
) -> bool:
    """Whether this gateway may leave the due probe of the node to its owner.

    Only while another living gateway owns it, its good word is at most `max_age` old, and the latest own probe,
    which there must have been, was good too.
    """
    if words.own_ok is not True or words.heard_at is None or words.skipped >= OWN_EVERY - 1:
        return False
    return now - words.heard_at <= max_age and owner(node_id, {*living, me}) != me


def _draw(gateway: str, node_id: str) -> bytes:
    return hashlib.blake2b(f"{gateway}\0{node_id}".encode(), digest_size=8).digest()
