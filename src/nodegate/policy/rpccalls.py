"""JSON-RPC calls as clients' libraries write them, where the policy's rules treat all values of a kind alike. Pure.

Written down from what these sent: ethers 5.8 and 6.17, viem 2.57, web3.js 1.10 and 4.16, web3.py 8.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import product

from nodegate.haproxy.shapes import ADDRESS, DATA, HASH, ID, QUANTITY
from nodegate.policy.values import ArgRule, Method, Policy, Price

_ORDERS = (
    ("version", "id", "method", "params"),  # web3.js, viem
    ("method", "params", "id", "version"),  # ethers
    ("version", "method", "params", "id"),  # web3.py (with spaces), most examples
)
_SPACED = _ORDERS[-1]
_NAME = re.compile(r"[A-Za-z0-9_]+")
_ADDRESS, _HASH = "0x[0-9a-fA-F]{40}", "0x[0-9a-fA-F]{64}"
_BLOCKS = ('"latest"', '"pending"', QUANTITY.sign)
_HEX = (DATA.sign, QUANTITY.sign)
"""How data is marked: short data, such as a call without arguments, looks like a quantity."""

_MEMBERS = (("to", "data"), ("data", "to"), ("to", "input"), ("from", "to", "data"), ("data", "from", "to"),
            ("to", "data", "from"))  # fmt: skip
"""Members of a call's object, in the orders in which they are sent."""


def calls(policy: Policy) -> Iterator[Sequence[str]]:
    """The shapes of one call after the other; none where the policy denies texts, which any value could hold."""
    if policy.body.denied:
        return
    for name, method in policy.methods.items():
        if _NAME.fullmatch(name) and not method.deny and _one_price(method):
            yield from (_written(name, params) for params in _params(method))


def _one_price(method: Method) -> bool:
    """Whether all calls that the rules let through cost the same, whatever the height of the chain."""
    return method.range is None and not method.any_of and method.cost == Price(base=method.cost.base)


def _written(name: str, params: Sequence[str]) -> Sequence[str]:
    """In each order, in one of them also with spaces; a call without arguments also without an empty list of them."""
    members = {
        "version": '"jsonrpc":"2.0"',
        "id": ID.sign,
        "method": f'"method":"{name}"',
        "params": f'"params":[{",".join(params)}]',
    }
    texts = [_object(members[part] for part in order) for order in _ORDERS]
    # Neither names nor marks have a comma or a quote before a colon.
    texts.append(_object(members[part] for part in _SPACED).replace(",", ",~").replace('":', '":~'))
    if not params:
        texts += [_object(members[part] for part in order if part != "params") for order in _ORDERS]
    return texts


def _params(method: Method) -> Iterator[tuple[str, ...]]:
    """Lists of arguments, from none to all that have rules; ends where the rules tell values apart."""
    choices: list[Sequence[str]] = []
    yield ()
    for place in range(len(method.args)):
        rule = method.args.get(str(place))
        if rule is None or not (texts := _texts(rule, looked_into=_looked_into(method, place))):
            return
        choices.append(texts)
        yield from product(*choices)


def _looked_into(method: Method, place: int) -> bool:
    return any(path.startswith(f"{place}.") for path in method.args)


def _texts(rule: ArgRule, *, looked_into: bool) -> Sequence[str]:
    """How an argument is written, where the rule takes any value behind each mark; empty where it does not."""
    if looked_into or rule != ArgRule(
        type=rule.type, required=rule.required, pattern=rule.pattern, max_length=rule.max_length
    ):
        return ()
    if rule.type == "string":
        return _strings(rule)
    if rule.pattern is not None or rule.max_length is not None:
        return ()
    return _BY_TYPE.get(rule.type, ())


def _strings(rule: ArgRule) -> Sequence[str]:
    longest = len(HASH.sample) - 2
    if rule.max_length is not None and rule.max_length < longest:
        return ()
    return {_ADDRESS: (ADDRESS.sign,), _HASH: (HASH.sign,), None: (HASH.sign, QUANTITY.sign)}.get(
        rule.pattern, ()
    )


def _objects() -> Iterator[str]:
    for members in _MEMBERS:
        for data in _HEX:
            marks = {"data": data, "input": data}
            yield _object(f'"{name}":{marks.get(name, ADDRESS.sign)}' for name in members)


def _object(members: Iterable[str]) -> str:
    return "{" + ",".join(members) + "}"


_BY_TYPE: Mapping[str, Sequence[str]] = {
    "any": _BLOCKS,
    "block": _BLOCKS,
    "quantity": (QUANTITY.sign,),
    "boolean": ("true", "false"),
    "object": tuple(_objects()),
}
"""How an argument of a type is written."""
