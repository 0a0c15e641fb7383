"""What the firewall costs a JSON-RPC call: `bench.firewall` with EVM nodes and the policy for them."""

from __future__ import annotations

import json

from bench.figures import Outcome
from bench.firewall import Calls, measure

CONTRACT = "0x" + "a1" * 20
BALANCE_OF = "0x70a08231" + "00" * 12 + "b2" * 20
CALLS = (
    ("eth_blockNumber",),
    ("eth_call", {"to": CONTRACT, "data": BALANCE_OF}, "latest"),
    ("eth_getBalance", CONTRACT, "latest"),
)
"""What wallets ask all the time."""

EVM = Calls(
    kind="evm",
    simplest="eth_blockNumber",
    bodies=tuple(
        json.dumps(
            {"jsonrpc": "2.0", "id": number, "method": method, "params": params}, separators=(",", ":")
        ).encode()
        for number, (method, *params) in enumerate(CALLS)
    ),
)


async def run() -> Outcome:
    """Raises NodegateError when a target does not answer every request."""
    return await measure(EVM)
