"""What is wrong with a node and how to mend it, in words for its owner. Pure.

The reasons are those of `nodegate check`; the remedies stand here, by the rule or the kind of failure.
"""

from __future__ import annotations

from dataclasses import dataclass

from nodegate.health import Finding
from nodegate.model import Failure, FailureKind, Reading, Status
from nodegate.views.words import readable


@dataclass(frozen=True, slots=True, kw_only=True)
class Advice:
    """One thing about a node: what was seen, what to do; `grave` keeps it from joining."""

    text: str
    remedy: str
    grave: bool


_RULES: dict[str, str] = {
    "chain": "Join the network of this fleet: check which network, coordinator or chain id your node is set up for.",
    "expected": "Check that this address leads to the node's own API and not to a web server or an error page in front of it.",
    "height": "Restart your node; if it still says so, its database is damaged and has to be synchronised anew.",
    "syncing": "Wait until your node has caught up with the network, then try again.",
    "lag": "Wait until your node has caught up with the network, then try again. If it never does, check its neighbours, its disk and its clock.",
    "head age": "Check that your node hears of new blocks (its peers), and that its clock is right (NTP).",
    "peers": "Give your node more neighbours, and check that their port is open in your firewall.",
    "version": "Update the node's software.",
    "app": "Check the kind that you chose, and that this address leads to the node itself.",
    "pow": "Allow proof of work (attachToTangle) on your node.",
    "latency": "It may join, but gets less traffic. Check its load, its disk and its line.",
    "exposed": "It may join, but gets less traffic. Close these commands to strangers (IRI: REMOTE_LIMIT_API): whoever finds your node could steer it.",
}
_FAILURES: dict[FailureKind, str] = {
    FailureKind.NAME: "Check the spelling, and that the name has an address record in the DNS.",
    FailureKind.REFUSED: "Check that the node runs, that its API listens on all addresses (IRI: API_HOST = 0.0.0.0), and the port.",
    FailureKind.TIMEOUT: "Check that your firewall and your router let this port in from the internet, and that the node is not overloaded.",
    FailureKind.TLS: "Check the certificate and its name, or use http:// if the node speaks plain HTTP.",
    FailureKind.CLOSED: "Check the node's log; also try https:// if something in front of it speaks TLS.",
    FailureKind.STATUS: "Check that the API is open to strangers: the calls that read must need no password.",
    FailureKind.REDIRECT: "Give the address that answers itself; redirects are not followed.",
    FailureKind.TOO_LARGE: "Check that this address leads to the node's API.",
    FailureKind.MALFORMED: "Check the kind that you chose, and that this address leads to the node's own API.",
}


def advice_on(found: Failure | tuple[Finding, ...]) -> tuple[Advice, ...]:
    """Everything that speaks against a node, with remedies; empty when all is well."""
    if isinstance(found, Failure):
        return (Advice(text=_sentence(found.text), remedy=_FAILURES[found.kind], grave=True),)
    return tuple(
        Advice(
            text=_sentence(f"it {finding.text}" if finding.text[:3] in _VERBS else finding.text),
            remedy=_RULES.get(finding.rule, "Ask the operator of this fleet."),
            grave=finding.severity is Status.DOWN,
        )
        for finding in found
    )


_VERBS = frozenset({"is ", "say", "ans", "doe"})
"""How findings begin that are written with the node's name before them."""


def facts(reading: Reading) -> str:
    """What the node says of itself, in a line."""
    parts = [" ".join(part for part in (reading.app, reading.version) if part)]
    if reading.height is not None:
        parts.append(f"height {reading.height:,}")
    if reading.peers is not None:
        parts.append(f"{reading.peers} neighbours")
    return readable(", ".join(part for part in parts if part))


def _sentence(text: str) -> str:
    clean = readable(text.strip().rstrip("."))
    return f"{clean[:1].upper()}{clean[1:]}." if clean else ""
