"""A policy as frozen values: what clients of one kind of node may ask, at what price.

The fields are the keys of the policy document (see docs/policies.md); pydantic reports what is wrong with
each. Rules that need more than one field are findings of `nodegate.policy.check`.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from nodegate.policy.patterns import parse_path, parse_pattern
from nodegate.settings import Section

Form = Literal["command", "jsonrpc", "rest"]
Class = Literal["read", "heavy", "write", "pow", "admin"]
ArgType = Literal["any", "string", "integer", "boolean", "array", "object", "quantity", "block"]

CLASS_ORDER: tuple[Class, ...] = ("read", "heavy", "write", "pow", "admin")
"""From harmless to dangerous: a batch has the class of its worst element."""

MAX_INTEGER = 2**53
"""JSON integers beyond this lose digits in nodes that read numbers as doubles (gson, JavaScript)."""

_RATE = re.compile(r"([1-9][0-9]{0,8})/(10s|1m)")
_METHOD = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:-]{0,63}")
_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`~-]{1,64}")
_ARG = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*")
_PRINTABLE = re.compile(r"[\x20-\x7e]{1,200}")


class Rate(Section):
    """Requests in sliding windows; None: no limit in that window.

    Two windows only, because HAProxy's counters have fixed windows: the short one stops bursts, the long
    one crawling. Both exist from the start, so that any number can change without a reload.
    """

    per_10s: int | None = Field(None, ge=1)
    per_1m: int | None = Field(None, ge=1)

    @property
    def bounded(self) -> bool:
        """Whether any window has a limit."""
        return self.per_10s is not None or self.per_1m is not None


def _read_rate(value: Any) -> Any:
    """`"20/10s"` or `["20/10s", "60/1m"]` as the fields of a Rate; other shapes go through unchanged."""
    if isinstance(value, Rate | Mapping):
        return value
    items = [value] if isinstance(value, str) else value
    if not isinstance(items, list | tuple):
        raise ValueError('write a rate as "COUNT/10s" or "COUNT/1m", or as a list of both')
    fields: dict[str, int] = {}
    for item in items:
        found = _RATE.fullmatch(item) if isinstance(item, str) else None
        if found is None or f"per_{found.group(2)}" in fields:
            raise ValueError(f'{item!r} is not a rate: write "COUNT/10s" or "COUNT/1m", each once')
        fields[f"per_{found.group(2)}"] = int(found.group(1))
    return fields


def _matching(expression: re.Pattern[str], words: str) -> AfterValidator:
    def check(text: str) -> str:
        if expression.fullmatch(text) is None:
            raise ValueError(f"{text!r} is not {words}")
        return text

    return AfterValidator(check)


def _network(text: str) -> str:
    try:
        return str(ipaddress.ip_network(text))
    except ValueError as error:
        raise ValueError(f"{text!r} is not a network such as 192.0.2.0/24 or 2001:db8::/32") from error


def _pattern(text: str) -> str:
    parse_pattern(text)
    return text


def _path(text: str) -> str:
    parse_path(text)
    return text


Rates = Annotated[Rate, BeforeValidator(_read_rate)]
MethodName = Annotated[str, _matching(_METHOD, "a method's name (letters, digits and _ . : -)")]
Token = Annotated[str, _matching(_TOKEN, "a header's name"), AfterValidator(str.lower)]
ArgPath = Annotated[str, _matching(_ARG, "an argument such as depth, 0 or 0.fromBlock")]
Glob = Annotated[str, _matching(_PRINTABLE, "a pattern of printable ASCII, where * is anything")]
Network = Annotated[str, AfterValidator(_network)]
Pattern = Annotated[str, AfterValidator(_pattern)]
PathPattern = Annotated[str, AfterValidator(_path)]
KeyHash = Annotated[
    str, _matching(re.compile(r"[0-9a-f]{64}"), "the SHA-256 of a key in 64 lower-case hex digits")
]


class ItemRule(Section):
    """What every item of a list argument must be."""

    type: ArgType = "any"
    min_length: int | None = Field(None, ge=0)
    max_length: int | None = Field(None, ge=0)
    pattern: Pattern | None = None


class ArgRule(ItemRule):
    """What one argument must be. `min` and `max` bound an integer or a quantity, the lengths (bytes) a
    string, the items a list; `single` lets one bare item stand for a list of one."""

    required: bool = False
    forbidden: bool = False
    min: int | None = Field(None, ge=-MAX_INTEGER, le=MAX_INTEGER)
    max: int | None = Field(None, ge=-MAX_INTEGER, le=MAX_INTEGER)
    one_of: tuple[Glob, ...] | None = None
    min_items: int | None = Field(None, ge=0)
    max_items: int | None = Field(None, ge=0)
    items: ItemRule | None = None
    single: bool = False


class BlockRange(Section):
    """The distance between two block arguments. Tags count as the chain's head; without a known head an
    open range is refused, because its size cannot be known."""

    start: ArgPath
    end: ArgPath
    max: int = Field(ge=0, le=MAX_INTEGER)
    unless: ArgPath | None = Field(None, description="argument that makes the range irrelevant (blockHash)")


class Price(Section):
    """What a call costs, in units: base + per_item * items + per_value * value + blocks / per_blocks."""

    base: int = Field(1, ge=0, le=1_000_000)
    per_item: Mapping[ArgPath, Annotated[int, Field(ge=1, le=100_000)]] = Field(default_factory=dict)
    per_value: Mapping[ArgPath, Annotated[int, Field(ge=1, le=100_000)]] = Field(default_factory=dict)
    per_blocks: int | None = Field(None, ge=1, description="blocks of the range for one unit")


def _read_price(value: Any) -> Any:
    return {"base": value} if isinstance(value, int) and not isinstance(value, bool) else value


class Method(Section):
    """One method (command, JSON-RPC method, or REST path)."""

    deny: bool = False
    class_: Class = Field("read", alias="class")
    cost: Annotated[Price, BeforeValidator(_read_price)] = Field(default_factory=Price)
    rate: Rates = Field(default_factory=Rate, description="per client")
    rate_overall: Rates = Field(default_factory=Rate, description="all clients together")
    timeout: float = Field(10.0, gt=0, le=3600, description="seconds until 504")
    concurrency: int | None = Field(None, ge=1, description="at once per node; None: the class's")
    idempotent: bool = False
    cache: int = Field(0, ge=0, le=86_400, description="seconds an answer may be served again")
    batch: bool | None = Field(None, description="may stand in a batch; None: yes, unless it has a rate")
    args: Mapping[ArgPath, ArgRule] = Field(default_factory=dict)
    any_of: tuple[ArgPath, ...] = Field((), description="at least one of these must be given")
    unknown_args: Literal["deny", "allow"] = "deny"
    range: BlockRange | None = None
    http: tuple[Token, ...] = Field(("get",), description="HTTP methods (REST)")
    path: PathPattern | None = Field(None, description="decoded path (REST), such as /api/blocks/{id}")
    query: bool = Field(False, description="a query string may follow the path (REST)")

    @property
    def batchable(self) -> bool:
        """Whether it may stand in a batch."""
        return not (self.rate.bounded or self.rate_overall.bounded) if self.batch is None else self.batch


class ClassLimits(Section):
    """A class's bulkhead: how many of its requests one node serves at once, and how long others wait."""

    concurrency: int | None = Field(None, ge=1, description="at once per node; None: the node's maxconn")
    queue_timeout: float = Field(5.0, gt=0, le=600, description="seconds to wait for a free place")


class HeaderRule(Section):
    """What one header must be. `except_methods` are HTTP methods for which `required` does not count."""

    required: bool = False
    forbidden: bool = False
    pattern: Pattern | None = None
    max_length: int = Field(1024, ge=1, le=16_384)
    except_methods: tuple[Token, ...] = ("options",)


class HeadRules(Section):
    """The request line and the headers."""

    http: tuple[Token, ...] = Field(("post", "options"), min_length=1)
    paths: tuple[PathPattern, ...] = Field(
        ("/",), min_length=1, description="for command and jsonrpc; REST has paths per method"
    )
    query: bool = False
    max_bytes: int = Field(8192, ge=512, le=32_768, description="all header lines together")
    websocket: bool = Field(False, description="let upgrades through; what they carry is not guarded")
    headers: Mapping[Token, HeaderRule] = Field(default_factory=dict)
    user_agents_denied: tuple[Glob, ...] = ()


class BodyRules(Section):
    """The body as a whole. `max_bytes` must fit HAProxy's buffer together with the head."""

    max_bytes: int = Field(65_536, ge=64, le=4_194_304)
    max_depth: int = Field(8, ge=1, le=64)
    max_values: int = Field(
        2500, ge=16, le=100_000, description="JSON values in all: bounds the guard's work"
    )
    denied: tuple[Glob, ...] = Field((), description="patterns on the raw body; * is anything")
    named_params: bool = Field(False, description="JSON-RPC params may be an object")
    max_batch: int = Field(0, ge=0, le=1000, description="elements of a batch; 0: no batches")
    max_cost: int = Field(10_000, ge=1, le=1_000_000_000, description="units one request may cost")


class Cors(Section):
    """What browsers are told; the gateway answers OPTIONS itself, no node is asked."""

    origins: tuple[Glob, ...] = ("*",)
    headers: tuple[Token, ...] = ("content-type",)
    max_age: int = Field(86_400, ge=0, le=604_800, description="seconds a browser remembers the answer")


class ClientRules(Section):
    """Who may come. The most specific network decides; `trusted` clients are exempt from rates, budgets
    and bans, never from the guard."""

    allowed: tuple[Network, ...] = Field((), description="empty: everybody who is not denied")
    denied: tuple[Network, ...] = ()
    trusted: tuple[Network, ...] = ()
    trusted_proxies: tuple[Network, ...] = Field((), description="whose X-Forwarded-For is believed")
    key_required: bool = False
    max_connections: int = Field(50, ge=1, description="connections per client at once")
    max_concurrent: int = Field(20, ge=1, description="requests per client at once")


class Budget(Section):
    """Cost per client. A ban follows `ban_after` refusals for limits within a minute (0: never)."""

    per_10s: int | None = Field(None, ge=1, description="units in 10 s")
    per_1m: int | None = Field(None, ge=1, description="units in a minute")
    ban_after: int = Field(100, ge=0)
    ban_seconds: int = Field(300, ge=1, le=86_400)

    @property
    def bounded(self) -> bool:
        """Whether any window has a limit."""
        return self.per_10s is not None or self.per_1m is not None


class ApiKey(Section):
    """One API key, stored hashed; None: as everybody."""

    hash: KeyHash
    per_10s: int | None = Field(None, ge=1)
    per_1m: int | None = Field(None, ge=1)
    methods: tuple[MethodName, ...] | None = None
    disabled: bool = False


class Policy(Section):
    """The whole document of one kind."""

    kind: MethodName
    form: Form
    default: Literal["deny", "allow"] = "deny"
    head: HeadRules = Field(default_factory=HeadRules)
    body: BodyRules = Field(default_factory=BodyRules)
    client: ClientRules = Field(default_factory=ClientRules)
    cors: Cors | None = None
    budget: Budget = Field(default_factory=Budget)
    keys: Mapping[MethodName, ApiKey] = Field(default_factory=dict)
    classes: Mapping[Class, ClassLimits] = Field(default_factory=dict)
    unlisted: Method = Field(
        default_factory=Method, description="what unlisted methods get when default is allow"
    )
    methods: Mapping[MethodName, Method] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _rest_has_paths(self) -> Policy:
        if self.form == "rest":
            missing = [name for name, method in self.methods.items() if method.path is None]
            if missing:
                raise ValueError(f"methods.{missing[0]} needs a path, because the form is rest")
        return self

    def lane(self, name: str, method: Method) -> str:
        """The bulkhead a method goes through: its own if it has a concurrency, else its class's."""
        return name if method.concurrency is not None else method.class_

    def lane_concurrency(self, method: Method) -> int | None:
        """How many calls of the method's lane one node serves at once; None: the node's maxconn."""
        shared = self.classes.get(method.class_)
        own = method.concurrency
        return own if own is not None else shared.concurrency if shared is not None else None
