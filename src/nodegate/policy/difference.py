"""What changes from one policy to another, method by method and in words. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from pydantic import BaseModel

from nodegate.policy.reasons import about_arg
from nodegate.policy.values import ApiKey, Budget, Method, Policy, Price, Rate


class Effect(StrEnum):
    """What a difference means for clients."""

    OPENS = "opens"
    CLOSES = "closes"
    LOOSENS = "loosens"
    TIGHTENS = "tightens"
    CHANGES = "changes"


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One thing that changes. `place` is the table of the document (`methods.getTips`), `text` says what."""

    place: str
    effect: Effect
    text: str

    def __str__(self) -> str:
        return f"{self.place}: {self.text}"


Found = tuple[Effect, str]


def differences(before: Policy, after: Policy) -> tuple[Difference, ...]:
    """All that changes: methods first, in order of name, then the rest in the document's order."""
    found: list[Difference] = []
    for name in sorted({*before.methods, *after.methods}):
        found += _at(f"methods.{name}", _method(before, after, name))
    if "allow" in {before.default, after.default}:
        found += _at("unlisted", _open_method(before, after, before.unlisted, after.unlisted))
    found += _at("default", _value("unlisted methods", before.default, after.default))
    for name in sorted({*before.classes, *after.classes}):
        found += _at(f"classes.{name}", _fields(before.classes.get(name), after.classes.get(name)))
    for table in ("head", "body", "client", "cors"):
        found += _at(table, _fields(getattr(before, table), getattr(after, table)))
    found += _at("budget", _budget(before.budget, after.budget))
    for name in sorted({*before.keys, *after.keys}):
        found += _at(f"keys.{name}", _key(before.keys.get(name), after.keys.get(name)))
    return tuple(found)


def is_open(policy: Policy, name: str) -> bool:
    """Whether clients may call `name`, as far as its name decides."""
    method = policy.methods.get(name)
    if method is None:
        return policy.default == "allow" and not policy.unlisted.deny
    return not method.deny


def rate_words(rate: Rate | Budget | ApiKey, unit: str = "") -> str:
    """`20 in 10 s, 60 in 1 min`, or `no limit`."""
    windows = ((rate.per_10s, "10 s"), (rate.per_1m, "1 min"))
    return ", ".join(f"{count}{unit} in {span}" for count, span in windows if count is not None) or "no limit"


def price_words(price: Price) -> str:
    """`5 + 2 per item of hashes units`."""
    parts = [str(price.base)]
    parts += [f"{units} per item of {path}" for path, units in price.per_item.items()]
    parts += [f"{units} times {path}" for path, units in price.per_value.items()]
    if price.per_blocks is not None:
        parts.append(f"1 per {price.per_blocks} blocks")
    return " + ".join(parts) + (" unit" if parts == ["1"] else " units")


def _at(place: str, found: Iterable[Found]) -> Iterable[Difference]:
    return (Difference(place=place, effect=effect, text=text) for effect, text in found)


def _method(before: Policy, after: Policy, name: str) -> Iterable[Found]:
    was_open, now_open = is_open(before, name), is_open(after, name)
    old, new = before.methods.get(name, before.unlisted), after.methods.get(name, after.unlisted)
    if was_open and not now_open:
        yield Effect.CLOSES, "closed, was open"
    elif now_open and not was_open:
        words = f"class {new.class_}, {price_words(new.cost)}, {rate_words(new.rate)} for one client"
        yield Effect.OPENS, f"open, was closed ({words})"
    # What a closed method would cost is nobody's matter.
    if was_open and now_open:
        yield from _open_method(before, after, old, new)


def _open_method(before: Policy, after: Policy, old: Method, new: Method) -> Iterable[Found]:
    yield from _compared("cost", price_words(old.cost), price_words(new.cost), *_prices(old.cost, new.cost))
    for label, render, measure in _ASPECTS:
        yield from _compared(label, render(old), render(new), measure(old), measure(new))
    if before.body.max_batch or after.body.max_batch:
        yield from _value("may stand in a batch", _yes(old.batchable), _yes(new.batchable))
    yield from _value("at once per node", _places(before, old), _places(after, new))
    yield from _arguments(old, new)


def _places(policy: Policy, method: Method) -> str:
    """Only a method's own places: those of a class are told once, at the class."""
    if method.concurrency is None:
        return f"as the class {method.class_}"
    return str(policy.lane_concurrency(method))


def _arguments(old: Method, new: Method) -> Iterable[Found]:
    for path in sorted({*old.args, *new.args}):
        was, now = old.args.get(path), new.args.get(path)
        if was is None and now is not None:
            yield Effect.CHANGES, f"new rule: {_about(path, now)}"
        elif now is None:
            yield Effect.CHANGES, f"no rule for {path} any more"
        elif was is not None and was != now:
            yield Effect.CHANGES, f"{_about(path, now)}; was: {_about(path, was)}"


def _about(path: str, rule: Any) -> str:
    words = about_arg("", path, rule).removeprefix(": ")
    required = " (required)" if rule.required else ""
    return f"argument {words}{required}"


def _budget(old: Budget, new: Budget) -> Iterable[Found]:
    yield from _compared(
        "units for one client", rate_words(old), rate_words(new), _of_rate(old), _of_rate(new)
    )
    yield from _fields(old, new, leave_out=("per_10s", "per_1m"))


def _key(old: ApiKey | None, new: ApiKey | None) -> Iterable[Found]:
    was, now = old is not None and not old.disabled, new is not None and not new.disabled
    if was and not now:
        yield Effect.CLOSES, "the key is not taken any more"
    elif now and not was:
        yield Effect.OPENS, "a new key"
    if old is None or new is None or not (was and now):
        return
    if old.hash != new.hash:
        yield Effect.CHANGES, "another key; the old one is not taken any more"
    yield from _compared("units", rate_words(old), rate_words(new), _of_rate(old), _of_rate(new))
    yield from _fields(old, new, leave_out=("per_10s", "per_1m", "hash", "disabled"))


def _fields(
    old: BaseModel | None, new: BaseModel | None, *, leave_out: tuple[str, ...] = ()
) -> Iterable[Found]:
    """Every value that differs, by its dotted name in the document."""
    was = _leaves(old.model_dump(mode="json", by_alias=True)) if old is not None else {}
    now = _leaves(new.model_dump(mode="json", by_alias=True)) if new is not None else {}
    for key in sorted({*was, *now}):
        if key.split(".")[0] not in leave_out:
            yield from _value(key, _shown(was.get(key)), _shown(now.get(key)))


def _leaves(data: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    leaves: dict[str, Any] = {}
    for key, value in data.items():
        name = f"{above}.{key}" if above else key
        if isinstance(value, Mapping):
            leaves |= _leaves(value, name)
        else:
            leaves[name] = value
    return leaves


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return "none" if value is None else str(value)


def _value(label: str, old: str, new: str) -> Iterable[Found]:
    if old != new:
        yield Effect.CHANGES, f"{label}: {new}, was {old}"


Measure = tuple[float, ...]
"""How much an aspect gives to clients, bound by bound; what has no bound is infinite."""


def _compared(label: str, old: str, new: str, was: Measure, now: Measure) -> Iterable[Found]:
    if old == new:
        return
    effect = Effect.CHANGES
    if was != now and len(was) == len(now):
        pairs = list(zip(was, now, strict=True))
        if all(after >= before for before, after in pairs):
            effect = Effect.LOOSENS
        elif all(after <= before for before, after in pairs):
            effect = Effect.TIGHTENS
    yield effect, f"{label}: {new}, was {old}"


def _of_rate(rate: Rate | Budget | ApiKey) -> Measure:
    bounds = (rate.per_10s, rate.per_1m)
    return tuple(float("inf") if bound is None else float(bound) for bound in bounds)


def _prices(old: Price, new: Price) -> tuple[Measure, Measure]:
    """Two prices as measures; empty ones where they price different things."""
    was, now = ({**price.per_item, **price.per_value} for price in (old, new))
    if was.keys() != now.keys() or (old.per_blocks is None) != (new.per_blocks is None):
        return (), ()
    names = sorted(was)
    return (
        (-old.base, *(-was[name] for name in names), old.per_blocks or 0),
        (-new.base, *(-now[name] for name in names), new.per_blocks or 0),
    )


def _yes(value: bool) -> str:
    return "yes" if value else "no"


def _nothing(_: Method) -> Measure:
    return ()


_ASPECTS: tuple[tuple[str, Callable[[Method], str], Callable[[Method], Measure]], ...] = (
    ("class", lambda method: method.class_, _nothing),
    ("rate for one client", lambda method: rate_words(method.rate), lambda method: _of_rate(method.rate)),
    (
        "rate for all together",
        lambda method: rate_words(method.rate_overall),
        lambda method: _of_rate(method.rate_overall),
    ),
    ("timeout", lambda method: f"{method.timeout:g} s", lambda method: (method.timeout,)),
    ("may be sent to a second node", lambda method: _yes(method.idempotent), _nothing),
    ("cached", lambda method: f"{method.cache} s", _nothing),
    ("one of these must be given", lambda method: ", ".join(method.any_of) or "none", _nothing),
    ("arguments without a rule", lambda method: method.unknown_args, _nothing),
    (
        "block range",
        lambda method: f"at most {method.range.max}" if method.range is not None else "no bound",
        lambda method: (float(method.range.max) if method.range is not None else float("inf"),),
    ),
    ("HTTP methods", lambda method: ", ".join(method.http), _nothing),
    ("path", lambda method: method.path or "none", _nothing),
    ("query", lambda method: _yes(method.query), lambda method: (float(method.query),)),
)
