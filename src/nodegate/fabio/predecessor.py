"""The tags of the balancer for IRI that was made of HAProxy, Consul and consul-template."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

PREFIX = "haproxy."


@dataclass(frozen=True, slots=True, kw_only=True)
class Described:
    """What the tags say. `weight` is relative to that of the service's other instances, as HAProxy counts (0 to
    256). `maxconn` and `maxconn_pow` bound the requests at once, None where the tags say nothing. `pow`: the
    node does proof of work, or only that."""

    weight: int = 1
    maxconn: int | None = None
    maxconn_pow: int | None = None
    https: bool = False
    verify: bool = False
    pow: Literal["false", "true", "only"] = "false"


def is_described(tags: Iterable[str]) -> bool:
    """Whether there is any tag of the predecessor."""
    return any(tag.strip().startswith(PREFIX) for tag in tags)


def read(tags: Iterable[str]) -> tuple[Described, tuple[str, ...]]:
    """What the tags say, and a sentence for each that cannot be understood; that one has its default then."""
    described, faults = Described(), []
    for tag in (tag.strip() for tag in tags):
        if not tag.startswith(PREFIX):
            continue
        name, equals, value = tag.removeprefix(PREFIX).partition("=")
        reader = _TABLE.get(name)
        if reader is None or not equals:
            faults.append(f"tag {tag!r} is not one of {', '.join(f'{PREFIX}{known}=' for known in _TABLE)}")
            continue
        try:
            described = reader(described, value.strip())
        except ValueError as error:
            faults.append(f"tag {tag!r}: {error}")
    return described, tuple(faults)


def _number(value: str, low: int, high: int) -> int:
    if not (value.isascii() and value.isdigit() and low <= int(value[:10]) <= high):
        raise ValueError(f"write a number from {low} to {high}")
    return int(value)


def _one_of(value: str, *known: str) -> str:
    if value.lower() not in known:
        raise ValueError(f"write one of {', '.join(known)}")
    return value.lower()


_TABLE: Mapping[str, Callable[[Described, str], Described]] = {
    "weight": lambda said, value: replace(said, weight=_number(value, 0, 256)),
    "maxconn": lambda said, value: replace(said, maxconn=_number(value, 1, 1_000_000)),
    "maxconnpow": lambda said, value: replace(said, maxconn_pow=_number(value, 1, 1_000_000)),
    "scheme": lambda said, value: replace(said, https=_one_of(value, "http", "https") == "https"),
    "pow": lambda said, value: replace(said, pow=_one_of(value, "false", "true", "only")),  # type: ignore[arg-type]
    "sslverify": lambda said, value: replace(
        said, verify=_one_of(value, "0", "1", "false", "true") in {"1", "true"}
    ),
}
