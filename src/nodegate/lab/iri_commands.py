"""Every command of IRI's API, one function each, and the table that routes them. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from zlib import crc32

from nodegate.lab import iri, iri_params, iri_writing
from nodegate.lab.answers import Rejected, Reply, Work
from nodegate.lab.iri import Handler, IriNode, Params, error, ok, unsynced, work
from nodegate.lab.transaction import GENESIS
from nodegate.model import Instant

_FIND_FIELDS: Final = {
    "bundles": "bundle",
    "addresses": "address",
    "tags": "tag",
    "approvees": "approvee",
}
_GIB = 1024**3


# --- the node itself ---


def _get_node_info(node: IriNode, params: Params) -> Work:
    del params
    return Work(command="getNodeInfo", run=lambda now: Reply(document=_node_info(node, now)))


def _node_info(node: IriNode, now: Instant) -> dict[str, Any]:
    release = node.profile.release
    view = node.view(now)
    # A release that does not name its coordinator shows another network by its application name.
    tips, missing = node.tangle.counts()
    testnet = node.wrong_chain and not release.describes_features
    document: dict[str, Any] = {
        "appName": "IRI Testnet" if testnet else "IRI",
        "appVersion": release.app_version,
        "jreAvailableProcessors": 8,
        "jreFreeMemory": 2 * _GIB + int(now * 1_000_003) % _GIB,
        "jreVersion": "1.8.0_252",
        "jreMaxMemory": 8 * _GIB,
        "jreTotalMemory": 4 * _GIB,
        "latestMilestone": view.latest.hash,
        "latestMilestoneIndex": view.latest.index,
        "latestSolidSubtangleMilestone": view.solid.hash,
        "latestSolidSubtangleMilestoneIndex": view.solid.index,
        "milestoneStartIndex": node.started,
        "neighbors": len(node.neighbors),
        "packetsQueueSize": 0,
        "time": int(now * 1000),
        "tips": tips,
        "transactionsToRequest": missing,
    }
    if release.describes_features:
        document["lastSnapshottedMilestoneIndex"] = node.started
        document["features"] = _features(node)
        document["coordinatorAddress"] = node.coordinator
        document["dbSizeInBytes"] = 12 * _GIB
    return document


def _features(node: IriNode) -> list[str]:
    remote_pow = [] if "attachToTangle" in node.profile.remote_limited else ["RemotePOW"]
    return ["snapshotPruning", "dnsRefresher", *remote_pow, "WereAddressesSpentFrom"]


def _get_node_api_configuration(node: IriNode, params: Params) -> Work:
    del params
    document = {
        "maxFindTransactions": iri.MAX_FIND,
        "maxRequestsList": iri.MAX_REQUEST_LIST,
        "maxGetTrytes": iri.MAX_TRYTES,
        "maxBodyLength": iri.MAX_BODY_CHARACTERS,
        "testNet": False,
        "milestoneStartIndex": node.started,
    }
    return work("getNodeAPIConfiguration", lambda now: Reply(document=document))


def _get_neighbors(node: IriNode, params: Params) -> Work:
    del params
    return work(
        "getNeighbors", lambda now: ok(neighbors=[_neighbor(node, uri, now) for uri in node.neighbors])
    )


def _neighbor(node: IriNode, uri: str, now: Instant) -> dict[str, Any]:
    scheme, _, address = uri.partition("://")
    seen = node.heard(uri, now)
    share = 2 + crc32(uri.encode()) % 7  # no two neighbours bring the same
    sent = (node.tangle.latest(now).index - node.joined.get(uri, 0)) * 6
    return {
        "address": address,
        "domain": address.rpartition(":")[0],
        "numberOfAllTransactions": seen * share * 3,
        "numberOfRandomTransactionRequests": seen // 3,
        "numberOfNewTransactions": seen * share,
        "numberOfInvalidTransactions": 0,
        "numberOfStaleTransactions": seen // 100,
        "numberOfSentTransactions": sent,
        "numberOfDroppedSentPackets": 0,
        "connectionType": scheme,
        "connected": True,
    }


def _add_neighbors(node: IriNode, params: Params) -> Work:
    uris = iri_params.texts(node, params, "uris")

    def run(now: Instant) -> Reply:
        added = 0
        for uri in uris:
            if _is_uri(uri) and uri not in node.neighbors and len(node.neighbors) < iri.MAX_NEIGHBORS:
                node.neighbors.append(uri)
                node.joined[uri] = node.tangle.latest(now).index
                added += 1
        return ok(addedNeighbors=added)

    return work("addNeighbors", run)


def _remove_neighbors(node: IriNode, params: Params) -> Work:
    uris = iri_params.texts(node, params, "uris")

    def run(now: Instant) -> Reply:
        before = len(node.neighbors)
        node.neighbors = [uri for uri in node.neighbors if uri not in uris]
        return ok(removedNeighbors=before - len(node.neighbors))

    return work("removeNeighbors", run)


def _is_uri(uri: str) -> bool:
    scheme, _, rest = uri.partition("://")
    host, _, port = rest.rpartition(":")
    return scheme in {"tcp", "udp"} and bool(host) and port.isascii() and port.isdigit()


def _set_api_rate_limit(node: IriNode, params: Params) -> Work:
    iri_params.integer(node, params, "limit")
    return work("setApiRateLimit", lambda now: ok())


# --- reading the tangle ---


def _get_tips(node: IriNode, params: Params) -> Work:
    del params
    return work("getTips", lambda now: ok(hashes=node.tangle.tips()))


def _get_missing_transactions(node: IriNode, params: Params) -> Work:
    del params
    return work("getMissingTransactions", lambda now: ok(hashes=node.tangle.missing()))


def _find_transactions(node: IriNode, params: Params) -> Work:
    wanted = {
        name: _tags(node, params) if name == "tags" else iri_params.hashes(node, params, name)
        for name in _FIND_FIELDS
        if name in params
    }

    def run(now: Instant) -> Reply:
        if not wanted:
            return iri_params.invalid(node, "Invalid parameters").reply
        sets = [_found(node, name, values) for name, values in wanted.items()]
        found = set.intersection(*sets)
        if len(found) > iri.MAX_FIND:
            return error("Could not complete request")
        return ok(hashes=sorted(found))

    return work("findTransactions", run)


def _found(node: IriNode, name: str, values: list[str]) -> set[str]:
    found = node.tangle.find(_FIND_FIELDS[name], values)
    # A tag that nobody carries is looked up among the old tags.
    return found or (node.tangle.find("obsolete tag", values) if name == "tags" else found)


def _tags(node: IriNode, params: Params) -> list[str]:
    tags = [tag.ljust(27, "9") for tag in iri_params.texts(node, params, "tags")]
    if any(not tag.strip("9") for tag in tags):
        raise iri_params.invalid(node, "Invalid tag input")
    return [tag[:27] for tag in tags]


def _get_trytes(node: IriNode, params: Params) -> Work:
    names = iri_params.texts(node, params, "hashes", 81)

    def run(now: Instant) -> Reply:
        # A transaction that the node does not have reads as all nines.
        found = [(node.tangle.get(name) or GENESIS).trytes for name in names]
        return error("Could not complete request") if len(found) > iri.MAX_TRYTES else ok(trytes=found)

    return work("getTrytes", run)


def _get_balances(node: IriNode, params: Params) -> Work:
    addresses = iri_params.texts(node, params, "addresses", 81)
    tips = iri_params.texts(node, params, "tips", 81) if "tips" in params else []
    if node.profile.release.asks_threshold:
        threshold = iri_params.integer(node, params, "threshold")
        if not 0 < threshold <= 100:
            raise Rejected(error("Illegal 'threshold'"))

    def run(now: Instant) -> Reply:
        missing = next((tip for tip in tips if node.tangle.get(tip) is None), None)
        if missing is not None:
            return error(f"Tip not found: {missing}")
        if tips and not node.tangle.is_consistent(tips):
            return error("Tips are not consistent")
        solid = node.view(now).solid
        pending = node.tangle.changes(tips) or {}
        balances = [
            str(node.tangle.balance(address, solid.index) + pending.get(address, 0)) for address in addresses
        ]
        return ok(balances=balances, references=tips or [solid.hash], milestoneIndex=solid.index)

    return work("getBalances", run)


def _were_addresses_spent_from(node: IriNode, params: Params) -> Work:
    addresses = iri_params.texts(node, params, "addresses", 81)
    return work(
        "wereAddressesSpentFrom",
        lambda now: ok(states=[node.tangle.was_spent(address) for address in addresses]),
    )


def _get_inclusion_states(node: IriNode, params: Params) -> Work:
    names = iri_params.texts(node, params, "transactions", 81)
    tips = iri_params.texts(node, params, "tips", 81) if node.profile.release.asks_tips else []

    def run(now: Instant) -> Reply:
        if (refusal := unsynced(node, now)) is not None:
            return refusal
        if any(node.tangle.get(tip) is None for tip in tips):
            return error("One of the tips is absent")
        limit = node.view(now).solid.index
        if node.profile.release.asks_tips:
            limit = max((node.tangle.confirmed_at(tip) or 0 for tip in tips), default=0)
        pending = node.tangle.pending(tips)
        states = [name in pending or 0 < (node.tangle.confirmed_at(name) or 0) <= limit for name in names]
        return ok(states=states)

    return work("getInclusionStates", run)


def _check_consistency(node: IriNode, params: Params) -> Work:
    tails = iri_params.texts(node, params, "tails", 81)

    def run(now: Instant) -> Reply:
        if (refusal := unsynced(node, now)) is not None:
            return refusal
        return _consistency(node, tails)

    return work("checkConsistency", run)


def _consistency(node: IriNode, tails: list[str]) -> Reply:
    for tail in tails:
        held = node.tangle.get(tail)
        if held is None or not node.tangle.is_solid(tail):
            return ok(state=False, info=f"tails are not solid (missing a referenced tx): {tail}")
        if held.current_index != 0:
            return error(f"Invalid transaction, not a tail: {tail}")
        if not node.tangle.bundle_of(held):
            return ok(state=False, info=f"tails are not consistent (bundle is invalid): {tail}")
    if not node.tangle.is_consistent(tails):
        reason = "would lead to inconsistent ledger state or below max depth"
        return ok(state=False, info=f"tails are not consistent ({reason})")
    return ok(state=True, info="")


COMMANDS: Final[Mapping[str, Handler]] = {
    "addNeighbors": _add_neighbors,
    "attachToTangle": iri_writing.attach_to_tangle,
    "broadcastTransactions": iri_writing.broadcast_transactions,
    "checkConsistency": _check_consistency,
    "findTransactions": _find_transactions,
    "getBalances": _get_balances,
    "getInclusionStates": _get_inclusion_states,
    "getMissingTransactions": _get_missing_transactions,
    "getNeighbors": _get_neighbors,
    "getNodeAPIConfiguration": _get_node_api_configuration,
    "getNodeInfo": _get_node_info,
    "getTips": _get_tips,
    "getTransactionsToApprove": iri_writing.get_transactions_to_approve,
    "getTrytes": _get_trytes,
    "interruptAttachingToTangle": iri_writing.interrupt_attaching,
    "removeNeighbors": _remove_neighbors,
    "setApiRateLimit": _set_api_rate_limit,
    "storeTransactions": iri_writing.store_transactions,
    "wereAddressesSpentFrom": _were_addresses_spent_from,
}
