"""Requests for the engines: any bytes, mutated JSON, JSON near the policy's rules, heads."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import strategies as st

from guard.cases import cases

_SEEDS = [case.body for case in cases() if len(case.body) < 2000]
_TOKENS = [
    *(
        token.encode()
        for token in [
            "{",
            "}",
            "[",
            "]",
            ",",
            ":",
            '"',
            "\\",
            "\\u0061",
            "\\ud800",
            "\\udc00",
            "\\n",
            "/",
            "-",
            "+",
            ".",
            "e9",
            "1e999",
            "1e100",
            "2E-007",
            "1.25",
            "0",
            "1",
            "-0",
        ]
    ),
    *(b"null", b"true", b"false", b"latest", b"earliest", b"0x", b"0x10", b'"depth":3,', b'"Depth"', b"id"),
    *(b"9007199254740992", b"9007199254740993", b" ", b"\n", b"\t", b"\x00", b"\x1f", b"\x7f", b"\xff"),
    *(b"\xc3\xa9", b"\xc5\xbf", b"\xe2\x84\xaa", b"\xf0\x9f\x98\x80"),
]


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """A body of the corpus with a few pieces cut, replaced or put in."""
    body = bytearray(draw(st.sampled_from(_SEEDS)))
    for _ in range(draw(st.integers(0, 4))):
        start = draw(st.integers(0, len(body)))
        end = min(len(body), start + draw(st.sampled_from([0, 0, 1, 2, 8])))
        body[start:end] = draw(st.one_of(st.sampled_from(_TOKENS), st.binary(max_size=3)))
    return bytes(body)


_NAMES = st.sampled_from(
    [
        "command",
        "Command",
        "method",
        "jsonrpc",
        "id",
        "params",
        "depth",
        "hashes",
        "addresses",
        "tags",
        "reference",
        "fromBlock",
        "toBlock",
        "FromBlock",
        "blockHash",
        "topics",
        "address",
        "x",
        "",
        "0",
    ]
)
_TEXTS = st.one_of(
    st.sampled_from(["2.0", "getNodeInfo", "getTrytes", "getTransactionsToApprove", "findTransactions"]),
    st.sampled_from(["eth_getLogs", "eth_call", "eth_chainId", "eth_feeHistory", "addNeighbors"]),
    st.sampled_from(["A" * 81, "A" * 80, "9" * 27, "0x" + "a" * 40, "0x1", "0x3e8", "latest", "earliest"]),
    st.text(max_size=6),
)
_SCALARS = st.one_of(st.none(), st.booleans(), st.integers(-20, 20), st.integers(), st.floats(), _TEXTS)
_VALUES = st.recursive(
    _SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(_NAMES, inner, max_size=4)),
    max_leaves=12,
)
_CALLS = st.fixed_dictionaries(
    {
        "jsonrpc": st.just("2.0"),
        "id": st.integers(0, 99),
        "method": _TEXTS,
        "params": st.lists(_VALUES, max_size=3),
    }
)
_COMMANDS = st.builds(
    lambda name, arguments: {"command": name, **arguments},
    _TEXTS,
    st.dictionaries(_NAMES, _VALUES, max_size=3),
)


def _dumped(value: Any, ascii_only: bool, spaces: bool) -> bytes:
    separators = None if spaces else (",", ":")
    return json.dumps(value, ensure_ascii=ascii_only, separators=separators).encode("utf-8", "surrogatepass")


structured = st.builds(
    _dumped,
    st.one_of(_VALUES, _CALLS, _COMMANDS, st.lists(_CALLS, max_size=4)),
    st.booleans(),
    st.booleans(),
)
"""JSON texts of the right shape with arguments near the bounds, and NaN where floats are odd."""

bodies = st.one_of(st.binary(max_size=60), mutated(), structured)

heights = st.one_of(st.none(), st.sampled_from([0, 1, 1000, 5000]))

_PATHS = st.one_of(
    st.sampled_from([b"/", b"/v1/chain/evm", b"/health", b"/api/blocks/0xab", b"/api/tips", b"*", b""]),
    st.lists(
        st.sampled_from(
            [
                b"/",
                b"a",
                b"api",
                b"blocks",
                b"tips",
                b"health",
                b".",
                b"..",
                b"%2e",
                b"%2F",
                b"%25",
                b"%3b",
                b"%5c",
                b"%1f",
                b"%7f",
                b"%00",
                b"%",
                b"%zz",
                b"%c3%a9",
                b"%ff",
                b"\\",
                b";x",
                b"//",
                b"0xab",
                b"%61pi",
                b"?",
                b"?a=1",
                b"~",
            ]
        ),
        max_size=7,
    ).map(lambda parts: b"/" + b"".join(parts)),
)
_HEADER_VALUES = st.sampled_from(
    [b"", b"1", b"1.4.2", b"gzip", b"Identity", b"websocket", b"h2c", b"curl/8", b"BadBot/1"]
)
_HEADERS = st.lists(
    st.tuples(
        st.sampled_from(
            ["X-IOTA-API-Version", "Content-Encoding", "Upgrade", "User-Agent", "Accept", "X-Bad", "X-Pad"]
        ),
        st.one_of(_HEADER_VALUES, st.sampled_from([b"z" * 400, b"1" * 20])),
    ),
    max_size=5,
)
heads = st.tuples(st.sampled_from(["GET", "POST", "OPTIONS", "PUT", "HEAD"]), _PATHS, _HEADERS)
