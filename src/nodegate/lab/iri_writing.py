"""The commands of IRI's API that choose, attach, store and broadcast transactions. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from nodegate.lab import iri, iri_params
from nodegate.lab.answers import Rejected, Reply, Work
from nodegate.lab.iri import IriNode, Params, error, ok, unsynced, work
from nodegate.lab.transaction import SUPPLY, TRANSACTION_TRYTES, attached, field, hash_of
from nodegate.lab.trytes import NULL_HASH, made_up, value_of
from nodegate.model import Instant, Seconds


def get_transactions_to_approve(node: IriNode, params: Params) -> Work:
    reference = iri_params.trytes(node, params, "reference", 81) if "reference" in params else None
    depth = iri_params.integer(node, params, "depth")

    def is_old(now: Instant) -> bool:
        age = node.tangle.age_of(reference) if reference is not None else None
        return bool(age) and age is not None and age < node.view(now).solid.index - min(depth, iri.MAX_DEPTH)

    def hold(now: Instant) -> Seconds:
        return node.profile.stall if node.profile.stall and is_old(now) else node.profile.walk

    def run(now: Instant) -> Reply:
        legacy = not node.profile.release.describes_features
        if depth < 0 or (depth > iri.MAX_DEPTH and not legacy) or (legacy and depth == 0 and not reference):
            return error("Invalid depth input")
        if (refusal := unsynced(node, now)) is not None:
            return refusal
        known = reference is None or node.tangle.age_of(reference) is not None
        if not known and not legacy:
            return error("reference transaction not found")
        if is_old(now) and not node.profile.stall:
            return error("reference transaction is too old")
        return _approved(node, reference if known else None, now)

    return work("getTransactionsToApprove", run, hold=hold)


def _approved(node: IriNode, reference: str | None, now: Instant) -> Reply:
    """Two transactions that a new one may approve: old tips first, so that none is left behind."""
    tangle = node.tangle
    solid = node.view(now).solid.hash
    trunk = solid if tangle.get(solid) is not None else tangle.latest(now).hash
    branch = next(
        (
            tip
            for tip in tangle.tips()
            if tip != trunk and tangle.is_solid(tip) and tangle.is_consistent([tip, trunk])
        ),
        trunk,
    )
    if reference is not None and tangle.get(reference) is not None:
        branch = reference
    return ok(trunkTransaction=trunk, branchTransaction=branch)


def attach_to_tangle(node: IriNode, params: Params) -> Work:
    trunk = iri_params.trytes(node, params, "trunkTransaction", 81)
    branch = iri_params.trytes(node, params, "branchTransaction", 81)
    iri_params.integer(node, params, "minWeightMagnitude")
    bodies = iri_params.texts(node, params, "trytes", TRANSACTION_TRYTES)
    done: list[str] = []

    def steps(now: Instant) -> Iterator[None]:
        previous = None
        for place, body in enumerate(bodies):
            trytes = attached(
                body,
                trunk=previous or trunk,
                branch=trunk if previous else branch,
                milliseconds=int(now * 1000),
                nonce=made_up(f"{node.profile.id}/nonce/{now}/{place}", 27),
            )
            previous = hash_of(trytes)
            done.append(trytes)
            yield

    return work(
        "attachToTangle",
        lambda now: ok(trytes=done[::-1]),
        hold=lambda now: Seconds(node.profile.work * len(bodies)),
        steps=steps,
        interrupted=lambda: ok(trytes=[]),
    )


def interrupt_attaching(node: IriNode, params: Params) -> Work:
    del node, params
    return work("interruptAttachingToTangle", lambda now: ok(), interrupts=True)


def _stored(node: IriNode, command: str, bodies: list[str]) -> Work:
    def steps(now: Instant) -> Iterator[None]:
        for body in bodies:
            node.tangle.add(body)
            yield

    return work(command, lambda now: ok(), steps=steps)


def broadcast_transactions(node: IriNode, params: Params) -> Work:
    bodies = iri_params.texts(node, params, "trytes", TRANSACTION_TRYTES)
    # The real node's pipeline drops what is not valid and says nothing.
    return _stored(node, "broadcastTransactions", [body for body in bodies if _flaw(body) is None])


def store_transactions(node: IriNode, params: Params) -> Work:
    try:
        bodies = iri_params.texts(node, params, "trytes", TRANSACTION_TRYTES)
    except Rejected as rejected:
        text = next(iter(rejected.reply.document.values()), "null")
        raise Rejected(error(f"Error: {text}")) from rejected
    for body in bodies:
        if (flaw := _flaw(body)) is not None:
            raise Rejected(error(f"Error: {flaw}"))
    return _stored(node, "storeTransactions", bodies)


def _flaw(body: str) -> str | None:
    """What makes a transaction one that no node takes."""
    if abs(value_of(field(body, "value"))) > SUPPLY:
        return "Invalid transaction value"
    if field(body, "trunk") == NULL_HASH == field(body, "branch"):
        return "Invalid transaction: not attached"
    return None
