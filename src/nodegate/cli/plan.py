"""`nodegate plan`."""

from __future__ import annotations

from nodegate.cli.options import Admin, AsJson, State, Token, client


def plan(*, as_json: AsJson = False, state: State = None, admin: Admin = None, token: Token = None) -> None:
    """Show what the next pass would change and why, and what safety withholds."""
    from nodegate.cli import output

    with client(state, admin, token) as daemon:
        document = daemon.plan()
    if as_json:
        output.print_json(document)
        return
    screen = output.console()
    for number, change in enumerate(document.changes, start=1):
        screen.print(output.cell(f"{number}. {change.what}: {change.why}"))
    for item in document.withheld:
        screen.print(output.cell(f"withheld by {item.rule}: {item.change.what}: {item.why}"), style="yellow")
    for text in document.refused:
        screen.print(output.cell(f"refused by HAProxy: {text}"), style="bold red")
    if not (document.changes or document.withheld or document.refused):
        output.note("nothing to change: HAProxy does what is wanted")
