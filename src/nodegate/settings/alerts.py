"""`[alerts]`: how long events are kept, what is worth waking somebody for, and by which way it is said."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator, model_validator

from nodegate.settings.base import Section
from nodegate.settings.checks import Name
from nodegate.settings.mail import Mailbox

SIGNALS: Mapping[str, str] = {
    "node-down": "seconds since a node that should serve went down",
    "node-degraded": "seconds since it was degraded",
    "node-unknown": "seconds since anything was known of it",
    "node-lag": "heights that a node is behind the tip it knows, else behind its pool",
    "node-neighbours": "neighbours that a node has",
    "node-still": "seconds since a node's height last rose",
    "node-no-height": "1 while a node answers without telling its height",
    "pool-empty": "1 while no node of a pool gets requests",
    "pool-still": "seconds since a pool's height rose, once that is unusually long",
    "pool-out": "share of a pool's nodes that are down or unknown, 0 to 1",
    "withheld": "changes of a pool that safety holds back",
    "registry-lost": "seconds since the registry was last read, while it cannot be",
    "haproxy-lost": "1 while HAProxy does not answer",
    "certificate-days": "days until the listener's certificate ends",
    "policy-faults": "policy documents that could not be taken",
    "peer-lost": "1 while another gateway of the cluster is gone",
    "channel-failed": "seconds since a channel stopped taking alerts",
}
"""What holds for a while and can be measured, with the value that `above` and `below` are compared with."""

OCCURRENCES = (
    "node-added", "node-removed", "intent", "refused", "registry-fault", "haproxy-restarted", "banned", "unbanned",
    "policy-applied", "policy-fault", "certificate-refused", "task-restarted", "started", "stopped", "scaled",
    "scaling-failed", "registered", "registration", "neighbour-dead", "neighbour-back",
)  # fmt: skip
"""Events that just happen: a rule on one of them fires at once and ends after `clear` seconds."""

Word = Literal["info", "warning", "critical"]

_NEEDS: Mapping[str, tuple[str, ...]] = {
    "email": ("to",),
    "webhook": ("url", "url_file"),
    "slack": ("url", "url_file"),
    "command": ("command",),
}
_TAKES: Mapping[str, frozenset[str]] = {
    "email": frozenset({"to"}),
    "webhook": frozenset({"url", "url_file", "secret", "secret_file"}),
    "slack": frozenset({"url", "url_file"}),
    "command": frozenset({"command"}),
}


class ChannelSettings(Section):
    """`[alerts.channels.NAME]`: one way by which alerts leave."""

    kind: Literal["email", "webhook", "slack", "command"] = Field(
        description="email goes through the server of `[mail]`; slack is the JSON that Slack, Mattermost and Rocket.Chat take"
    )
    to: tuple[Mailbox, ...] = Field((), description="for email: who gets the mails")
    url: SecretStr | None = Field(
        None, description="for webhook and slack: where alerts are sent by POST; http or https"
    )
    url_file: Path | None = Field(
        None, description="file that holds the URL, for those that are secrets themselves, as Slack's are"
    )
    secret: SecretStr | None = Field(
        None, description="for webhook: key of the signature; better in `secret_file` or in a variable"
    )
    secret_file: Path | None = Field(None, description="file that holds the key of the signature")
    command: tuple[str, ...] = Field(
        (), description="for command: program and arguments; it gets the alert as JSON on standard input"
    )
    timeout: float = Field(10.0, gt=0, le=300, description="seconds for one attempt")
    severity: Word = Field("warning", description="only alerts of at least this severity")
    resolved: bool = Field(True, description="also say when an alert is over")

    @field_validator("url")
    @classmethod
    def _is_url(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and (fault := url_fault(value.get_secret_value())) is not None:
            raise ValueError(fault)
        return value

    @model_validator(mode="after")
    def _fits_kind(self) -> ChannelSettings:
        needs = _NEEDS[self.kind]
        given = [name for name in needs if getattr(self, name)]
        if len(given) != 1:
            words = " or ".join(f"`{name}`" for name in needs)
            raise ValueError(f"a channel of kind {self.kind!r} needs {words}{', not both' if given else ''}")
        every = frozenset().union(*_TAKES.values())
        strange = [name for name in sorted(every - _TAKES[self.kind]) if getattr(self, name)]
        if strange:
            raise ValueError(f"a channel of kind {self.kind!r} has no `{strange[0]}`")
        if self.secret and self.secret_file:
            raise ValueError("give `secret` or `secret_file`, not both")
        if self.command and not self.command[0]:
            raise ValueError("`command` must begin with a program")
        return self


class RuleSettings(Section):
    """`[alerts.rules.NAME]`: when to alert. A rule of a shipped name changes only what it says itself."""

    enabled: bool = Field(True, description="false switches a shipped rule off")
    on: tuple[str, ...] = Field(
        (), description="signals or events that the rule looks at; needed for a new rule"
    )
    severity: Word | None = Field(None, description="None: that of the shipped rule, else warning")
    above: float | None = Field(None, description="the signal's value must be greater")
    below: float | None = Field(None, description="the signal's value must be smaller")
    hold: float | None = Field(
        None,
        ge=0,
        le=604_800,
        description="seconds it must last before the alert fires; None: 0. Not for events, which do not last",
    )
    clear: float | None = Field(
        None,
        ge=0,
        le=604_800,
        description="seconds it must be over before the alert ends; None: 30, so that what flaps is said once",
    )
    group: float | None = Field(
        None, ge=0, le=86_400, description="seconds to wait for more of the same; None: `alerts.group`"
    )
    repeat: float | None = Field(
        None, ge=60, le=2_592_000, description="seconds after which it is said again; None: `alerts.repeat`"
    )
    subjects: tuple[str, ...] = Field(
        (), description="patterns such as `node/eu-*`; empty: any, see `nodegate events` for how they look"
    )
    pools: tuple[str, ...] = Field((), description="pools that it is for; empty: all")
    node_kinds: tuple[str, ...] = Field((), description="kinds of node that it is for; empty: all")
    channels: tuple[str, ...] = Field((), description="names of channels; empty: all")
    mutes: tuple[str, ...] = Field(
        (), description="rules that say nothing of a subject while this one fires for it"
    )

    @field_validator("on")
    @classmethod
    def _is_known(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            if name not in SIGNALS and name not in OCCURRENCES:
                raise ValueError(f"{name!r} is no signal or event; docs/alerts.md lists them")
        return names


class AlertsSettings(Section):
    """`[alerts]`: the event log, and what alerts have in common."""

    keep_events: int = Field(
        100_000,
        ge=100,
        le=10_000_000,
        description="events kept; the oldest go first. 100,000 take about 30 MB",
    )
    keep_days: float = Field(90.0, gt=0, le=3650, description="days that events are kept")
    default_rules: bool = Field(
        True, description="use the shipped rules, whose numbers come from the IRI playbook; false: only yours"
    )
    group: float = Field(
        10.0,
        ge=0,
        le=3600,
        description="seconds that a rule waits for more of the same before it says all at once",
    )
    repeat: float = Field(
        3600.0, ge=60, le=2_592_000, description="seconds after which an alert that goes on is said again"
    )
    keep_undelivered: float = Field(
        259_200.0,
        ge=60,
        le=2_592_000,
        description="seconds that an alert waits for a channel that does not take it; older ones are dropped",
    )
    queue: int = Field(
        1000, ge=1, le=100_000, description="alerts that wait for a channel at most; the oldest go first"
    )
    still_after: float | None = Field(
        None,
        gt=0,
        le=86_400,
        description="seconds without a new height after which a pool stands still; None: 20 of its usual steps, within 1 and 30 minutes",
    )
    channels: Mapping[Name, ChannelSettings] = Field(
        default_factory=dict, description="tables of their own, see below; none: alerts are only listed"
    )
    rules: Mapping[Name, RuleSettings] = Field(
        default_factory=dict, description="tables of their own, see below"
    )

    @model_validator(mode="after")
    def _channels_exist(self) -> AlertsSettings:
        for name, rule in self.rules.items():
            for channel in rule.channels:
                if channel not in self.channels:
                    raise ValueError(f"rules.{name}.channels: there is no channel {channel!r}")
        return self


def url_fault(text: str) -> str | None:
    """What is wrong with a channel's URL, None when nothing is. The URL is not repeated: it may be a secret."""
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        return "is no URL"
    if parts.scheme not in {"http", "https"} or not parts.hostname or port == 0:
        return "must be an http or https URL, such as https://alerts.example.org/hook"
    if not text.isascii() or not text.isprintable() or " " in text:
        return "must have no spaces, control characters or characters beyond ASCII"
    return None
