"""The reference verdict on one request: bytes in, verdict with reason and facts out. Pure.

`guard.lua` gives the same verdicts inside HAProxy. The lines (`head_line`, `body_line`) are what it returns
there and what the property tests compare; their fields are listed at `Facts.line`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from nodegate.policy.arguments import Refusal, price
from nodegate.policy.clients import Client, identify
from nodegate.policy.head import Outcome, check_head
from nodegate.policy.patterns import glob_found
from nodegate.policy.reasons import RULES, sentence
from nodegate.policy.strictjson import ESCAPED, JsonFault, Value, parse
from nodegate.policy.values import CLASS_ORDER, Class, Method, Policy, Rate

UNLISTED = "unlisted"
"""What a method is called that the policy does not name: clients must not make up counters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardRequest:
    """One request as HAProxy sees it. `target` is path and query as sent; header names in any case.
    `peer` is the address of the TCP connection (None: not looked at), `height` the pool's head (None: not
    known)."""

    method: str = "POST"
    target: bytes = b"/"
    headers: Sequence[tuple[str, bytes]] = ()
    body: bytes = b""
    peer: str | None = None
    height: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What the data plane has to know of a request that is let through.

    `lane` is the bulkhead; `timeout` and `cache` are seconds; `count` is how many calls a batch holds. In a
    batch the worst element (class, then cost) gives method, class, lane and rates.
    """

    method: str
    class_: Class
    lane: str
    cost: int
    idempotent: bool
    timeout: float
    cache: int
    rate: Rate
    rate_overall: Rate
    methods: tuple[str, ...]

    @property
    def count(self) -> int:
        """Calls in the request."""
        return len(self.methods)

    def line(self) -> str:
        """`ok|method|class|lane|cost|idempotent|timeout ms|cache s|` then the rates per client (10 s,
        1 m) and overall (10 s, 1 m), 0 for none, and the count."""
        rates = (self.rate.per_10s, self.rate.per_1m, self.rate_overall.per_10s, self.rate_overall.per_1m)
        fields = (
            self.method,
            self.class_,
            self.lane,
            self.cost,
            int(self.idempotent),
            milliseconds(self.timeout),
            self.cache,
            *(rate or 0 for rate in rates),
            self.count,
        )
        return "ok|" + "|".join(str(part) for part in fields)


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardVerdict:
    """Allowed or not; `rule`, `status` and `reason` speak for a refusal. `facts` is None for a refusal, for
    a preflight and for an upgrade, which `outcome` tells apart."""

    allowed: bool
    outcome: Outcome = Outcome.REFUSED
    rule: str = ""
    status: int = 200
    reason: str = ""
    facts: Facts | None = None
    client: Client = field(default_factory=Client)

    def line(self) -> str:
        """The verdict as guard.lua writes it: `no|rule|status|reason`, or the facts."""
        if not self.allowed:
            return f"no|{self.rule}|{self.status}|{self.reason}"
        return self.facts.line() if self.facts is not None else self.outcome.value


def milliseconds(seconds: float) -> int:
    """Whole milliseconds, at least one."""
    return max(1, round(seconds * 1000))


def guard(policy: Policy, request: GuardRequest) -> GuardVerdict:
    """The verdict on `request`: network first, then head, key and body. Never raises, whatever the bytes."""
    client = Client()
    try:
        # No browser sends a key with the question whether it may send one.
        client = identify(policy, request.peer, request.headers, keyless=request.method == "OPTIONS")
        outcome, rest_method = check_head(policy, request.method, request.target, request.headers)
        if outcome is Outcome.UPGRADE:
            _check_key(policy, client, ())
        if outcome in {Outcome.PREFLIGHT, Outcome.UPGRADE}:
            return GuardVerdict(allowed=True, outcome=outcome, client=client)
        if rest_method is not None:
            _check_size(policy, request.body)
            _refuse_patterns(policy, request.body)
            facts = _facts(
                policy, [(rest_method, policy.methods[rest_method], rest_cost(policy, rest_method))]
            )
        else:
            facts = judge_body(policy, request.body, request.height)
        _check_key(policy, client, facts.methods)
    except Refusal as refusal:
        return refused(refusal, client)
    return GuardVerdict(allowed=True, outcome=outcome, facts=facts, client=client)


def refused(refusal: Refusal, client: Client | None = None) -> GuardVerdict:
    """The verdict that a refusal is."""
    return GuardVerdict(
        allowed=False,
        rule=refusal.rule,
        status=RULES[refusal.rule][0],
        reason=sentence(refusal.rule, refusal.about),
        client=client or Client(),
    )


def head_line(policy: Policy, method: str, target: bytes, headers: Sequence[tuple[str, bytes]]) -> str:
    """What guard.lua says of a head: `ok` (the body decides), `preflight`, `upgrade`, facts (REST), or a
    refusal."""
    try:
        outcome, rest_method = check_head(policy, method, target, headers)
        if rest_method is None:
            return outcome.value
        cost = rest_cost(policy, rest_method)
        return _facts(policy, [(rest_method, policy.methods[rest_method], cost)]).line()
    except Refusal as refusal:
        return refused(refusal).line()


def body_line(policy: Policy, body: bytes, height: int | None = None) -> str:
    """What guard.lua says of a body; `ok` for a REST body within its bounds."""
    try:
        if policy.form == "rest":
            _check_size(policy, body)
            _refuse_patterns(policy, body)
            return "ok"
        return judge_body(policy, body, height).line()
    except Refusal as refusal:
        return refused(refusal).line()


def rest_cost(policy: Policy, name: str) -> int:
    """The cost of a REST call; its arguments are not priced."""
    cost = policy.methods[name].cost.base
    if cost > policy.body.max_cost:
        raise Refusal("cost", str(policy.body.max_cost))
    return cost


def judge_body(policy: Policy, body: bytes, height: int | None) -> Facts:
    """The facts of a JSON body. Raises Refusal."""
    _check_size(policy, body)
    if not body:
        raise Refusal("body-empty")
    try:
        value = parse(body, max_depth=policy.body.max_depth, max_values=policy.body.max_values)
    except JsonFault as fault:
        bounds = {"json-depth": policy.body.max_depth, "json-values": policy.body.max_values}
        about = str(bounds.get(fault.rule, ""))
        raise Refusal(fault.rule, about) from fault
    _refuse_patterns(policy, body)
    if policy.form == "command":
        return _facts(policy, [_command(policy, value, height)])
    if not isinstance(value, list):
        return _facts(policy, [_call(policy, value, height)])
    return _facts(policy, list(_batch(policy, value, height)))


Call = tuple[str, Method, int]


def _check_size(policy: Policy, body: bytes) -> None:
    if len(body) > policy.body.max_bytes:
        raise Refusal("body-size", str(policy.body.max_bytes))


def _refuse_patterns(policy: Policy, body: bytes) -> None:
    if any(glob_found(pattern, body, whole=False) for pattern in policy.body.denied):
        raise Refusal("body-pattern")


def _command(policy: Policy, value: Value, height: int | None) -> Call:
    if not isinstance(value, dict):
        raise Refusal("json-shape")
    name, method = _method(policy, value.get("command"))
    return name, method, price(name, method, value, own="command", height=height)


def _call(policy: Policy, value: Value, height: int | None) -> Call:
    if not isinstance(value, dict):
        raise Refusal("json-shape")
    if any(name not in {"jsonrpc", "id", "method", "params"} for name in value):
        raise Refusal("rpc-member")
    if value.get("jsonrpc") != b"2.0":
        raise Refusal("rpc-version")
    if "id" not in value or not _id_fits(value["id"]):
        raise Refusal("rpc-id")
    name, method = _method(policy, value.get("method"))
    params = value.get("params")
    if params is None:
        params = []
    if not isinstance(params, list) and not (policy.body.named_params and isinstance(params, dict)):
        raise Refusal("rpc-params")
    return name, method, price(name, method, params, own=None, height=height)


def _id_fits(value: Value) -> bool:
    if isinstance(value, bytes):
        return len(value) <= 128
    return value is None or (isinstance(value, int) and not isinstance(value, bool))


def _batch(policy: Policy, items: list[Value], height: int | None) -> Iterable[Call]:
    if policy.body.max_batch == 0:
        raise Refusal("batch-forbidden")
    if not items:
        raise Refusal("batch-empty")
    if len(items) > policy.body.max_batch:
        raise Refusal("batch-size", str(policy.body.max_batch))
    for item in items:
        name, method, cost = _call(policy, item, height)
        if not method.batchable:
            raise Refusal("batch-method", name)
        yield name, method, cost


def _method(policy: Policy, value: Value) -> tuple[str, Method]:
    if value is ESCAPED:
        raise Refusal("json-escape")
    if not isinstance(value, bytes):
        raise Refusal("method-missing")
    name = value.decode("utf-8")
    method = policy.methods.get(name)
    if method is None:
        # Some nodes read names in either case: a variant of a listed name must not slip past its rules.
        if policy.default == "deny" or any(_folded(name) == _folded(known) for known in policy.methods):
            raise Refusal("method-unknown")
        name, method = UNLISTED, policy.unlisted
    if method.deny:
        raise Refusal("method-denied", name)
    return name, method


def _folded(name: str) -> bytes:
    return name.encode().lower()


def _facts(policy: Policy, calls: Sequence[Call]) -> Facts:
    total = sum(cost for _, _, cost in calls)
    if total > policy.body.max_cost:
        raise Refusal("cost", str(policy.body.max_cost))
    name, method, _ = max(calls, key=lambda call: (CLASS_ORDER.index(call[1].class_), call[2]))
    return Facts(
        method=name,
        class_=method.class_,
        lane=policy.lane(name, method),
        cost=total,
        idempotent=all(each.idempotent for _, each, _ in calls),
        timeout=max(each.timeout for _, each, _ in calls),
        cache=method.cache if len(calls) == 1 else 0,
        rate=method.rate,
        rate_overall=method.rate_overall,
        methods=tuple(each for each, _, _ in calls),
    )


def _check_key(policy: Policy, client: Client, methods: Sequence[str]) -> None:
    """A key that is limited to some methods covers single calls only: the gateway knows one method of a batch, and
    none of what a WebSocket (no `methods`) will carry."""
    covered = policy.keys[client.key].methods if client.key is not None else None
    if covered is not None and (len(methods) != 1 or methods[0] not in covered):
        raise Refusal("key-method", methods[0] if len(methods) == 1 else "more than one call")
