"""What a capture says, as one value for tables and JSON."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from operator import attrgetter
from typing import Any

from nodegate.host.capture.analysis import Analysis
from nodegate.host.capture.causes import Finding, Silence, findings_of
from nodegate.host.capture.commands import excerpt
from nodegate.host.capture.packets import address_words
from nodegate.host.capture.tally import Ended, Request, Tally, Waits, waits_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One command. Sizes are bytes of bodies, latencies seconds from the last byte of the request to the head of the
    answer, None without answers. `unpaired` of the answered have no latency, for the capture lost the beginning of
    the answer. `pending` are younger than what counts as unanswered."""

    command: str
    calls: int
    answered: int
    unpaired: int
    failed: int
    unanswered: int
    pending: int
    request_bytes: int
    request_bytes_max: int
    answer_bytes: int
    answer_bytes_max: int
    p50: float | None
    p90: float | None
    p99: float | None
    longest: float | None
    clients: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Single:
    """One request: `at` is seconds since the epoch, `seconds` how long its answer took, or it has waited."""

    command: str
    client: str
    at: float
    seconds: float
    status: int
    state: str
    bytes: int
    body: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientRow:
    """One client, by address."""

    client: str
    requests: int
    unanswered: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """All of it. `requests` are HTTP requests, of which a batch is one."""

    ports: tuple[int, ...]
    first: float | None
    last: float | None
    seconds: float
    packets: int
    segments: int
    dropped: int
    requests: int
    answered: int
    unpaired: int
    unanswered: int
    pending: int
    unfinished: int
    answers_alone: int
    forgotten: int
    commands: tuple[Row, ...]
    clients: tuple[ClientRow, ...]
    slowest: tuple[Single, ...]
    oldest: tuple[Single, ...]
    findings: tuple[Finding, ...]
    notes: tuple[str, ...]

    def document(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def report_of(
    analysis: Analysis, *, after: float, top: int, dropped: int = 0, damage: str | None = None
) -> Report:
    """The report now. Requests that wait for `after` seconds or longer count as unanswered; the lists have `top`
    entries. `dropped` packets did not reach the analysis; `damage` says what is wrong with the capture."""
    book, now = analysis.book, analysis.now
    waiting = _waiting(analysis)
    silent = [item for item in waiting if item.seconds >= after or item.request.gave_up is not None]
    rows = _rows(analysis, waiting, after)
    clients = book.clients_unanswered.copy()
    clients.update(item.request.client for item in silent)
    oldest = sorted([*silent, *book.given_up], key=attrgetter("seconds"), reverse=True)[:top]
    return Report(
        ports=tuple(sorted(analysis.ports)),
        first=analysis.first,
        last=now if analysis.first is not None else None,
        seconds=0.0 if analysis.first is None else now - analysis.first,
        packets=analysis.packets,
        segments=analysis.segments,
        dropped=dropped,
        requests=book.requests,
        answered=book.requests - book.unanswered - len(waiting) - book.forgotten,
        unpaired=book.unpaired,
        unanswered=book.unanswered + len(silent),
        pending=len(waiting) - len(silent),
        unfinished=book.unfinished,
        answers_alone=book.answers_alone,
        forgotten=book.forgotten,
        commands=rows,
        clients=tuple(
            ClientRow(client=address_words(client), requests=count, unanswered=clients[client])
            for client, count in sorted(
                book.clients.items(), key=lambda item: (-clients[item[0]], -item[1])
            )[:top]
        ),
        slowest=tuple(_single(item, "answered") for item in sorted(book.slowest, reverse=True)[:top]),
        oldest=tuple(_single(item, item.request.gave_up or "it waits") for item in oldest),
        findings=findings_of(_silences(analysis, silent)),
        notes=_notes(analysis, dropped, damage),
    )  # fmt: skip


def _waiting(analysis: Analysis) -> list[Ended]:
    """Requests without an answer, with how long they have waited. Those whose client is gone are not told apart."""
    return [
        Ended(max(0.0, analysis.now - request.began), number, request)
        for number, (conversation, request) in enumerate(
            (conversation, request)
            for conversation in analysis.open.values()
            if conversation.open
            for request in conversation.waiting()
        )
    ]


def _rows(analysis: Analysis, waiting: list[Ended], after: float) -> tuple[Row, ...]:
    open_: dict[str, list[int]] = {}
    for item in waiting:
        for command in item.request.commands:
            name = command if command in analysis.book.commands else "(others)"
            open_.setdefault(name, [0, 0])[0 if item.seconds >= after else 1] += 1
    rows = [
        _row(command, tally, *open_.get(command, [0, 0]))
        for command, tally in analysis.book.commands.items()
    ]  # fmt: skip
    return tuple(sorted(rows, key=lambda row: (-row.unanswered, -row.calls, row.command)))


def _row(command: str, tally: Tally, unanswered: int, pending: int) -> Row:
    latencies = tally.latencies
    return Row(
        command=command,
        calls=tally.calls,
        answered=tally.answered,
        unpaired=tally.unpaired,
        failed=tally.failed,
        unanswered=tally.unanswered + unanswered,
        pending=pending,
        request_bytes=tally.in_bytes,
        request_bytes_max=tally.in_max,
        answer_bytes=tally.out_bytes,
        answer_bytes_max=tally.out_max,
        p50=latencies.percentile(0.5),
        p90=latencies.percentile(0.9),
        p99=latencies.percentile(0.99),
        longest=latencies.largest if latencies.total else None,
        clients=len(tally.clients),
    )


def _single(item: Ended, state: str) -> Single:
    request: Request = item.request
    names = dict.fromkeys(request.commands)
    return Single(
        command=", ".join(list(names)[:5]) + (", …" if len(names) > 5 else ""),
        client=address_words(request.client),
        at=request.began,
        seconds=item.seconds,
        status=request.status,
        state=state,
        bytes=request.size,
        body=excerpt(request.excerpt),
    )


def _silences(analysis: Analysis, silent: list[Ended]) -> list[Silence]:
    found: dict[tuple[str, bool], Waits] = {}
    for key, waits in analysis.book.silent.items():
        copy = found[key] = Waits()
        copy.count, copy.shortest, copy.longest = waits.count, waits.shortest, waits.longest
    for item in silent:
        waits_of(found, item.request).add(item.seconds)
    return [
        Silence(
            command=command,
            reference=reference,
            count=waits.count,
            shortest=waits.shortest,
            longest=waits.longest,
        )
        for (command, reference), waits in found.items()
    ]


def _notes(analysis: Analysis, dropped: int, damage: str | None) -> tuple[str, ...]:
    """What an operator has to know about the capture itself."""
    book = analysis.book
    busiest = ", ".join(f"{port} ({count:,})" for port, count in analysis.other_ports.most_common(3))
    ports = " or ".join(map(str, sorted(analysis.ports)))
    links = ", ".join(f"{link} ({count:,} packets)" for link, count in analysis.unknown_links.most_common(3))
    told = (
        (damage is not None, f"the capture {damage}; what comes after that is not counted"),
        (dropped > 0, f"{dropped:,} packets were lost while capturing: the counts are too low"),
        (
            analysis.cut > 0,
            f"{analysis.cut:,} packets were cut when they were captured: use `tcpdump -s 0`, or commands stay unknown",
        ),
        (analysis.fragments > 0, f"{analysis.fragments:,} IP fragments are not counted"),
        (bool(links), f"packets of link types that are not known were passed over: {links}"),
        (
            analysis.packets > 0 and not analysis.segments,
            f"none of {analysis.packets:,} packets is of TCP port {ports}"
            + (f"; the busiest ports are {busiest}" if busiest else ""),
        ),
        (
            analysis.segments > 0 and not book.requests,
            f"{analysis.segments:,} packets of port {ports}, and no HTTP/1 request in them: TLS? Capture behind its end",
        ),
        (book.forgotten > 0, f"{book.forgotten:,} requests were forgotten: too many connections at once"),
    )  # fmt: skip
    return tuple(text for holds, text in told if holds)
