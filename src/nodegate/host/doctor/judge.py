"""All rules over the facts of one host. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from nodegate.host.doctor import gateways, login, machine, node, openings
from nodegate.host.doctor.facts import Expect, Facts, Result, State, Unsure
from nodegate.host.doctor.verdicts import Check
from nodegate.host.rules import RULES

CHECKS: Mapping[str, Check] = {
    "ssh-root-login": login.root_login,
    "ssh-passwords": login.passwords,
    "ssh-keys": login.keys,
    "ssh-port": login.port,
    "ssh-daemon": login.daemon,
    "ssh-tries": login.tries,
    "ssh-x11": login.x11,
    "firewall-default-drop": openings.default_drop,
    "firewall-persistent": openings.persistent,
    "firewall-admin-closed": openings.admin_closed,
    "firewall-node-closed": openings.node_closed,
    "firewall-clients-open": openings.clients_open,
    "firewall-ssh-open": openings.ssh_open,
    "api-exposed": openings.exposed,
    "node-user": node.user,
    "node-privileges": node.privileges,
    "node-sandbox": node.sandbox,
    "node-restart": node.restart,
    "node-fd-limit": node.fd_limit,
    "node-fd-use": node.fd_use,
    "node-close-wait": node.close_wait,
    "node-owed": node.owed,
    "tls-certificate": machine.certificate,
    "tls-renewal": machine.renewal,
    "time-service": machine.time_service,
    "time-synchronized": machine.time_synchronized,
    "upgrades": machine.upgrades,
    "reboot-pending": machine.reboot,
    "disk-space": machine.disk,
    "memory": machine.memory,
    "journal-limit": machine.journal,
    "vrrp-restart": gateways.vrrp_restart,
    "vrrp-firewall": gateways.vrrp_firewall,
    "vrrp-address": gateways.vrrp_address,
    "haproxy-version": gateways.haproxy,
    "nodegate-version": gateways.nodegate,
    "socket-modes": gateways.sockets,
    "secret-modes": gateways.secrets,
}
"""Rule id → its check; a test holds this table and RULES together."""

STRANGE = (
    KeyError,
    TypeError,
    ValueError,
    IndexError,
    AttributeError,
    OverflowError,
    ZeroDivisionError,
    RecursionError,
)
"""What facts of another form than the script prints lead to: a host may say anything."""


def judge_facts(facts: Facts, expect: Expect) -> tuple[Result, ...]:
    """The results of all rules that concern the host, in the table's order. Never raises, whatever a host said."""
    results = []
    for rule in RULES:
        try:
            verdict = CHECKS[rule.id](facts, expect)
        except Unsure as error:
            results.append(Result(rule=rule, state=State.UNKNOWN, text=str(error)))
            continue
        except STRANGE as error:
            text = f"the host's facts have an unexpected form ({type(error).__name__}: {error})"
            results.append(Result(rule=rule, state=State.UNKNOWN, text=text))
            continue
        if verdict is not None:
            state = State.PASS if verdict.fine else State.FAIL
            results.append(Result(rule=rule, state=state, text=verdict.text))
    return tuple(results)
