"""Rules about SSH, judged. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from nodegate.host.doctor.facts import Expect, Facts, Unsure
from nodegate.host.doctor.verdicts import Verdict, bad, good, listed

_WEAK_OFFERS = ("password", "keyboard-interactive")
_ROOT_BY_KEY = ("prohibit-password", "without-password", "forced-commands-only")


def root_login(facts: Facts, expect: Expect) -> Verdict:
    """PermitRootLogin."""
    value = _option(facts, "permitrootlogin")
    if value == expect.wanted.ssh_permit_root_login:
        return good("PermitRootLogin no")
    more = " (by key)" if value in _ROOT_BY_KEY else ""
    return bad(f"PermitRootLogin {value}{more}")


def passwords(facts: Facts, expect: Expect) -> Verdict:
    """What the files say, and what the running daemon offers to somebody without a key."""
    offers = facts.maybe("ssh_offers")
    weak = [word for word in offers or () if word in _WEAK_OFFERS]
    if weak:
        return bad(f"the daemon offers {listed(weak)}")
    wanted = {
        "passwordauthentication": expect.wanted.ssh_password_authentication,
        "kbdinteractiveauthentication": expect.wanted.ssh_kbd_interactive_authentication,
        "permitemptypasswords": expect.wanted.ssh_permit_empty_passwords,
    }
    try:
        wrong = [
            f"{name} {_option(facts, name)}"
            for name, value in wanted.items()
            if _option(facts, name) != value
        ]
    except Unsure:
        if offers:
            return good(f"the daemon offers {listed(offers)} only")
        raise
    return bad(listed(wrong)) if wrong else good("keys only")


def keys(facts: Facts, expect: Expect) -> Verdict:
    """Whether keys work, and who else may write them."""
    if _option(facts, "pubkeyauthentication") != expect.wanted.ssh_pubkey_authentication:
        return bad("PubkeyAuthentication is off")
    files = facts.get("ssh_keys")
    loose = sorted({path for file in files for path in file["loose"]})
    if loose:
        return bad(f"others may write {listed(loose)}")
    able = sorted({file["user"] for file in files if file["keys"]})
    if not able:
        return bad("no user has an authorized key: without passwords nobody can log in")
    return good(f"keys of {listed(able)}")


def port(facts: Facts, expect: Expect) -> Verdict:
    """Where the daemon listens, not where the files say."""
    ports = _ports(facts)
    if expect.ssh_port is not None:
        right = ports == [expect.ssh_port]
        return (
            good(f"port {expect.ssh_port}")
            if right
            else bad(f"listens on {_words(ports)}, not on {expect.ssh_port} alone")
        )
    return bad("listens on 22") if 22 in ports else good(f"port {_words(ports)}")


def daemon(facts: Facts, _expect: Expect) -> Verdict:
    """Whether what runs is what is on disk."""
    configured = sorted({int(word) for word in facts.get("ssh_config")["port"]})
    ports = _ports(facts)
    if configured != ports:
        return bad(f"listens on {_words(ports)}, the files say {_words(configured)}")
    running = facts.get("ssh_daemon")
    later = [path for path, changed in running["changed"].items() if changed > running["read_at"] + 1]
    if later:
        return bad(f"{listed(later)} changed after the daemon last read it")
    return good("read all its files")


def tries(facts: Facts, expect: Expect) -> Verdict:
    """MaxAuthTries and LoginGraceTime."""
    most, grace = int(_option(facts, "maxauthtries")), int(_option(facts, "logingracetime"))
    found = f"MaxAuthTries {most}, LoginGraceTime {grace}"
    fine = most <= expect.wanted.ssh_max_auth_tries and 0 < grace <= expect.wanted.ssh_login_grace_time
    return good(found) if fine else bad(found)


def x11(facts: Facts, expect: Expect) -> Verdict:
    """X11Forwarding."""
    value = _option(facts, "x11forwarding")
    return good("off") if value == expect.wanted.ssh_x11_forwarding else bad(f"X11Forwarding {value}")


def _option(facts: Facts, name: str) -> str:
    values = facts.get("ssh_config").get(name)
    if not values:
        raise Unsure(f"`sshd -T` says nothing about {name}")
    return str(values[-1])


def _ports(facts: Facts) -> list[int]:
    found = sorted({int(item["port"]) for item in facts.get("ssh_listeners")})
    if not found:
        raise Unsure("no SSH daemon listens")
    return found


def _words(ports: Iterable[int]) -> str:
    return ", ".join(str(number) for number in ports)
