"""`nodegate lab attack`: what attacks do to a node or a gateway, and to the honest clients beside them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from nodegate.errors import BadDocument, Fault

if TYPE_CHECKING:
    from nodegate.lab.attack_report import AttackReport, Campaign, Honest, Phase


def attack(
    *,
    url: Annotated[
        str | None, typer.Argument(help="What to attack: a lab node or a gateway, on the loopback only.")
    ] = None,
    only: Annotated[
        list[str] | None, typer.Option("--only", help="Name of an attack; may be repeated. [default: all]")
    ] = None,
    seconds: Annotated[
        float, typer.Option("--for", min=0.5, max=60, help="Seconds that each attack takes.")
    ] = 4.0,
    connections: Annotated[
        int, typer.Option("--connections", "-c", min=1, max=500, help="Connections that attack at once.")
    ] = 100,
    list_: Annotated[bool, typer.Option("--list", help="List the attacks and do nothing.")] = False,
    json_: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Attack a lab, and measure honest clients meanwhile. Exit code 1 when an attack got through or did harm.

    What wallets send too cannot be refused: `stall-unlisted` counts as limited when nine of ten calls were turned
    away and nothing but lookups waited.
    """
    if list_:
        _catalogue(json_=json_)
        return
    if url is None:
        raise BadDocument(
            [Fault(file="command line", line=None, key="URL", message="what to attack is missing")]
        )
    import uvloop

    from nodegate.lab.attack import AttackOptions, run
    from nodegate.model import Seconds

    options = AttackOptions(url=url, names=only or (), seconds=Seconds(seconds), connections=connections)
    told = (lambda report: None) if json_ else _progress
    campaign = uvloop.run(run(options, told=told))
    if json_:
        print(json.dumps(campaign.document()))
    else:
        _conclude(campaign)
    if not campaign.borne:
        raise typer.Exit(1)


def _catalogue(*, json_: bool) -> None:
    from nodegate.lab.attacks import ATTACKS

    if json_:
        rows = [{"name": each.name, "words": each.words, "forbidden": each.forbidden} for each in ATTACKS]
        print(json.dumps({"attacks": rows}))
        return
    width = max(len(each.name) for each in ATTACKS)
    for each in ATTACKS:
        print(f"{each.name:<{width}}  {each.words}")


def _progress(report: AttackReport) -> None:
    from rich.console import Console

    Console(stderr=True).print(f"[dim]· {report.attack.name}: {outcome(report)}[/dim]", highlight=False)


def _conclude(campaign: Campaign) -> None:
    from rich.console import Console
    from rich.table import Table

    groups = list(campaign.quiet)
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in ("attack", "sent", "refused", "through", "cut off", *(f"p99 {name}" for name in groups)):
        table.add_column(name, justify="left" if name == "attack" else "right")
    table.add_row("(none)", "", "", "", "", *_latencies(campaign.quiet))
    for report in campaign.reports:
        sent = report.sent
        counts = (sent.sent, sent.refused, report.got_through, sent.cut)
        table.add_row(
            report.attack.name, *map(str, counts), *_latencies(report.during),
            style="" if report.harmless else "yellow",
        )  # fmt: skip
    console = Console()
    console.print(table)
    for report in campaign.reports:
        console.print(f"{report.attack.name}: {outcome(report)}", highlight=False)
    harm = sum(1 for report in campaign.reports if not report.borne)
    limited = [report.attack.name for report in campaign.reports if report.limited]
    said = "no attack did harm" if not harm else f"{harm} of {len(campaign.reports)} attacks did harm"
    said += f"; limited: {', '.join(limited)}" if limited else ""
    console.print(f"{campaign.url}: {said}", highlight=False)


def _latencies(phase: Phase) -> list[str]:
    """The p99 of each group in words."""
    return [_latency(seen) for seen in phase.values()]


def _latency(seen: Honest) -> str:
    latency = "none" if seen.p99 is None else f"{seen.p99 * 1000:.1f} ms"
    return f"{latency}, {seen.failed} lost" if seen.failed else latency


def outcome(report: AttackReport) -> str:
    """What came of one attack, in words."""
    sent = report.sent
    parts = []
    if report.got_through:
        parts.append("a node worked on what no node should get")
    if report.limited:
        return f"limited: {', '.join(report.harmed)} waited on the nodes that it reached, others did not"
    if report.harmed:
        parts.append(f"honest clients were harmed ({', '.join(report.harmed)})")
    if report.already:
        groups = ", ".join(sorted(report.already))
        parts.append(f"cannot be told: {groups} had not recovered from the attack before")
    if parts:
        return "; ".join(parts)
    if sent.by_rule:
        return "refused by " + ", ".join(sorted(sent.by_rule, key=lambda rule: -sent.by_rule[rule]))
    if sent.refused or sent.cut or sent.unconnected:
        return "refused"
    return f"borne, {sent.most_open} connections at once"
