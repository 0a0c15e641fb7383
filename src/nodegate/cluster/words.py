"""What this gateway's probes saw and others may hear, and what others said. No I/O, no clock.

Another gateway's good word saves an own probe. Its bad word is never taken over: it makes this gateway ask
at once, because the fault may lie between that gateway and the node.
"""

from __future__ import annotations

import ipaddress
import secrets
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from nodegate.cluster import share
from nodegate.cluster.signed import Telling, Word, fingerprint, word_of
from nodegate.model import Failure, Instant, Node, Observation, Reading, Seconds


@dataclass(slots=True)
class _Own:
    """The latest own probe of a node, and how many were left out since."""

    ok: bool
    at: Instant
    skipped: int = 0


class Words:
    """One gateway's words. `living` names the gateways that take part, `max_age` is how old a word may be."""

    def __init__(self, *, me: str, living: Callable[[], Collection[str]], max_age: Seconds) -> None:
        self._me = me
        self._living = living
        self._max_age = max_age
        self._own: dict[str, _Own] = {}
        self._heard: dict[str, Instant] = {}
        self._told: OrderedDict[str, tuple[int, str, Observation]] = OrderedDict()
        self._number = 0
        self._epoch = secrets.token_hex(4)
        self.skipped = 0
        self.others: dict[str, Mapping[str, str]] = {}

    def may_skip(self, node: Node, now: Instant) -> bool:
        """Whether the due probe of the node may be left out; counted as left out then."""
        own = self._own.get(node.id)
        if own is None or not is_shareable(node):
            return False
        words = share.Words(heard_at=self._heard.get(node.id), own_ok=own.ok, skipped=own.skipped)
        if not share.may_skip(node.id, words, now, me=self._me, living=self._living(), max_age=self._max_age):
            return False
        own.skipped += 1
        self.skipped += 1
        return True

    def asked(self, node: Node, observation: Observation) -> None:
        """An own probe of the node is over. The others hear of it when the node is this gateway's to ask."""
        ok = isinstance(observation.outcome, Reading)
        self._own[node.id] = _Own(ok=ok, at=observation.at)
        if is_shareable(node) and share.owner(node.id, {*self._living(), self._me}) == self._me:
            self._number += 1
            self._told[node.id] = (self._number, fingerprint(node), observation)
            self._told.move_to_end(node.id)

    def heard(
        self, words: Iterable[Word], nodes: Mapping[str, Node], now: Instant
    ) -> tuple[list[Observation], list[str]]:
        """What another gateway said: the observations to take over, and the nodes to ask at once.

        Taken over is a good word that is fresh, of the very same node, newer than the own probe, and only while
        the own probe was good.
        """
        taken: list[Observation] = []
        asked: list[str] = []
        for word in words:
            node, own = nodes.get(word.node_id), self._own.get(word.node_id)
            fits = node is not None and is_shareable(node) and fingerprint(node) == word.print
            if not fits or own is None or not own.ok or word.age > self._max_age:
                continue
            observation = word.observation(now)
            if observation.at <= own.at:
                continue
            if isinstance(word.outcome, Failure):
                asked.append(word.node_id)
            elif observation.at > self._heard.get(word.node_id, Instant(0.0)):
                self._heard[word.node_id] = observation.at
                taken.append(observation)
        return taken, asked

    def keep(self, node_ids: Collection[str]) -> None:
        """Forget all other nodes."""
        for known in (self._own, self._heard, self._told):
            for node_id in [name for name in known if name not in node_ids]:
                del known[node_id]

    @property
    def newest(self) -> int:
        """The number of the newest word to tell."""
        return self._number

    def number_in(self, cursor: str) -> int:
        """The number a cursor stands for; 0 for one of another life of this gateway."""
        epoch, _, number = cursor.partition(":")
        return int(number) if epoch == self._epoch and number.isdecimal() else 0

    def telling(self, cursor: str, now: Instant, others: Mapping[str, str] | None) -> Telling:
        """All that was seen since the cursor and is still worth telling."""
        after, words = self.number_in(cursor), []
        for number, print_, observation in reversed(self._told.values()):
            if number <= after:
                break
            if now - observation.at <= self._max_age:
                words.append(word_of(print_, observation, now))
        return Telling(cursor=f"{self._epoch}:{self._number}", words=tuple(reversed(words)), others=others)


def is_shareable(node: Node) -> bool:
    """Whether another gateway's word on the node can count: only where the URL names an IP address. A name may
    resolve to something else there, and what was proven has to be what serves."""
    try:
        ipaddress.ip_address(urlsplit(node.url).hostname or "")
    except ValueError:
        return False
    return True
