"""How often a method may be called, by one client and by all together."""

from __future__ import annotations

from nodegate.haproxy import peers
from nodegate.haproxy.conditions import cond, if_found, set_var, unless_found
from nodegate.haproxy.config import Words, words
from nodegate.haproxy.counters import RATES, TRACK_RATE, TRACK_RATE_ALL
from nodegate.haproxy.peers import Sharing


def rate_lines(sharing: Sharing) -> tuple[Words, ...]:
    """Rates per client and for all together, where `txn.rated` says that the method has some. Only admitted requests count:
    a client that is refused does not keep itself or others out."""
    rated = if_found("txn.rated")
    mine = (*rated, *if_found("txn.account"))
    pair, overall = "var(txn.pair)", "var(txn.kind),concat(/,txn.method)"
    lines = [
        set_var("pair", "var(txn.account),concat(|,txn.method)", *mine),
        words("http-request", f"track-sc{TRACK_RATE}", peers.own_key(pair, sharing), "table", RATES, "if", *mine),
        words("http-request", f"track-sc{TRACK_RATE_ALL}", peers.own_key(overall, sharing), "table", RATES, "if", *rated),
    ]  # fmt: skip
    places = ((9, 0, TRACK_RATE, "rate"), (10, 1, TRACK_RATE, "rate"), (11, 0, TRACK_RATE_ALL, "rate-overall"), (12, 1, TRACK_RATE_ALL, "rate-overall"))  # fmt: skip
    for place, counter, tracked, rule in places:
        bound = f"var(txn.line),field({place},|),add(0)"
        condition = mine if tracked == TRACK_RATE else rated
        lines += [
            set_var("spent", f"sc_gpc{counter}_rate({tracked})", *condition),
            *peers.spent_elsewhere(
                pair if tracked == TRACK_RATE else overall,
                f"table_gpc{counter}_rate({RATES})",
                sharing,
                *condition,
            ),
            set_var(
                "rule",
                f"str({rule})",
                *condition,
                *cond(bound, "gt", 0),
                *cond(f"{bound},sub(txn.spent)", "le", 0),
            ),
        ]
    fine = unless_found("txn.rule")
    for tracked, condition in ((TRACK_RATE, mine), (TRACK_RATE_ALL, rated)):
        for counter in (0, 1):
            lines.append(words("http-request", f"sc-inc-gpc{counter}({tracked})", "if", *condition, *fine))
    return tuple(lines)
