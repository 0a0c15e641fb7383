"""News from around the snapshot: bans, policies, the certificate, other gateways, channels, single faults. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from nodegate.alerting.facts import CERTIFICATE_DAYS, DAY, Facts
from nodegate.alerting.news import GONE, News, Said, state
from nodegate.model import Instant, Snapshot
from nodegate.telemetry.kinds import Kind, Severity, event
from nodegate.views import iso


def _bans(said: Said, snapshot: Snapshot, facts: Facts, now: Instant) -> Iterator[News]:
    if facts.bans is None:
        return
    for client, until in facts.bans.items():
        subject = f"client/{client}"
        if ("ban", subject) not in said:
            by = "policy" if client in facts.automatic else "operator"
            text = f"{client} is banned by the {by} until {iso(until)}"
            told = event(now, Kind.BANNED, subject, text, by=by, until=iso(until))
            yield News("ban", subject, "banned", told)
    for topic, subject in said:
        client = subject.removeprefix("client/")
        if topic == "ban" and client not in facts.bans:
            told = event(now, Kind.UNBANNED, subject, f"{client} is not banned any more")
            yield News(topic, subject, GONE, told)


def _policies(said: Said, snapshot: Snapshot, facts: Facts, now: Instant) -> Iterator[News]:
    for kind, version in (facts.policies or {}).items():
        subject = f"policy/{kind}"
        was = said.get(("policy", subject))
        if was != version:
            text = f"version {version} of the policy of {kind} is in force"
            told = event(now, Kind.POLICY_APPLIED, subject, text, version=version, before=was)
            yield News("policy", subject, version, None if was is None else told)
    for fault in facts.policy_faults:
        if ("policy-fault", fault) not in said:
            yield News("policy-fault", fault, "said", event(now, Kind.POLICY_FAULT, "gateway", fault))
    if facts.policies is not None:
        for topic, fault in said:
            if topic == "policy-fault" and fault not in facts.policy_faults:
                yield News(topic, fault, GONE, None)


def _certificate(said: Said, snapshot: Snapshot, facts: Facts, now: Instant) -> Iterator[News]:
    if facts.certificate_ends is None:
        return
    days = (facts.certificate_ends - now) / DAY
    ends = iso(facts.certificate_ends)
    words = f"ends in {days:.0f} days, on {ends}" if days > 0 else f"has ended, on {ends}"
    severity = Severity.CRITICAL if days <= 3 else Severity.WARNING
    bad = event(
        now, Kind.CERTIFICATE_ENDING, "gateway", f"the listener's certificate {words}",
        severity=severity, ends=ends,
    )  # fmt: skip
    good = event(
        now, Kind.CERTIFICATE_GOOD, "gateway", f"the listener's certificate lasts until {ends}", ends=ends
    )
    ending = days <= CERTIFICATE_DAYS
    yield from state(said, "certificate", "gateway", bad if ending else good, quiet=not ending)


def _peers(said: Said, snapshot: Snapshot, facts: Facts, now: Instant) -> Iterator[News]:
    for peer, there in (facts.peers or {}).items():
        subject = f"peer/{peer}"
        good = event(now, Kind.PEER_BACK, subject, f"gateway {peer} is there")
        bad = event(now, Kind.PEER_LOST, subject, f"gateway {peer} is gone")
        yield from state(said, "peer", subject, good if there else bad, quiet=False)


def _channels(said: Said, snapshot: Snapshot, facts: Facts, now: Instant) -> Iterator[News]:
    for name, (_, why) in facts.failing.items():
        subject = f"channel/{name}"
        bad = event(
            now, Kind.CHANNEL_FAILED, subject, f"channel {name} does not take alerts, they wait: {why}"
        )
        yield from state(said, "channel", subject, bad, quiet=False)
    for topic, subject in said:
        name = subject.removeprefix("channel/")
        if topic == "channel" and name not in facts.failing:
            good = event(now, Kind.CHANNEL_BACK, subject, f"channel {name} takes alerts again")
            yield from state(said, topic, subject, good, quiet=False)


def _faults(said: Said, snapshot: Snapshot, facts: Facts, now: Instant) -> Iterator[News]:
    """Sentences that are said once, and again only after they were gone."""
    records = () if snapshot.inventory is None else snapshot.inventory.faults
    groups = (("refused", Kind.REFUSED, snapshot.refused), ("record", Kind.REGISTRY_FAULT, records))
    for topic, kind, faults in groups:
        for fault in faults:
            if (topic, fault) not in said:
                subject = "haproxy" if kind is Kind.REFUSED else "registry"
                yield News(topic, fault, "said", event(now, kind, subject, fault))
        for other, fault in said:
            if other == topic and fault not in faults:
                yield News(topic, fault, GONE, None)


FINDERS = (_bans, _policies, _certificate, _peers, _channels, _faults)
