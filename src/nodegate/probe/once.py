"""One probe of one node: all that its kind asks, within one deadline."""

from __future__ import annotations

from nodegate.errors import Malformed
from nodegate.model import Answer, Failure, FailureKind, Node, Observation, Reading, Seconds
from nodegate.ports import Adapter, Clock
from nodegate.probe.exchange import REDIRECTS, Deadline, Exchanger, Target
from nodegate.protocols.fields import quote
from nodegate.settings import ProbeSettings

# An adapter that always has one more question would hold its probe until the timeout.
MAX_QUESTIONS = 32


async def probe_once(
    adapter: Adapter,
    node: Node,
    settings: ProbeSettings,
    clock: Clock,
    *,
    exchanger: Exchanger | None = None,
    target: Target | None = None,
) -> Observation:
    """Ask one node everything its kind asks; all questions together have `settings.timeout` seconds.

    Whatever the node does becomes part of the observation. Raises Unavailable when this machine cannot ask.
    """
    if exchanger is None:
        async with Exchanger(max_bytes=settings.max_bytes) as own:
            return await probe_once(adapter, node, settings, clock, exchanger=own, target=target)
    began = clock.now()
    target = target or Target.of(node)
    deadline = Deadline.within(settings.timeout)
    answers: tuple[Answer, ...] = ()
    address: str | None = None
    failure: Failure | None = None
    while failure is None and len(answers) < MAX_QUESTIONS and (questions := adapter.ask(node, answers)):
        for question in questions[: MAX_QUESTIONS - len(answers)]:
            exchanged = await exchanger.ask(target, question, deadline)
            address = exchanged.address or address
            if isinstance(exchanged.outcome, Failure):
                failure = exchanged.outcome
                break
            answers += (exchanged.outcome,)
    now = clock.now()
    return Observation(
        node_id=node.id,
        at=now,
        duration=Seconds(now - began),
        outcome=failure or _read(adapter, node, answers),
        latency=answers[0].duration if answers else None,
        address=address,
    )


def _read(adapter: Adapter, node: Node, answers: tuple[Answer, ...]) -> Reading | Failure:
    """The adapter's reading, or its complaint with the kind that the last status suggests."""
    try:
        return adapter.read(node, answers)
    except Malformed as error:
        last = answers[-1] if answers else None
        if last is not None and last.status in REDIRECTS:
            place = f" to {quote(last.location)}" if last.location else ""
            text = f"status {last.status}, a redirect{place}; give the URL that answers itself"
            return Failure(kind=FailureKind.REDIRECT, text=text)
        good = last is None or 200 <= last.status < 300
        return Failure(kind=FailureKind.MALFORMED if good else FailureKind.STATUS, text=str(error))
