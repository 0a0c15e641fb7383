"""Kind `evm`: Ethereum's JSON-RPC over HTTP, as geth, reth, Nethermind, Besu, Erigon, anvil and IOTA's wasp
speak it.

One batch of calls per probe, single calls when the node refuses batches. Sources: the Ethereum JSON-RPC
specification (ethereum/execution-apis; quantities are hexadecimal without leading zeros) and what the nodes
do: wasp answers eth_syncing with false and net_peerCount with 0 whatever happens, anvil has no peers.

Options: `peers` (default true) asks net_peerCount, switch it off for nodes whose answer means nothing;
`batch` (default true) tries a batch first, switch it off for nodes that are known to refuse.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from nodegate.errors import Malformed
from nodegate.model import Answer, Criteria, Instant, Node, Question, Reading, Seconds, Traffic
from nodegate.protocols import options
from nodegate.protocols.fields import MAX_TEXT, quote
from nodegate.protocols.jsonrpc import (
    METHOD_NOT_FOUND,
    Call,
    Reply,
    batch,
    read_batch,
    read_single,
    refuses_batch,
    single,
)

_QUANTITY = re.compile(r"0x(?:0|[1-9a-fA-F][0-9a-fA-F]*)")
_VERSION = re.compile(r"v?(\d+\.\d.*)")

_PEERS = Call(method="net_peerCount")
_CALLS = (
    Call(method="eth_chainId"),
    Call(method="eth_syncing"),
    Call(method="eth_blockNumber"),
    Call(method="eth_getBlockByNumber", params=("latest", False)),
    Call(method="web3_clientVersion"),
)


class Evm:
    """The adapter of kind `evm`."""

    kind = "evm"
    # Not in the list: eth_sendRawTransaction. The chain takes a transaction only once, but the second node
    # answers "already known" or "nonce too low", so that a success would look like a failure. Filters live
    # in one node. debug_ and trace_ calls change nothing but are so heavy that a second try does harm.
    traffic = Traffic(
        method_key="method",
        idempotent=frozenset(
            {
                "eth_accounts",
                "eth_blobBaseFee",
                "eth_blockNumber",
                "eth_call",
                "eth_chainId",
                "eth_createAccessList",
                "eth_estimateGas",
                "eth_feeHistory",
                "eth_gasPrice",
                "eth_getBalance",
                "eth_getBlockByHash",
                "eth_getBlockByNumber",
                "eth_getBlockReceipts",
                "eth_getBlockTransactionCountByHash",
                "eth_getBlockTransactionCountByNumber",
                "eth_getCode",
                "eth_getLogs",
                "eth_getProof",
                "eth_getStorageAt",
                "eth_getTransactionByBlockHashAndIndex",
                "eth_getTransactionByBlockNumberAndIndex",
                "eth_getTransactionByHash",
                "eth_getTransactionCount",
                "eth_getTransactionReceipt",
                "eth_getUncleByBlockHashAndIndex",
                "eth_getUncleByBlockNumberAndIndex",
                "eth_getUncleCountByBlockHash",
                "eth_getUncleCountByBlockNumber",
                "eth_maxPriorityFeePerGas",
                "eth_protocolVersion",
                "eth_syncing",
                "net_listening",
                "net_peerCount",
                "net_version",
                "web3_clientVersion",
                "web3_sha3",
            }
        ),
    )
    # max_lag: proxyd's default; peers and block age have no default because chains differ too much (wasp and
    # anvil have no peers, some chains make blocks only when there is something to put in).
    criteria = Criteria(max_lag=8, max_latency=Seconds(2.0))

    _options: Mapping[str, options.Check] = {"peers": options.truth, "batch": options.truth}

    def faults(self, node: Node) -> tuple[str, ...]:
        """See `nodegate.ports.Adapter.faults`."""
        return options.faults(node, self._options)

    def ask(self, node: Node, answers: tuple[Answer, ...]) -> tuple[Question, ...]:
        """The batch first; single calls after a refused batch, or at once without the option `batch`."""
        calls = _calls(node)
        if not options.is_on(node, "batch", default=True):
            return tuple(single(call) for call in calls[len(answers) :])
        if not answers:
            return (batch(calls),)
        if not refuses_batch(answers[0]):
            return ()
        return tuple(single(call) for call in calls[len(answers) - 1 :])

    def read(self, node: Node, answers: tuple[Answer, ...]) -> Reading:
        """The reading. Raises Malformed as `nodegate.ports.Adapter.read` says."""
        replies = {reply.method: reply for reply in _replies(node, answers)}
        syncing, sync_tip = _syncing(replies["eth_syncing"].value())
        number = quantity(replies["eth_blockNumber"].value(), "eth_blockNumber")
        block = replies["eth_getBlockByNumber"].value()
        if not isinstance(block, dict):
            raise Malformed("eth_getBlockByNumber: the latest block is not an object")
        height = quantity(block.get("number"), "eth_getBlockByNumber: number")
        app, version = _client(replies["web3_clientVersion"])
        return Reading(
            # What the node can hand out is its height; a number without a block is only a claim.
            height=height,
            claimed_tip=max(height, number, sync_tip),
            syncing=syncing,
            peers=_peers(replies.get(_PEERS.method)),
            chain=str(quantity(replies["eth_chainId"].value(), "eth_chainId")),
            app=app,
            version=version,
            head_time=Instant(float(quantity(block.get("timestamp"), "eth_getBlockByNumber: timestamp"))),
        )


def quantity(value: Any, name: str) -> int:
    """A hexadecimal quantity as a whole number from 0 to 2^64-1. Raises Malformed naming `name`."""
    if not isinstance(value, str) or len(value) > 18 or _QUANTITY.fullmatch(value) is None:
        found = quote(value, 40) if isinstance(value, str) else f"a JSON {type(value).__name__}"
        found = "missing or null" if value is None else found
        raise Malformed(f"{name} is {found}, not a hexadecimal quantity such as 0x1a")
    return int(value, 16)


def _calls(node: Node) -> tuple[Call, ...]:
    return (*_CALLS, _PEERS) if options.is_on(node, "peers", default=True) else _CALLS


def _replies(node: Node, answers: tuple[Answer, ...]) -> tuple[Reply, ...]:
    calls = _calls(node)
    batched = options.is_on(node, "batch", default=True)
    if not answers:
        raise Malformed("no answer")
    if batched and (len(answers) == 1 or not refuses_batch(answers[0])):
        return read_batch(calls, answers[0])
    singles = answers[1:] if batched else answers
    if len(singles) != len(calls):
        raise Malformed(f"{len(singles)} answers to {len(calls)} calls")
    return tuple(read_single(call, answer) for call, answer in zip(calls, singles, strict=True))


def _syncing(value: Any) -> tuple[bool, int]:
    """Whether the node says it is syncing, and the highest block it then knows of (0: it does not say)."""
    if isinstance(value, bool):
        return value, 0
    if not isinstance(value, dict):
        raise Malformed("eth_syncing is neither false nor an object")
    highest = value.get("highestBlock")
    return True, 0 if highest is None else quantity(highest, "eth_syncing: highestBlock")


def _peers(reply: Reply | None) -> int | None:
    """The number of peers; None when it was not asked or the node has no such method."""
    if reply is None or reply.error_code == METHOD_NOT_FOUND:
        return None
    return quantity(reply.value(), "net_peerCount")


def _client(reply: Reply) -> tuple[str | None, str | None]:
    """Software and version of `Geth/name/v1.14.0-stable/linux/go1.22`; the method is optional, many
    gateways close it."""
    if reply.error is not None or reply.result is None:
        return None, None
    name = reply.result
    if not isinstance(name, str) or not name or len(name) > MAX_TEXT or not name.isprintable():
        raise Malformed(f"web3_clientVersion is not a string of 1 to {MAX_TEXT} printable characters")
    app, *parts = name.split("/")
    versions = (match.group(1) for part in parts if (match := _VERSION.fullmatch(part)) is not None)
    return app or None, next(versions, None)
