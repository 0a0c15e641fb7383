"""What nodes are told of who asked, and how."""

from __future__ import annotations

from nodegate.haproxy.conditions import cond, if_found, unless_found
from nodegate.haproxy.config import Words, words
from nodegate.haproxy.services import Services
from nodegate.haproxy.serving import set_var, treatment_of
from nodegate.settings import Settings


def forwarding_lines(services: Services, settings: Settings) -> tuple[Words, ...]:
    """Who asked, and how: the headers that Fabio sets. What clients say of it themselves counts only from
    trusted proxies. A `Connection` header that names one of them would have the next hop remove it, so none is
    passed on."""
    scheme = "https" if services.rules.tls else "http"
    port = 443 if services.rules.tls else 80
    sent = "req.hdr(host),port_only"
    trusted = settings.fabio.trusted_proxies
    socket = cond("req.hdr(upgrade)", "-i", "-m", "str", "websocket")
    element = f"proto=%[var(txn.scheme)]; by=%[dst]; httpproto=http/%[req.ver]{'; tlsver=%[ssl_fc_protocol,lower]' if services.rules.tls else ''}"
    lines = [
        words("http-request", "del-header", "Connection"),
        words("http-request", "set-header", "Connection", "upgrade", "if", *socket),
        set_var("scheme", f"str({scheme})"),
        set_var("scheme", f"str({'wss' if services.rules.tls else 'ws'})", *socket),
        set_var("believed", "bool(true)", *cond("src", "-m", "ip", *trusted)) if trusted else (),
        *_told("Forwarded", f"for=%[var(txn.client)]; {element}", "%[req.fhdr(forwarded)]; by=%[dst]; httpproto=http/%[req.ver]", trusted),
        *_told("X-Real-IP", "%[var(txn.client)]", "", trusted),
        *_told("X-Forwarded-For", "%[var(txn.client)]", "%[req.fhdr(x-forwarded-for)], %[var(txn.client)]", trusted),
        *_told("X-Forwarded-Host", "%[req.hdr(host)]", "", trusted),
        *_told("X-Forwarded-Proto", "%[var(txn.scheme)]", "", trusted),
        *_told("X-Forwarded-Port", str(port), "", trusted),
    ]  # fmt: skip
    believed = ("!", *if_found("txn.believed")) if trusted else ()
    lines.append(
        words(
            "http-request",
            "set-header",
            "X-Forwarded-Port",
            f"%[{sent}]",
            "if",
            *cond(sent, "gt", 0),
            *believed,
        )
    )
    if services.treated:
        lines += [
            words("http-request", "set-header", "X-Forwarded-Prefix", f"%[{treatment_of('strip')}]", "if", *if_found("txn.cut")),
            set_var("to_host", treatment_of("host"), *if_found("txn.how")),
            words("http-request", "set-header", "Host", "%[var(txn.to_host)]", "if", *if_found("txn.to_host")),
        ]  # fmt: skip
    return tuple(line for line in lines if line)


def _told(name: str, own: str, more: str, trusted: tuple[str, ...]) -> tuple[Words, ...]:
    """One header: ours, or what a trusted proxy said, with `more` (empty: as it is) in its place."""
    if not trusted:
        return (words("http-request", "set-header", name, own),)
    given = (*if_found("txn.believed"), *cond(f"req.fhdr({name.lower()})", "-m", "found"))
    kept = words("http-request", "set-header", name, more, "if", *given) if more else ()
    flag = set_var("given", "bool(true)", *given)
    return tuple(
        line
        for line in (
            words("http-request", "unset-var(txn.given)"),
            flag,
            kept,
            words("http-request", "set-header", name, own, "if", *unless_found("txn.given")),
        )
        if line
    )
