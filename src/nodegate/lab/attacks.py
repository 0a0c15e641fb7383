"""The attacks on a public node as data: what is sent, how fast, and what must not come back. Pure.

The model is the stall of January 2018: `getTransactionsToApprove` with an old reference held the lock that
five commands of the node share, and public nodes stood still. The others are its relatives: the same call in
disguises that get past filters on raw bytes (padding, order, escapes, lenient JSON), and the usual ways of
using up a server (slow clients, floods, huge and deep bodies, requests that two parsers read differently).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from nodegate.lab.attack_scripts import (
    HASH,
    Aim,
    Script,
    big_headers,
    bodies,
    byte_chunks,
    command_body,
    encoded_bodies,
    known,
    nested_body,
    oversize,
    padded_bodies,
    proof_of_work,
    silent_connections,
    slow_body,
    slow_headers,
    smuggled_requests,
    stall,
    variants,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Attack:
    """One attack. `scripts` are sent in turn, at most `rate` a second over all connections.

    `forbidden`: a node must never work on it, so that a good answer, or none within the attacker's patience,
    means that it got through. The others are harmless when they come in measure: only what honest clients
    notice counts. `crowd` multiplies the connections. `strains` are the groups of honest clients that even a few
    of these calls keep waiting on nodes with the weakness: that counts as limited when most were refused.
    """

    name: str
    words: str
    scripts: Callable[[Aim], tuple[Script, ...]]
    forbidden: bool = True
    rate: float = 100.0
    crowd: int = 1
    strains: frozenset[str] = frozenset()


_ARGUMENTS: Final = '"depth":3,"reference":"REFERENCE"'

ATTACKS: Final[tuple[Attack, ...]] = (
    Attack(
        name="neighbours",
        words="commands for the operator: neighbours, the rate limit, other people's proof of work",
        scripts=bodies(
            command_body("getNeighbors"),
            command_body("addNeighbors", uris=["tcp://192.0.2.9:15600"]),
            command_body("removeNeighbors", uris=["tcp://192.0.2.1:15600"]),
            command_body("setApiRateLimit", limit=1),
            command_body("interruptAttachingToTangle"),
            command_body("Snapshot.getBalances"),
        ),
    ),
    Attack(
        name="pow", words="attachToTangle: proof of work at the node's cost", scripts=bodies(proof_of_work)
    ),
    Attack(
        name="lists",
        words="lists longer than the node serves",
        scripts=bodies(
            command_body("getBalances", addresses=[HASH] * 1_001, threshold=100),
            command_body("getTrytes", hashes=[HASH] * 5_000),
            command_body("findTransactions", addresses=[HASH] * 1_001),
            command_body("getNodeInfo", x=[1] * 40_000),
        ),
        rate=20.0,
    ),
    Attack(
        name="nesting",
        words="JSON nested deeper than parsers have stack for",
        scripts=bodies(nested_body(20), nested_body(900), nested_body(45_000)),
        rate=50.0,
    ),
    Attack(
        name="oversize",
        words="bodies of two megabytes, announced and in chunks",
        scripts=oversize,
        rate=5.0,
    ),
    Attack(name="big-headers", words="50 KB in a header, 500 headers", scripts=big_headers, rate=20.0),
    Attack(
        name="connections",
        words="connections that say nothing, ten times as many",
        scripts=silent_connections,
        forbidden=False,
        rate=400.0,
        crowd=10,
    ),
    Attack(
        name="slow-headers",
        words="a header line every half second (slowloris)",
        scripts=slow_headers,
        forbidden=False,
    ),
    Attack(
        name="slow-body", words="a byte of the body every half second", scripts=slow_body, forbidden=False
    ),
    Attack(
        name="case",
        words="names in other cases, which some nodes read",
        scripts=variants(
            '{"command":"gettransactionstoapprove",' + _ARGUMENTS + "}",
            '{"COMMAND":"getTransactionsToApprove",' + _ARGUMENTS + "}",
            '{"command":"getTransactionsToApprove","Reference":"REFERENCE",' + _ARGUMENTS + "}",
        ),
    ),
    Attack(
        name="stall",
        words="the call of 2018: tip selection from an old reference",
        scripts=bodies(lambda aim: stall(known(aim))),
    ),
    Attack(
        name="padding",
        words="the stall behind 20 KB of spaces",
        scripts=lambda aim: padded_bodies(known(aim)),
    ),
    Attack(
        name="key-order",
        words="the stall with its arguments in another order",
        scripts=lambda aim: variants(
            '{"reference":"REFERENCE","depth":3,"command":"getTransactionsToApprove"}',
            '{"depth":3,"command":"getTransactionsToApprove","reference":"REFERENCE"}',
        )(known(aim)),
    ),
    Attack(
        name="escapes",
        words="the stall with escapes in names and values",
        scripts=variants(
            '{"command":"\\u0067etTransactionsToApprove",' + _ARGUMENTS + "}",
            '{"comm\\u0061nd":"getTransactionsToApprove",' + _ARGUMENTS + "}",
            '{"command":"getTransactionsToApprove","d\\u0065pth":3,"reference":"REFERENCE"}',
        ),
    ),
    Attack(
        name="lenient",
        words="the stall in what only the node's own parser takes for JSON",
        scripts=variants(
            "{'command':'getTransactionsToApprove','depth':3,'reference':'REFERENCE'}",
            "{command:getTransactionsToApprove,depth:3,reference:REFERENCE}",
            '{"command"="getTransactionsToApprove";"depth"=>3;"reference":"REFERENCE"}',
            '/*{"command":"getNodeInfo"}*/{"command":"getTransactionsToApprove",' + _ARGUMENTS + "}",
            '#getNodeInfo\n{"command":"getTransactionsToApprove",' + _ARGUMENTS + "}",
            ")]}'\n" + '{"command":"getTransactionsToApprove",' + _ARGUMENTS + "}",
        ),
    ),
    Attack(
        name="pairs",
        words="the stall as a list of pairs, which the node's parser reads as an object",
        scripts=variants('[["command","getTransactionsToApprove"],["depth",3],["reference","REFERENCE"]]'),
    ),
    Attack(
        name="duplicates",
        words="the command given twice",
        scripts=variants(
            '{"command":null,"command":"getTransactionsToApprove",' + _ARGUMENTS + "}",
            '{"command":"getNodeInfo","command":"getTransactionsToApprove",' + _ARGUMENTS + "}",
        ),
    ),
    Attack(
        name="encodings",
        words="the stall compressed, in UTF-16, behind a byte order mark",
        scripts=lambda aim: encoded_bodies(known(aim)),
    ),
    Attack(
        name="chunks",
        words="the stall in chunks of one byte",
        scripts=lambda aim: byte_chunks(known(aim)),
        rate=20.0,
    ),
    Attack(
        name="smuggling",
        words="the stall behind a request whose end two parsers see in different places",
        scripts=lambda aim: smuggled_requests(known(aim)),
    ),
    Attack(
        name="stall-unlisted",
        words="the same from an old reference that no list knows",
        scripts=bodies(stall),
        forbidden=False,
        strains=frozenset({"lookups"}),
    ),
)
"""All attacks; what stalls a bare node for long comes last, so that the others can still be judged."""
