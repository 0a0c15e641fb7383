"""Policy: what clients may ask, what was refused, and a place to try a request."""

from __future__ import annotations

from collections import Counter
from typing import Any

from nicegui import ui

from nodegate.dashboard.frame import Frame, card, facts, tag
from nodegate.dashboard.grid import Column, Grid, Row
from nodegate.dashboard.hub import Look
from nodegate.dashboard.trial import ORDINARY, try_out
from nodegate.errors import NodegateError
from nodegate.policy.difference import is_open
from nodegate.policy.reasons import RULES
from nodegate.policy.values import Method, Policy, Rate

METHODS = (
    Column(name="name", label="Method", cell="code", key=lambda row: row["name"]),
    Column(name="open", label="Clients", cell="status", key=lambda row: (row["open"], row["name"])),
    Column(name="class_", label="Class", key=lambda row: row["class_"]),
    Column(name="cost", label="Cost", cell="number", key=lambda row: row["base"]),
    Column(name="rate", label="Per client", extra=True),
    Column(name="timeout", label="Timeout", cell="number", key=lambda row: row["seconds"], extra=True),
    Column(name="asked", label="Let through", cell="number", key=lambda row: row["count"]),
    Column(name="failures", label="5xx", cell="number", key=lambda row: row["failed"]),
)
REFUSALS = (
    Column(name="rule", label="Rule", cell="code", key=lambda row: row["rule"]),
    Column(name="kind", label="Kind", key=lambda row: row["kind"]),
    Column(name="count", label="Refused", cell="number", key=lambda row: row["refused"]),
    Column(name="minute", label="Last minute", cell="number", key=lambda row: row["minute"]),
    Column(name="reason", label="What the client is told", cell="reasons"),
)


async def build(frame: Frame) -> None:
    """The page."""
    policies = frame.site.source.context.policies
    kinds = list(policies.kinds())
    faults = ui.label("").classes("faults").props('role="alert"')
    if not kinds:
        tag("p", "No pool has a policy: every request is passed on. See `nodegate policy`.")
        return
    chosen = {"kind": kinds[0]}
    with card("In force"):
        if len(kinds) > 1:
            ui.select(
                kinds, value=kinds[0], label="Kind", on_change=lambda event: chosen.update(kind=event.value)
            ).props("outlined dense")
        put = facts(
            dict.fromkeys(
                ("Kind", "Version", "Source", "What is not named", "Body at most", "Budget of a client"), "-"
            )
        )
    with card("Refused, by rule"):
        refusals = Grid(
            label="Refusals by rule",
            noun="rule",
            columns=REFUSALS,
            sort=("count", True),
            empty="Nothing was refused since HAProxy was started.",
        )
    with card("Methods"):
        methods = Grid(
            label="Methods", noun="method", columns=METHODS, sort=("asked", True),
            words=lambda row: f"{row['name']} {row['open']} {row['class_']}",
        )  # fmt: skip
    _trial(frame, kinds)

    def show(look: Look) -> None:
        faults.set_text(" · ".join(policies.faults))
        kind = chosen["kind"]
        if kind not in policies.kinds():
            return
        policy = policies.loaded(kind).policy
        own = policies.operator(kind)
        put(_facts(policy, policies.version(kind), "shipped with nodegate" if own is None else own.file))
        methods.show(_methods(policy, look))
        refusals.show(_refusals(look))

    frame.show(show)


def _facts(policy: Policy, version: str, source: str) -> dict[str, str]:
    budget = Rate(per_10s=policy.budget.per_10s, per_1m=policy.budget.per_1m)
    return {
        "Kind": policy.kind,
        "Version": version,
        "Source": source,
        "What is not named": "refused" if policy.default == "deny" else "let through",
        "Body at most": f"{policy.body.max_bytes:,} bytes",
        "Budget of a client": _rate(budget, " units"),
    }


def _rate(rate: Rate, unit: str = "") -> str:
    parts = [f"{rate.per_10s:,}{unit} in 10 s"] if rate.per_10s is not None else []
    parts += [f"{rate.per_1m:,}{unit} in a minute"] if rate.per_1m is not None else []
    return ", ".join(parts) or "no limit"


def _methods(policy: Policy, look: Look) -> list[Row]:
    asked: Counter[str] = Counter()
    failed: Counter[str] = Counter()
    for count in look.tables.methods if look.tables is not None else ():
        if count.kind == policy.kind:
            asked[count.method] += count.requests
            failed[count.method] += count.failures
    rows = [
        _method(name, method, is_open(policy, name), asked[name], failed[name])
        for name, method in policy.methods.items()
    ]
    others = {name: count for name, count in asked.items() if name not in policy.methods}
    if others:
        rest = _method("all others", policy.unlisted, policy.default == "allow", sum(others.values()), 0)
        rows.append(rest)
    return rows


def _method(name: str, method: Method, is_open: bool, asked: int, failed: int) -> Row:
    more = method.cost.per_item or method.cost.per_value or method.cost.per_blocks
    return {
        "id": name, "name": name, "open": "open" if is_open else "closed", "class_": method.class_,
        "base": method.cost.base, "cost": f"{method.cost.base}{' and more' if more else ''}", "rate": _rate(method.rate),
        "seconds": method.timeout, "timeout": f"{method.timeout:g} s", "count": asked, "asked": f"{asked:,}",
        "failed": failed, "failures": f"{failed:,}",
    }  # fmt: skip


def _refusals(look: Look) -> list[Row]:
    counts = look.tables.rules if look.tables is not None else ()
    return [
        {
            "id": f"{count.kind}/{count.rule}", "rule": count.rule, "kind": count.kind, "refused": count.refused,
            "count": f"{count.refused:,}", "minute": count.rate, "reason": RULES.get(count.rule, (0, "a limit was reached"))[1].replace("{}", "…"),
        }
        for count in counts
        if count.refused
    ]  # fmt: skip


def _trial(frame: Frame, kinds: list[str]) -> None:
    with card("Try a request"):
        tag("p", "It is judged by the policy in force; no node is asked, and nothing is counted.").classes(
            "soft"
        )
        with ui.element("form").classes("try").on("submit.prevent", lambda: judge()):  # noqa: PLW0108 -- defined below
            kind = ui.select(kinds, value=kinds[0], label="Kind").props("outlined dense")
            client = ui.input("Client's address", value="192.0.2.7").props("outlined dense")
            http = ui.select(["POST", "GET", "OPTIONS", "PUT"], value="POST", label="HTTP method").props(
                "outlined dense"
            )
            path = ui.input("Path", value="/").props("outlined dense")
            body = (
                ui.textarea("Body", value='{"command": "getNodeInfo"}')
                .props("outlined dense autogrow")
                .classes("wide")
            )
            headers = (
                ui.textarea("Headers, one a line", value=_ordinary(kinds[0]))
                .props("outlined dense autogrow")
                .classes("wide")
            )
            tag("button", "Judge").classes("main").props('type="submit"').style("justify-self: start")
        result = ui.element("div").props('role="status" aria-live="polite"')
        kind.on_value_change(lambda: headers.set_value(_ordinary(str(kind.value))))

        def judge() -> None:
            result.clear()
            with result:
                try:
                    policy = frame.site.source.context.policies.loaded(str(kind.value)).policy
                    document = try_out(
                        policy, method=str(http.value), path=str(path.value or "/"), body=str(body.value or ""),
                        headers=str(headers.value or ""), client=str(client.value or ""),
                    )  # fmt: skip
                except NodegateError as error:
                    ui.label(str(error)).classes("faults")
                    return
                _verdict(document)


def _verdict(document: dict[str, Any]) -> None:
    word = str(document["verdict"])
    with ui.element("div").classes("row-of").style("margin: .8rem 0"):
        tag("span", {"allow": "let through", "refuse": "refused"}[word]).classes(f"status s-{word}")
        if word == "refuse":
            ui.label(f"{document['reason']} (rule {document['rule']}, status {document['status']})")
    facts({name: text for name, text in _said(document).items() if text})


def _said(document: dict[str, Any]) -> dict[str, str]:
    client = document["client"]
    return {
        "Method": ", ".join(document.get("methods", ())),
        "Class and lane": f"{document['class']}, {document['lane']}" if "class" in document else "",
        "Cost": f"{document['cost']} units" if "cost" in document else "",
        "Timeout": f"{document['timeout']:g} s" if "timeout" in document else "",
        "Outcome": str(document.get("outcome", "")),
        "Counted as": (client["counted_as"] or "") + (", trusted" if client["trusted"] else ""),
    }


def _ordinary(kind: str) -> str:
    return "\n".join(f"{name}: {value}" for name, value in ORDINARY.get(kind, {}).items())
