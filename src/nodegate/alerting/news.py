"""What was said and what is news: the words that the difference between two moments is made of. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from nodegate.telemetry.kinds import Event

Said = Mapping[tuple[str, str], str]
"""(topic, subject) → the word that was said last."""

GONE = ""
"""The word for a subject that is no more: it is forgotten."""


class News(NamedTuple):
    """A word that differs from what was said; `event` None: remember it, and say nothing."""

    topic: str
    subject: str
    word: str
    event: Event | None


def remember(said: Said, news: Iterable[News]) -> dict[tuple[str, str], str]:
    """`said` after `news`."""
    after = dict(said)
    for item in news:
        if item.word == GONE:
            after.pop((item.topic, item.subject), None)
        else:
            after[item.topic, item.subject] = item.word
    return after


def state(said: Said, topic: str, subject: str, is_now: Event, *, quiet: bool) -> Iterator[News]:
    """News if the kind of `is_now` was not said last; a first word that is `quiet` is only remembered."""
    was = said.get((topic, subject))
    if was != is_now.kind.value:
        yield News(topic, subject, is_now.kind.value, None if was is None and quiet else is_now)
