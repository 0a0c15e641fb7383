"""From the cost of a call under one price to its cost under another, without the call. Pure."""

from __future__ import annotations

from nodegate.policy.values import Price


def converted(cost: int, former: Price, price: Price) -> int | None:
    """What a call that cost `cost` units under `former` costs under `price`; None when that depends on more
    than the cost tells."""
    was, now = varying(former), varying(price)
    if not now:
        return price.base
    if was.keys() == now.keys() and len(was) == 1 and former.per_blocks is None:
        ((path, units),) = was.items()
        return price.base + max(0, cost - former.base) // units * now[path]
    if was == now:
        return max(0, cost - former.base) + price.base
    return None


def varying(price: Price) -> dict[str, int]:
    """What a price depends on beside its base, with the units for each."""
    terms = {f"items of {path}": units for path, units in price.per_item.items()}
    terms |= {f"value of {path}": units for path, units in price.per_value.items()}
    return terms | ({"blocks": price.per_blocks} if price.per_blocks is not None else {})
