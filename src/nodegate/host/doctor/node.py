"""Rules about the node's process, judged. Pure."""

from __future__ import annotations

from nodegate.host.doctor.facts import Expect, Facts, Unsure
from nodegate.host.doctor.verdicts import Verdict, bad, good


def user(facts: Facts, _expect: Expect) -> Verdict:
    """Not root."""
    node = facts.get("node")
    words = f"{node['name']} ({node['pid']}) runs as {node['user']}"
    return bad(words) if node["uid"] == 0 else good(words)


def privileges(facts: Facts, _expect: Expect) -> Verdict:
    """No capabilities, and no way to get some."""
    node = facts.get("node")
    wrong = [
        *(["has capabilities"] if node["capabilities"] else []),
        *([] if node["no_new_privileges"] else ["may gain privileges by setuid programs"]),
    ]
    return bad(f"{node['name']} {' and '.join(wrong)}") if wrong else good("no capabilities, NoNewPrivileges")


def sandbox(facts: Facts, expect: Expect) -> Verdict:
    """`systemd-analyze security`."""
    level = float(facts.get("node_exposure"))
    words = f"exposure {level:.1f} of 10, at most {expect.wanted.sandbox_exposure:.1f}"
    return good(words) if level <= expect.wanted.sandbox_exposure else bad(words)


def restart(facts: Facts, expect: Expect) -> Verdict:
    """The unit's Restart."""
    unit = facts.get("node_unit")
    words = f"{unit['unit']} has Restart={unit['restart'] or 'no'}"
    return good(words) if unit["restart"] in expect.wanted.restart else bad(words)


def fd_limit(facts: Facts, expect: Expect) -> Verdict:
    """The running process's limit."""
    limit = facts.get("node_descriptors")["limit"]
    if limit is None:
        return good("unlimited")
    words = f"limit {limit:,}, wanted {expect.wanted.fd_limit:,}"
    return good(words) if limit >= expect.wanted.fd_limit else bad(words)


def fd_use(facts: Facts, expect: Expect) -> Verdict:
    """Descriptors in use."""
    found = facts.get("node_descriptors")
    if found["open"] is None:
        raise Unsure("needs root: before Linux 6.2 only root sees how many are open")
    if found["limit"] is None:
        return good(f"{found['open']:,} open, unlimited")
    words = f"{found['open']:,} of {found['limit']:,} open"
    return good(words) if found["open"] <= expect.wanted.fd_use * found["limit"] else bad(words)


def close_wait(facts: Facts, expect: Expect) -> Verdict:
    """Connections that only the client closed."""
    count = facts.get("node_sockets")["close_wait"]
    words = f"{count:,} in CLOSE_WAIT on port {expect.wanted.node_port}"
    return good(words) if count <= expect.wanted.close_wait else bad(words)


def owed(facts: Facts, expect: Expect) -> Verdict:
    """Requests that wait: unread in a socket, or read and not answered where the kernel was asked for that."""
    sockets = facts.get("node_sockets")
    count = max(sockets["unread"], sockets.get("owed") or 0)
    words = f"{count:,} of {sockets['established'] + sockets['close_wait']:,} connections wait for an answer"
    return good(words) if count <= expect.wanted.owed else bad(words)
