"""Policies that the engines are compared on: the shipped ones, and one that uses what they do not."""

from __future__ import annotations

from nodegate.documents import parse
from nodegate.policy.document import load_policy
from nodegate.policy.values import Policy

_OPEN_IRI = """
default = "allow"
[head]
http = ["post", "get", "options"]
query = true
websocket = true
max_bytes = 512
user_agents_denied = ["badbot*", "*crawl*er", "exact"]
[head.headers.x-bad]
forbidden = true
[body]
denied = ["AAAB", "9*8*7"]
max_cost = 900
[unlisted]
cost = 3
unknown_args = "allow"
[methods.getTransactionsToApprove]
unknown_args = "allow"
"""

_REST = """
[head.headers.x-iota-api-version]
pattern = "[0-9.]{1,8}"
[methods.blocks]
path = "/api/blocks/{id:0x[0-9a-f]+}"
http = ["get", "post"]
class = "heavy"
cost = 7
[methods.tips]
path = "/api/tips"
query = true
rate = "5/10s"
[methods.peers]
path = "/api/peers"
deny = true
[methods.rest]
path = "/api/{group}/**"
"""

_EVM = """
[body]
named_params = true
max_batch = 3
[methods.eth_getLogs]
unknown_args = "allow"
[methods.eth_getLogs.args.0]
type = "any"
[methods.eth_getBalance.args.1]
one_of = ["latest", "0x1"]
"""


def shipped(kind: str) -> Policy:
    """The default policy of a kind."""
    return load_policy(kind).policy


def varied() -> dict[str, Policy]:
    """Policies by a name for the test's output."""
    return {
        "iri": shipped("iri"),
        "evm": shipped("evm"),
        "open iri": load_policy("iri", parse(_OPEN_IRI, file="open.toml")).policy,
        "varied evm": load_policy("evm", parse(_EVM, file="evm.toml")).policy,
        "rest": load_policy("http", parse(_REST, file="rest.toml")).policy,
    }
