"""`nodegate policy try` and `nodegate policy replay`: a policy's verdicts with no traffic."""

from __future__ import annotations

import ipaddress
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from nodegate.cli.options import Admin, AsJson, State, Token
from nodegate.errors import BadDocument, Fault, Malformed, Unavailable

if TYPE_CHECKING:
    from nodegate.policy.replay import Replay
    from nodegate.policy.values import Policy

ORDINARY: dict[str, dict[str, str]] = {"iri": {"X-IOTA-API-Version": "1"}}
"""Headers that every client library of a kind sends; a trial assumes them where nothing else is said."""

UNEXPECTED = 1
"""Exit code of a trial whose verdict is not the expected one."""

LogFile = Annotated[Path, typer.Argument(metavar="ACCESS-LOG", help="Log of a gateway, as JSON lines.")]
PolicyOption = Annotated[
    str | None,
    typer.Option(
        "--policy",
        metavar="FILE|shipped",
        help="Judge by this document, or by the shipped policy (default: the policy in force).",
    ),
]


def try_(
    *,
    kind: Annotated[
        str | None, typer.Option("--kind", "-k", help="Kind of node, such as iri or evm.")
    ] = None,
    body: Annotated[
        str,
        typer.Option(
            "--body", "-b", help="The request's body; @FILE reads it from a file, @- from standard input."
        ),
    ] = "",
    header: Annotated[
        list[str] | None, typer.Option("--header", "-H", metavar="NAME: VALUE", help="Repeatable.")
    ] = None,
    from_: Annotated[
        str | None, typer.Option("--from", metavar="IP", help="Address of the client's connection.")
    ] = None,
    method: Annotated[str, typer.Option("--method", "-X", help="HTTP method.")] = "POST",
    path: Annotated[str, typer.Option("--path", help="Path and query.")] = "/",
    height: Annotated[
        int | None, typer.Option("--height", min=0, help="The chain's head, for open block ranges.")
    ] = None,
    file: PolicyOption = None,
    bare: Annotated[
        bool, typer.Option("--bare", help="Assume no header that is not given, not even ordinary ones.")
    ] = False,
    expect: Annotated[
        Literal["allow", "refuse"] | None, typer.Option("--expect", help="Exit 1 for any other verdict.")
    ] = None,
    as_json: AsJson = False,
    state: State = None,
    admin: Admin = None,
    token: Token = None,
) -> None:
    """Try one request against a policy: verdict, rule, price, lane, share of the budget. No traffic."""
    from nodegate.cli import output
    from nodegate.policy.guard import GuardRequest, guard
    from nodegate.policy.trial import verdict_document

    policy, where = _policy(kind, file, state, admin, token)
    headers = [_header(text) for text in header or []]
    given = {name.lower() for name, _ in headers}
    assumed = {} if bare or method.upper() == "OPTIONS" else ORDINARY.get(policy.kind, {})
    assumed = {name: value for name, value in assumed.items() if name.lower() not in given}
    headers += [(name, value.encode()) for name, value in assumed.items()]
    request = GuardRequest(
        method=method,
        target=path.encode("utf-8", "surrogateescape"),
        headers=headers,
        body=_body(body),
        peer=_address(from_),
        height=height,
    )
    verdict = guard(policy, request)
    document = verdict_document(verdict)
    if verdict.facts is not None:
        document["budget"] = _budget(policy, verdict.facts.cost, verdict.client.key, verdict.client.trusted)
    document |= {"policy": where, "assumed": assumed}
    if as_json:
        output.print_json(document)
    else:
        output.console().print(output.facts_table(_facts(document)))
    if expect is not None and document["verdict"] != expect:
        raise typer.Exit(UNEXPECTED)


def replay(
    *,
    log: LogFile,
    new: Annotated[Path, typer.Argument(metavar="NEW-POLICY", help="Policy document (TOML).")],
    kind: Annotated[
        str | None, typer.Option("--kind", "-k", help="Kind of node, where the file does not say.")
    ] = None,
    against: Annotated[
        str | None,
        typer.Option(
            "--against",
            metavar="FILE|shipped",
            help="The policy the log was written under (default: the policy in force).",
        ),
    ] = None,
    top: Annotated[int, typer.Option("--top", min=1, help="Clients, keys and methods to show.")] = 10,
    as_json: AsJson = False,
    state: State = None,
    admin: Admin = None,
    token: Token = None,
) -> None:
    """Show which clients, keys and methods another policy would have treated differently."""
    from nodegate.cli import output
    from nodegate.cli.inforce import in_force, load_file
    from nodegate.policy.replay import Replay

    loaded = load_file(new, kind)
    former = in_force(loaded.policy.kind, against, state, admin, token)
    run = Replay(former.policy, loaded.policy)
    malformed = _feed(run, log)
    document = run.document(top=top) | {"malformed": malformed, "against": former.where}
    for name in ("first", "last"):
        at = document[name]
        document[name] = at and datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")
    if as_json:
        output.print_json(document)
    else:
        _print_replay(document)


def _policy(
    kind: str | None, file: str | None, state: Path | None, admin: str | None, token: str | None
) -> tuple[Policy, str]:
    from nodegate.cli.inforce import SHIPPED, in_force, load_file

    if file is not None and file != SHIPPED:
        return load_file(Path(file), kind).policy, file
    if kind is None:
        raise _bad("--kind", "say which kind of node is asked, such as --kind iri, or give --policy FILE")
    found = in_force(kind, file, state, admin, token)
    return found.policy, found.where


def _feed(run: Replay, log: Path) -> int:
    """Feed every line of the log; returns how many are none. Raises Unavailable, Malformed for a file that
    has no line of an access log at all."""
    from nodegate.telemetry.accesslog import raw_lines
    from nodegate.views.access import parse_line

    malformed = good = 0
    if not log.is_file():
        raise Unavailable(f"{log} cannot be read: it is no file; a gateway's is STATE/access.log")
    for raw in raw_lines(log):
        try:
            line = parse_line(raw)
        except Malformed:
            malformed += 1
            continue
        good += 1
        run.feed(line)
    if malformed and not good:
        raise Malformed(f"{log} is no access log of nodegate: none of its {malformed} lines is one")
    return malformed


def _header(text: str) -> tuple[str, bytes]:
    name, colon, value = text.partition(":")
    if not colon or not name.strip():
        raise _bad("--header", f"write 'NAME: VALUE', not {text!r}")
    return name.strip(), value.strip().encode("utf-8", "surrogateescape")


def _body(text: str) -> bytes:
    if not text.startswith("@"):
        return text.encode("utf-8", "surrogateescape")
    if text == "@-":
        return sys.stdin.buffer.read()
    try:
        return Path(text[1:]).read_bytes()
    except OSError as error:
        raise _bad("--body", f"{text[1:]} cannot be read: {error.strerror}") from error


def _address(text: str | None) -> str | None:
    if text is None:
        return None
    try:
        return str(ipaddress.ip_address(text))
    except ValueError as error:
        raise _bad("--from", f"{text!r} is not an IP address") from error


def _bad(option: str, message: str) -> BadDocument:
    return BadDocument([Fault(file=option, line=None, key="", message=message)])


def _budget(policy: Policy, cost: int, key: str | None, trusted: bool) -> dict[str, Any]:
    """What share of the client's budget one such request takes; none for trusted clients."""
    from nodegate.policy.windows import budget_of

    bounds = budget_of(policy, key)
    windows = {"10s": bounds.per_10s, "1m": bounds.per_1m}
    return {
        window: {"units": units, "share": round(cost / units, 4), "requests": units // cost if cost else None}
        for window, units in windows.items()
        if units is not None and not trusted
    }


def _facts(document: dict[str, Any]) -> dict[str, object]:
    client = document["client"]
    facts: dict[str, object] = {"verdict": document["verdict"]}
    if document["verdict"] == "refuse":
        facts |= {
            "rule": document["rule"],
            "reason": document["reason"],
            "status": document["status"],
        }
    elif "outcome" in document:
        facts["outcome"] = document["outcome"]
    else:
        facts |= {
            "method": ", ".join(document["methods"]),
            "class, lane": f"{document['class']}, {document['lane']}",
            "cost": f"{document['cost']} units",
            "budget": "; ".join(
                f"{use['share']:.1%} of {use['units']} units in {window}"
                for window, use in document["budget"].items()
            )
            or "no limit",
            "rate": _windows(document["rate"]),
            "rate of all": _windows(document["rate_overall"]),
            "timeout": f"{document['timeout']:g} s",
            "second node": "may be asked" if document["idempotent"] else "never asked",
        }
    if client["address"] is not None:
        counted = f", counted as {client['counted_as']}" if client["counted_as"] != client["address"] else ""
        facts["client"] = client["address"] + counted + (", trusted" if client["trusted"] else "")
    if client["key"] is not None:
        facts["key"] = client["key"]
    if document["assumed"]:
        facts["assumed"] = ", ".join(f"{name}: {value}" for name, value in document["assumed"].items())
    return facts | {"policy": document["policy"]}


def _windows(rate: dict[str, int]) -> str:
    return ", ".join(f"{count} in {window}" for window, count in rate.items()) or "no limit"


def _print_replay(document: dict[str, Any]) -> None:
    from nodegate.cli import output, policytables

    screen = output.console()
    judged = document["requests"]
    facts: dict[str, object] = {
        "requests": f"{judged:,} of {document['kind']}, from {document['first']} to {document['last']}"
        if judged
        else f"none of {document['kind']}",
        "against": f"{document['against']}; it agrees with the log on {document['agrees']:,} of {judged:,}",
        "now refused": f"{document['now_refused']:,}",
        "now allowed": f"{document['now_allowed']:,}",
        "cost": f"{document['cost_after']:,} units, was {document['cost_before']:,}",
        "clients": f"{document['clients_that_differ']:,} are treated differently",
    }
    for reason, count in document["not_judged"].items():
        facts[f"not judged: {count:,}"] = reason
    if document["other_kinds"]:
        facts["left out"] = f"{document['other_kinds']:,} lines of other kinds"
    if document["malformed"]:
        facts["malformed"] = f"{document['malformed']:,} lines could not be read"
    screen.print(output.facts_table(facts))
    for title, name in (("METHOD", "methods"), ("CLIENT", "clients"), ("KEY", "keys")):
        if document[name]:
            screen.print()
            screen.print(policytables.tallies_table(title, document[name]))
