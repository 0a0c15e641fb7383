"""What ansible-playbook said, and what became of each host. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from nodegate.errors import Malformed


class Outcome(StrEnum):
    """How it ended for one host, from good to bad."""

    SAME = "same"
    CHANGED = "changed"
    REFUSED = "refused"
    UNREACHABLE = "unreachable"
    FAILED = "failed"


EXIT_CODES: Mapping[Outcome, int] = {
    Outcome.SAME: 0, Outcome.CHANGED: 0, Outcome.REFUSED: 9, Outcome.UNREACHABLE: 4, Outcome.FAILED: 1,
}  # fmt: skip
"""As for the errors of the same meaning: Unsafe, Unavailable, and everything else."""

REFUSAL = "Refuse what would lock the operator out"
PUT_BACK = "Say so"
"""The step that says that a guarded change was undone; its words need no name before them."""
UNDONE = "SSH and firewall"
"""In the names of the steps that are undone then: they changed nothing that stayed."""
QUIET = ("Take the new way in", "Remember the way in", "Note what went wrong")
"""Steps that only think."""

_CAUSES: tuple[tuple[str, str], ...] = (
    (r"Missing sudo password|[Ss]udo: a password is required|Incorrect sudo password|incorrect password attempt",
     "the user may not become root: `--ask-sudo-password` asks for the password; or give it NOPASSWD in /etc/sudoers.d"),
    (r"not in the sudoers file|is not allowed to execute",
     "the user may not use sudo: `usermod -aG sudo USER` as root, or enter by another one (ssh.first_user)"),
    (r"sudo: (command )?not found|sudo: No such file", "sudo is not installed there: `apt-get install sudo` as root"),
    (r"REMOTE HOST IDENTIFICATION HAS CHANGED|Host key verification failed",
     "the host's key is not the one that is known: if it was installed anew, take the old one out with `ssh-keygen -R ADDRESS`"),
    (r"Permission denied \(|Too many authentication failures",
     "the key is not let in: see `ssh.user`, `ssh.key` and, the first time, `ssh.first_user` (`ssh-copy-id USER@ADDRESS`)"),
    (r"UNPROTECTED PRIVATE KEY", "ssh refuses the private key, others may read it: `chmod 0600` it"),
    (r"python3: (command )?not found|The module interpreter .* was not found|No start of json char found",
     "there is no Python 3 on the host: `apt-get install python3`"),
    (r"Connection timed out|Connection refused|No route to host|Could not resolve hostname|Data could not be sent",
     "the connection broke off; if SSH and firewall were being changed, the host puts them back by itself"),
)  # fmt: skip


@dataclass(slots=True)
class HostReport:
    """What became of one host. `changes` are the steps that changed something, in order."""

    name: str
    outcome: Outcome = Outcome.SAME
    step: str = ""
    changes: list[str] = field(default_factory=list)
    diffs: list[str] = field(default_factory=list)
    message: str = ""

    def document(self) -> dict[str, Any]:
        """As `--json` prints it."""
        return {
            "host": self.name, "outcome": self.outcome.value, "changed": len(self.changes),
            "changes": self.changes, "diffs": self.diffs, "message": self.message,
        }  # fmt: skip


class Progress:
    """Follows the events of one run. `hosts` is what is known so far, by name."""

    def __init__(self, names: tuple[str, ...]) -> None:
        self.hosts = {name: HostReport(name) for name in names}
        self.ended = False

    def take(self, line: str) -> HostReport | None:
        """One line of the callback plugin; returns the host that it was about, if it was about one.

        Raises Malformed for a line that is not the plugin's.
        """
        try:
            event: dict[str, Any] = json.loads(line)
            kind = event["event"]
        except (ValueError, KeyError, TypeError) as error:
            raise Malformed(
                f"ansible-playbook said what nodegate does not understand: {line[:200]}"
            ) from error
        if kind == "stats":
            self.ended = True
        host = self.hosts.get(str(event.get("host")))
        if host is None:
            if kind == "task":
                self._begin(str(event["task"]))
            return None
        if kind == "diff":
            host.diffs.append(str(event["text"]))
        else:
            _STEPS[kind](host, event)
        return host

    def _begin(self, task: str) -> None:
        for host in self.hosts.values():
            if host.outcome in {Outcome.SAME, Outcome.CHANGED}:
                host.step = task


def _went_well(host: HostReport, event: Mapping[str, Any]) -> None:
    if event["changed"] and event["task"] not in QUIET:
        what = event["item"]
        host.changes.append(f"{event['task']}: {what}" if what else str(event["task"]))
        if host.outcome is Outcome.SAME:
            host.outcome = Outcome.CHANGED


def _went_wrong(host: HostReport, event: Mapping[str, Any]) -> None:
    host.outcome = Outcome.REFUSED if event["task"] == REFUSAL else Outcome.FAILED
    message = str(event["message"])
    cause = explained(message)
    if event["task"] == PUT_BACK:
        host.changes = [change for change in host.changes if UNDONE not in change]
    told = host.outcome is Outcome.REFUSED or event["task"] == PUT_BACK
    host.message = message if told else f"{event['task']}: {cause or _short(message)}"


def _was_unreachable(host: HostReport, event: Mapping[str, Any]) -> None:
    host.outcome = Outcome.UNREACHABLE
    host.message = explained(str(event["message"])) or _short(str(event["message"]))


_STEPS = {"ok": _went_well, "failed": _went_wrong, "unreachable": _was_unreachable}


def explained(message: str) -> str | None:
    """What an operator can do about Ansible's message; None for one that is not known."""
    return next((words for pattern, words in _CAUSES if re.search(pattern, message)), None)


def _short(message: str) -> str:
    """The end of a long message: what a tool says last is what went wrong."""
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    return "\n".join(lines[-6:])[-1500:] or "no reason given"


def exit_code(reports: list[HostReport]) -> int:
    """The worst outcome's."""
    order = list(Outcome)
    return EXIT_CODES[max((report.outcome for report in reports), key=order.index, default=Outcome.SAME)]
