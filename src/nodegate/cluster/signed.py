"""Words between gateways: as JSON, and signed with the cluster's secret. Pure.

A question carries a time, so that it cannot be asked again later, and a number that nobody used before; the answer
is signed together with that number, so that no older answer can be given to a newer question. The words are no
secret, only their truth matters: they decide where requests go.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from nodegate.errors import Malformed
from nodegate.model import Failure, FailureKind, Instant, Node, Observation, Reading, Seconds

TIME = "X-Nodegate-Time"
NONCE = "X-Nodegate-Nonce"
SIGNATURE = "X-Nodegate-Signature"
SKEW = Seconds(60.0)
"""Seconds that the clocks of two gateways may differ."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Word:
    """What another gateway's probe saw of one node, `age` seconds before it was told. `print` is the digest of
    the node's record as that gateway has it: the same id may stand for another URL there."""

    node_id: str
    print: str
    age: Seconds
    outcome: Reading | Failure
    duration: Seconds
    latency: Seconds | None
    address: str | None

    def observation(self, now: Instant) -> Observation:
        """The word as an observation by this gateway's clock."""
        return Observation(
            node_id=self.node_id, at=Instant(now - self.age), duration=self.duration, outcome=self.outcome,
            latency=self.latency, address=self.address,
        )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Telling:
    """One answer: `cursor` is where to go on, `others` the nodes that are not up there, by id, with their
    status; None when that is as it was at the cursor."""

    cursor: str
    words: tuple[Word, ...]
    others: Mapping[str, str] | None = None


def fingerprint(node: Node) -> str:
    """The digest of all that decides what a probe of the node means."""
    parts = (node.url, node.kind, node.pool, node.tls_verify, sorted(node.options.items()))
    return hashlib.blake2b(repr(parts).encode(), digest_size=8).hexdigest()


def word_of(print_: str, observation: Observation, now: Instant) -> Word:
    """An observation as it is told at `now`."""
    return Word(
        node_id=observation.node_id, print=print_, age=Seconds(max(0.0, now - observation.at)),
        outcome=observation.outcome, duration=observation.duration, latency=observation.latency,
        address=observation.address,
    )  # fmt: skip


def question_signature(secret: bytes, *, path: str, time: str, nonce: str) -> str:
    """The signature of a question."""
    return _sign(secret, "ask", time, nonce, path)


def answer_signature(secret: bytes, *, nonce: str, body: bytes) -> str:
    """The signature of the answer to the question with that number."""
    return _sign(secret, "tell", nonce, hashlib.sha256(body).hexdigest())


def same(given: str, wanted: str) -> bool:
    """Whether a signature is the wanted one, in constant time."""
    return hmac.compare_digest(given.encode("utf-8", "replace"), wanted.encode())


def _sign(secret: bytes, *parts: str) -> str:
    return hmac.new(secret, "\n".join(parts).encode("utf-8", "replace"), hashlib.sha256).hexdigest()


# ---- JSON ----------------------------------------------------------------------------------------------


def telling_json(telling: Telling) -> bytes:
    """The answer as bytes."""
    document: dict[str, Any] = {
        "cursor": telling.cursor,
        "words": [_word_json(word) for word in telling.words],
    }
    if telling.others is not None:
        document["others"] = dict(telling.others)
    return json.dumps(document, separators=(",", ":")).encode()


def read_telling(raw: bytes) -> Telling:
    """The inverse of `telling_json`. Raises Malformed."""
    try:
        document = json.loads(raw)
        others = document.get("others")
        return Telling(
            cursor=str(document["cursor"]),
            words=tuple(_read_word(entry) for entry in document["words"]),
            others=None if others is None else {str(key): str(value) for key, value in others.items()},
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise Malformed(f"another gateway's words cannot be understood: {error!r}") from error


_READING = {field.name for field in fields(Reading)}
_TUPLES = ("exposed", "features")


def _word_json(word: Word) -> dict[str, Any]:
    document: dict[str, Any] = {
        "node": word.node_id, "print": word.print, "age": round(word.age, 4), "duration": round(word.duration, 6),
        "latency": word.latency, "address": word.address,
    }  # fmt: skip
    if isinstance(word.outcome, Failure):
        return document | {"failure": word.outcome.kind.value, "text": word.outcome.text}
    empty = Reading()
    told = {name: getattr(word.outcome, name) for name in _READING}
    return document | {"reading": {k: v for k, v in told.items() if v != getattr(empty, k)}}


def _read_word(entry: Mapping[str, Any]) -> Word:
    if "failure" in entry:
        outcome: Reading | Failure = Failure(
            kind=FailureKind(entry["failure"]), text=str(entry["text"])[:500]
        )
    else:
        known = {key: value for key, value in entry["reading"].items() if key in _READING}
        known |= {key: tuple(known[key]) for key in _TUPLES if known.get(key) is not None}
        outcome = Reading(**known)
    latency, address = entry.get("latency"), entry.get("address")
    age = float(entry["age"])
    if not 0 <= age < 1e9:
        raise ValueError(f"an age of {age}")
    return Word(
        node_id=str(entry["node"]), print=str(entry["print"]), age=Seconds(age), outcome=outcome,
        duration=Seconds(float(entry["duration"])), latency=None if latency is None else Seconds(float(latency)),
        address=None if address is None else str(address),
    )  # fmt: skip
