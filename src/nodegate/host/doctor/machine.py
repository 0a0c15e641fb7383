"""Rules about the machine: certificates, clock, upgrades, room. Pure."""

from __future__ import annotations

import re

from nodegate.dataplane.certificate import certificate_ends
from nodegate.host.doctor.facts import Expect, Facts, Unsure
from nodegate.host.doctor.verdicts import Verdict, bad, good, listed

_DAY = 86_400.0


def certificate(facts: Facts, _expect: Expect) -> Verdict | None:
    """None of them has ended."""
    ends = _ends(facts)
    if not ends:
        return None
    dead = [f"{path} ended {-left / _DAY:.0f} days ago" for path, left in ends.items() if left <= 0]
    return bad(listed(dead)) if dead else good(f"{len(ends)} valid")


def renewal(facts: Facts, expect: Expect) -> Verdict | None:
    """All of them have some time to go; those that have ended are another rule's."""
    ends = {path: left for path, left in _ends(facts).items() if left > 0}
    if not ends:
        return None
    soon = [
        f"{path}: {left / _DAY:.0f} days"
        for path, left in ends.items()
        if left < expect.wanted.certificate_days * _DAY
    ]
    return bad(listed(soon)) if soon else good(f"at least {min(ends.values()) / _DAY:.0f} days left")


def _ends(facts: Facts) -> dict[str, float]:
    """Seconds until each certificate ends. Raises Unsure when one could not be read."""
    found: dict[str, float] = {}
    closed = []
    for item in facts.get("certificates"):
        moment = certificate_ends("\n".join(item.get("chain", ())))
        if moment is None:
            closed.append(f"{item['path']}: {item.get('unknown', 'not a certificate that can be read')}")
        else:
            found[item["path"]] = moment - facts.now
    if closed and not any(left <= 0 for left in found.values()):
        raise Unsure(listed(closed))
    return found


def time_service(facts: Facts, _expect: Expect) -> Verdict | None:
    """A service runs; in a container the clock is the outer machine's business."""
    if facts.get("identity")["container"]:
        return None
    services = facts.get("time_service")
    return good(f"{listed(services)} runs") if services else bad("no time service runs")


def time_synchronized(facts: Facts, _expect: Expect) -> Verdict:
    """What the kernel says."""
    container = facts.get("identity")["container"]
    state = facts.maybe("time_synchronized") if container else facts.get("time_synchronized")
    if state is not None and state["synchronized"]:
        return good(f"within {state['max_error']:.3f} s")
    if container:
        raise Unsure(f"the clock belongs to the machine outside this container ({container}); look there")
    return bad("the kernel calls its clock unsynchronised")


def upgrades(facts: Facts, _expect: Expect) -> Verdict:
    """Installed, switched on, and started by a timer."""
    state = facts.get("upgrades")
    missing = [word for word, there in (("not installed", state["installed"]), ("not switched on", state["on"]),
                                        ("its timer is not enabled", state["timer"])) if not there]  # fmt: skip
    return bad(f"{state['how']}: {listed(missing)}") if missing else good(f"{state['how']} is on")


def reboot(facts: Facts, _expect: Expect) -> Verdict:
    """Nothing waits."""
    packages = facts.get("reboot")
    return bad(f"{listed(packages)} since the last boot") if packages else good("none")


def disk(facts: Facts, expect: Expect) -> Verdict:
    """Free bytes and inodes of every file system."""
    least = expect.wanted.disk_free
    full = []
    for item in facts.get("disks"):
        if item["free"] < least:
            full.append(f"{item['mount']} has {item['free']:.0%} of its space left")
        elif item["free_inodes"] is not None and item["free_inodes"] < least:
            full.append(f"{item['mount']} has {item['free_inodes']:.0%} of its inodes left")
    tightest = min(facts.get("disks"), key=lambda item: float(item["free"]))
    return bad(listed(full)) if full else good(f"{tightest['mount']} has {tightest['free']:.0%} left")


def memory(facts: Facts, expect: Expect) -> Verdict:
    """Available memory."""
    state = facts.get("memory")
    share = state["available"] / state["total"]
    words = f"{state['available'] / 2**30:.1f} of {state['total'] / 2**30:.1f} GiB available"
    return good(words) if share >= expect.wanted.memory_free else bad(words)


def journal(facts: Facts, _expect: Expect) -> Verdict:
    """Any upper size."""
    size = facts.get("journal")
    return (
        good(f"SystemMaxUse={size}")
        if size
        else bad("SystemMaxUse is not set: a tenth of the file system, at most 4 GB")
    )


def at_least(version: str, wanted: str) -> bool:
    """Whether `2.8.25-5cf5d06` is 2.8 or newer; numbers are compared as numbers. Raises Unsure for no version."""
    numbers = [
        tuple(int(part) for part in re.findall(r"\d+", text.partition("-")[0])) for text in (version, wanted)
    ]
    if not all(numbers):
        raise Unsure(f"{version!r} is no version")
    return numbers[0] >= numbers[1]
