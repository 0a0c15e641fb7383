"""A simulated EVM node: JSON-RPC 2.0 over HTTP, single and batch. Pure.

Enough for clients and probes that read the chain: all nodes of a lab share one chain of empty blocks.
"""

from __future__ import annotations

import hashlib
import json
from bisect import bisect_right
from collections.abc import Callable, Mapping
from typing import Any, Final

from nodegate.lab.answers import Rejected, Reply, Work
from nodegate.lab.faults import Fault, FaultName
from nodegate.lab.http1 import Request
from nodegate.model import Instant, Seconds

CHAIN_ID: Final = 1337  # what development chains use
OTHER_CHAIN_ID: Final = 31337
FIRST_HEIGHT: Final = 19_000_000
KEPT_BLOCKS: Final = 2_000
MAX_BATCH: Final = 1_000
_GAS_LIMIT: Final = 30_000_000
_EMPTY_ROOT: Final = "0x56e81f171bcc55a6ff8345e692c0f86e5b48e01b996cadc001622fb5e363b421"  # of an empty trie
_NO_UNCLES: Final = "0x1dcc4de8dec75d7aab85b567b6ccd41ad312451b948a7413f0a142fd40d49347"
_HEADERS: Final = {"Content-Type": "application/json", "Access-Control-Allow-Origin": "*"}

Result = Any


class Chain:
    """The chain that all EVM nodes of a lab share: when each block was made."""

    def __init__(self, *, seed: str, now: Instant, step: float = 2.0, history: int = 100) -> None:
        self.seed = seed
        self.first = FIRST_HEIGHT
        self._times = [Instant(now - (history - place) * step) for place in range(1, history + 1)]

    def extend(self, now: Instant) -> int:
        """Make the next block and return its height."""
        self._times.append(now)
        surplus = max(0, len(self._times) - KEPT_BLOCKS)
        self.first += surplus
        del self._times[:surplus]
        return self.first + len(self._times) - 1

    def height(self, now: Instant) -> int:
        """The newest block made at `now` or before."""
        return self.first + max(0, bisect_right(self._times, now) - 1)

    def time_of(self, height: int) -> int:
        """Seconds since the epoch of a block; blocks out of the kept range count back from its ends."""
        place = min(max(0, height - self.first), len(self._times) - 1)
        return max(0, int(self._times[place]) - max(0, self.first - height) * 2)

    def hash_of(self, height: int) -> str:
        """The block's hash, always the same for the same seed."""
        return "0x" + hashlib.sha3_256(f"{self.seed}/block/{height}".encode()).hexdigest()


class EvmNode:
    """One node; the chain is shared by all."""

    kind = "evm"

    def __init__(self, chain: Chain, *, name: str, delay: Seconds, peers: int = 8) -> None:
        self.chain = chain
        self.name = name
        self.delay = delay
        self.peers = peers
        self._fault: Fault | None = None
        self._since = Instant(0.0)

    def suffer(self, fault: Fault | None, now: Instant) -> None:
        self._fault, self._since = fault, now

    def headers(self) -> Mapping[str, str]:
        return _HEADERS

    def _has(self, name: FaultName) -> bool:
        return self._fault is not None and self._fault.name is name

    @property
    def chain_id(self) -> int:
        return OTHER_CHAIN_ID if self._has(FaultName.WRONG_CHAIN) else CHAIN_ID

    def known(self, now: Instant) -> int:
        """The newest block that the node has heard of."""
        seen = min(now, self._since) if self._has(FaultName.FROZEN) else now
        return self.chain.height(Instant(seen - self.delay))

    def height(self, now: Instant) -> int:
        known, fault = self.known(now), self._fault
        if fault is not None and fault.name is FaultName.LIE:
            return known + fault.milestones
        if fault is not None and fault.name is FaultName.LAG:
            return max(0, known - fault.milestones)
        return known

    def admit(self, request: Request, now: Instant) -> tuple[str, Reply | Work]:
        if request.method == "OPTIONS":
            allow = {
                "Access-Control-Allow-Methods": "POST, OPTIONS",
                "Access-Control-Allow-Headers": "Content-Type",
            }
            return "OPTIONS", Reply(headers=allow)
        if request.method != "POST":
            return "unreadable", Reply(status=405, headers={"Allow": "POST, OPTIONS"})
        try:
            data = json.loads(request.body)
        except (ValueError, RecursionError):
            return "unreadable", Reply(document=_error(None, -32700, "parse error"))
        if not isinstance(data, list):
            return self._counted(data), Reply(document=self._call(data, now))
        if not data:
            return "unreadable", Reply(document=_error(None, -32600, "empty batch"))
        if len(data) > MAX_BATCH:
            return "batch", Reply(document=_error(None, -32600, "batch too large"))
        return "batch", Reply(document=[self._call(item, now) for item in data])

    def _counted(self, data: object) -> str:
        method = data.get("method") if isinstance(data, dict) else None
        return method if isinstance(method, str) and method in METHODS else "unknown"

    def _call(self, data: object, now: Instant) -> dict[str, Any]:
        """One call's response object."""
        if not isinstance(data, dict) or not isinstance(data.get("method"), str):
            return _error(None, -32600, "invalid request")
        name, identity, params = data["method"], data.get("id"), data.get("params", [])
        if name not in METHODS:
            return _error(identity, -32601, f"the method {name} does not exist/is not available")
        if not isinstance(params, list):
            return _error(identity, -32602, "non-array args")
        try:
            return {"jsonrpc": "2.0", "id": identity, "result": METHODS[name](self, params, now)}
        except Rejected as rejected:
            return {"jsonrpc": "2.0", "id": identity, "error": rejected.reply.document}

    def encode(self, reply: Reply, duration: Seconds) -> bytes:
        del duration
        return b"" if reply.document is None else json.dumps(reply.document, separators=(",", ":")).encode()

    def __repr__(self) -> str:
        return f"<EvmNode {self.name} fault={self._fault.name if self._fault else None}>"


def _error(identity: Any, code: int, message: str) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": identity, "error": {"code": code, "message": message}}


def _bad_params(message: str) -> Rejected:
    return Rejected(Reply(document={"code": -32602, "message": message}))


def _syncing(node: EvmNode, params: list[Any], now: Instant) -> Result:
    if not node._has(FaultName.LAG):
        return False
    return {
        "startingBlock": hex(node.height(now)),
        "currentBlock": hex(node.height(now)),
        "highestBlock": hex(node.known(now)),
    }


def _block_by_number(node: EvmNode, params: list[Any], now: Instant) -> Result:
    if not params or not isinstance(params[0], str):
        raise _bad_params("missing value for required argument 0")
    return _block(node, _height_of(node, params[0], now), now)


def _height_of(node: EvmNode, tag: str, now: Instant) -> int:
    newest = node.height(now)
    tags = {
        "latest": newest,
        "pending": newest,
        "safe": max(0, newest - 32),
        "finalized": max(0, newest - 64),
        "earliest": 0,
    }
    if tag in tags:
        return tags[tag]
    try:
        if not tag.startswith("0x"):
            raise ValueError
        return int(tag, 16)
    except ValueError as error:
        raise _bad_params("invalid argument 0: hex string without 0x prefix or not hex") from error


def _block_by_hash(node: EvmNode, params: list[Any], now: Instant) -> Result:
    wanted = params[0] if params else None
    if not isinstance(wanted, str):
        raise _bad_params("missing value for required argument 0")
    newest = node.height(now)
    recent = range(newest, max(-1, newest - KEPT_BLOCKS), -1)
    found = next((height for height in recent if node.chain.hash_of(height) == wanted), None)
    return None if found is None else _block(node, found, now)


def _block(node: EvmNode, height: int, now: Instant) -> Result:
    if height > node.height(now):
        return None
    # A liar dates its invented blocks with the present, as a careful one would.
    at = int(now) if node._has(FaultName.LIE) else node.chain.time_of(height)
    return {
        "number": hex(height),
        "hash": node.chain.hash_of(height),
        "parentHash": node.chain.hash_of(height - 1) if height else "0x" + "0" * 64,
        "nonce": "0x0000000000000000",
        "sha3Uncles": _NO_UNCLES,
        "logsBloom": "0x" + "0" * 512,
        "transactionsRoot": _EMPTY_ROOT,
        "stateRoot": _EMPTY_ROOT,
        "receiptsRoot": _EMPTY_ROOT,
        "miner": "0x" + "0" * 40,
        "difficulty": "0x0",
        "totalDifficulty": "0x0",
        "extraData": "0x",
        "size": "0x220",
        "gasLimit": hex(_GAS_LIMIT),
        "gasUsed": "0x0",
        "timestamp": hex(at),
        "baseFeePerGas": "0x7",
        "mixHash": "0x" + "0" * 64,
        "transactions": [],
        "uncles": [],
    }


METHODS: Final[Mapping[str, Callable[[EvmNode, list[Any], Instant], Result]]] = {
    "eth_blockNumber": lambda node, params, now: hex(node.height(now)),
    "eth_chainId": lambda node, params, now: hex(node.chain_id),
    "eth_gasPrice": lambda node, params, now: "0x3b9aca00",
    "eth_getBalance": lambda node, params, now: "0x0",
    "eth_getBlockByHash": _block_by_hash,
    "eth_getBlockByNumber": _block_by_number,
    "eth_getLogs": lambda node, params, now: [],
    "eth_getTransactionCount": lambda node, params, now: "0x0",
    "eth_syncing": _syncing,
    "net_listening": lambda node, params, now: True,
    "net_peerCount": lambda node, params, now: hex(node.peers),
    "net_version": lambda node, params, now: str(node.chain_id),
    "web3_clientVersion": lambda node, params, now: "NodegateLab/v1.0.0/linux-amd64",
}
