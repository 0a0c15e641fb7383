"""Rules about the firewall and about who reaches which port, judged. Pure."""

from __future__ import annotations

from nodegate.host.doctor.facts import Expect, Facts, Unsure
from nodegate.host.doctor.firewall import firewall_of, known, listens, outsider, reached
from nodegate.host.doctor.packets import Way
from nodegate.host.doctor.verdicts import Verdict, bad, good, listed


def default_drop(facts: Facts, _expect: Expect) -> Verdict:
    """What happens to a connection that no rule speaks of."""
    firewall = firewall_of(facts)
    way = known(firewall.default(), "unnamed ports")
    if way is Way.DROP:
        return good(f"{firewall.name} drops")
    loaded = firewall.ruleset is not None and firewall.ruleset.filters()
    return bad(f"{firewall.name} accepts by default" if loaded or firewall.ufw else "no firewall is active")


def persistent(facts: Facts, _expect: Expect) -> Verdict:
    """Whether a firewall is started at boot; says nothing where none drops anything."""
    units = [name for name, on in facts.get("firewall_at_boot").items() if on]
    return good(f"{listed(units)} at boot") if units else bad("no firewall's unit is enabled")


def admin_closed(facts: Facts, expect: Expect) -> Verdict:
    """The admin API towards strangers."""
    return _closed(facts, expect.wanted.admin_port)


def node_closed(facts: Facts, expect: Expect) -> Verdict:
    """The node's own port towards strangers."""
    return _closed(facts, expect.wanted.node_port)


def _closed(facts: Facts, port: int) -> Verdict:
    """Held together: who listens, what the rules say, and what happened to a connection from outside.

    A connection that came through from an address of the operator's own proves nothing about strangers when the
    rules drop those; one that did not come through proves more than the rules.
    """
    met = reached(facts, port)
    ruleset = facts.maybe("nftables")
    published = ruleset is not None and firewall_of(facts).tcp(port) is Way.ACCEPT
    if not listens(facts, port) and met != "open" and not (published and _forwarded(facts, port)):
        return good(f"nobody listens on {port} but for this host itself")
    try:
        way = firewall_of(facts).tcp(port)
    except Unsure:
        if met is None:
            raise
        way = Way.UNKNOWN
    if way is Way.DROP:
        return good(
            f"the firewall drops strangers on {port}" + (f"; {outsider(facts)} may" if met == "open" else "")
        )
    if met == "open":
        return bad(f"{outsider(facts)} reached port {port}")
    if met in {"filtered", "refused"}:
        return good(f"{outsider(facts)} did not reach port {port} ({met})")
    known(way, f"port {port}")
    return bad(f"the firewall lets everybody reach port {port}")


def _forwarded(facts: Facts, port: int) -> bool:
    ruleset = firewall_of(facts).ruleset
    return ruleset is not None and ruleset.forwards(port)


def clients_open(facts: Facts, expect: Expect) -> Verdict | None:
    """The gateway's port towards strangers; concerns only hosts where a gateway listens."""
    port = expect.wanted.client_port
    if all(item["port"] != port for item in facts.get("listeners")):
        return None
    met = reached(facts, port)
    if met == "open":
        return good(f"{outsider(facts)} reached port {port}")
    if not listens(facts, port):
        return bad(f"the gateway listens on port {port} for this host alone")
    if met in {"filtered", "refused"}:
        return bad(f"{outsider(facts)} did not reach port {port} ({met})")
    way = known(firewall_of(facts).tcp(port), f"port {port}")
    return good(f"port {port} is let in") if way is Way.ACCEPT else bad(f"the firewall drops port {port}")


def ssh_open(facts: Facts, _expect: Expect) -> Verdict:
    """Whether the next login comes through."""
    ports = sorted({int(item["port"]) for item in facts.get("ssh_listeners")})
    firewall = firewall_of(facts)
    ways = {port: firewall.tcp(port) for port in ports}
    if Way.ACCEPT in ways.values():
        return good(f"port {listed(port for port, way in ways.items() if way is Way.ACCEPT)} is let in")
    met = [port for port in ports if reached(facts, port) == "open"]
    if met:
        return good(f"{outsider(facts)} reached port {listed(met)}; strangers are dropped")
    if Way.UNKNOWN in ways.values():
        raise Unsure("the rules for SSH use matches that are not understood here")
    return bad(
        f"no rule lets anybody reach SSH on {listed(ports)}; an allowed address would pass unseen here"
    )


def exposed(facts: Facts, expect: Expect) -> Verdict | None:
    """The commands that answered a question from outside."""
    if expect.kind not in {"iri", "evm"}:
        return None
    found = facts.get("exposed")
    if not found["asked"]:
        return good("no API port answers strangers")
    ports = listed(found["asked"])
    return (
        bad(f"port {ports} answers {listed(found['commands'], 8)}")
        if found["commands"]
        else good(f"closed on port {ports}")
    )
