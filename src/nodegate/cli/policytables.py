"""Policies as tables and as JSON. Nothing here decides anything."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

from nodegate.cli.inforce import InForce
from nodegate.cli.output import cell
from nodegate.policy.difference import is_open, price_words, rate_words
from nodegate.policy.values import Method, Policy

EFFECTS: Mapping[str, str] = {
    "opens": "yellow",
    "loosens": "yellow",
    "closes": "red",
    "tightens": "green",
    "changes": "cyan",
}


def policy_document(found: InForce) -> dict[str, Any]:
    """One policy for JSON: its methods as `show` has them in the table, and all its values."""
    policy = found.policy
    return {
        "kind": policy.kind,
        "from": found.where,
        "version": found.version,
        "default": policy.default,
        "methods": [_row(policy, name, method) for name, method in policy.methods.items()],
        "policy": policy.model_dump(mode="json", by_alias=True),
    }


def policy_title(found: InForce) -> Text:
    """What the tables below it are about."""
    return Text(f"{found.policy.kind}: {found.where}", style="bold")


def methods_table(policy: Policy) -> Table:
    """The methods, open ones first, one in a row."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("METHOD", no_wrap=True)
    for name in ("ALLOWED", "CLASS", "COST", "RATE", "RATE OF ALL", "TIMEOUT", "LANE"):
        table.add_column(name, overflow="fold")
    order = sorted(policy.methods.items(), key=lambda item: not is_open(policy, item[0]))
    for name, method in order:
        allowed = is_open(policy, name)
        style = "green" if allowed else "red"
        if not allowed:
            table.add_row(cell(name), Text("no", style=style), cell(method.class_))
            continue
        at_once = policy.lane_concurrency(method)
        lane = policy.lane(name, method) + (f" ({at_once} a node)" if at_once is not None else "")
        table.add_row(
            cell(name),
            Text("yes", style=style),
            cell(method.class_),
            cell(price_words(method.cost).removesuffix(" units").removesuffix(" unit")),
            cell(_rate_cell(method, overall=False)),
            cell(_rate_cell(method, overall=True)),
            cell(f"{method.timeout:g} s"),
            cell(lane),
        )
    return table


def policy_facts(policy: Policy) -> dict[str, object]:
    """What holds for all methods."""
    client, budget = policy.client, policy.budget
    bans = f"after {budget.ban_after} refusals in a minute, for {budget.ban_seconds} s"
    return {
        "other methods": "refused" if policy.default == "deny" or policy.unlisted.deny else "allowed",
        "one client": f"{rate_words(budget, ' units')}; {client.max_concurrent} requests and "
        f"{client.max_connections} connections at once",
        "bans": bans if budget.ban_after else "none",
        "one request": f"{policy.body.max_cost} units, {policy.body.max_bytes} bytes, "
        f"{policy.body.max_batch or 'no'} calls in a batch",
        "networks": ", ".join(
            f"{word} {' '.join(texts)}"
            for word, texts in (
                ("allowed", client.allowed),
                ("denied", client.denied),
                ("trusted", client.trusted),
            )
            if texts
        )
        or "everybody",
        "API keys": ", ".join(policy.keys) + (" (required)" if client.key_required else ""),
    }


def differences_table(rows: Sequence[Mapping[str, str]]) -> Table:
    """Differences, one in a row."""
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(no_wrap=True, style="bold")
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for row in rows:
        effect = Text(row["effect"], style=EFFECTS.get(row["effect"], ""))
        table.add_row(cell(row["place"]), effect, cell(row["text"]))
    return table


def tallies_table(title: str, tallies: Mapping[str, Mapping[str, Any]]) -> Table:
    """What a replay says of methods, clients or keys."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column(title, no_wrap=True)
    for name in ("REQUESTS", "NOW REFUSED", "NOW ALLOWED", "COST BEFORE", "COST AFTER"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("RULES", overflow="fold")
    for name, tally in tallies.items():
        rules = ", ".join(f"{rule} {count}" for rule, count in tally["rules"].items())
        numbers = ("requests", "now_refused", "now_allowed", "cost_before", "cost_after")
        table.add_row(cell(name), *(cell(f"{tally[key]:,}") for key in numbers), cell(rules))
    return table


def _rate_cell(method: Method, *, overall: bool) -> str:
    rate = method.rate_overall if overall else method.rate
    return rate_words(rate) if rate.bounded else ""


def _row(policy: Policy, name: str, method: Method) -> dict[str, Any]:
    return {
        "method": name,
        "allowed": is_open(policy, name),
        "class": method.class_,
        "cost": method.cost.model_dump(mode="json"),
        "rate": method.rate.model_dump(mode="json"),
        "rate_overall": method.rate_overall.model_dump(mode="json"),
        "timeout": method.timeout,
        "lane": policy.lane(name, method),
        "concurrency": policy.lane_concurrency(method),
        "idempotent": method.idempotent,
        "cache": method.cache,
    }
