"""The arguments of one call: are they what the policy wants, and what does the call cost?"""

from __future__ import annotations

from nodegate.policy.patterns import fits, parse_pattern
from nodegate.policy.reasons import about_any, about_arg, about_range
from nodegate.policy.strictjson import ESCAPED, Value
from nodegate.policy.values import MAX_INTEGER, ArgRule, ItemRule, Method

TAGS = frozenset({b"latest", b"pending", b"safe", b"finalized", b"earliest"})
MAX_FACTOR = 1_000_000_000
"""A priced value counts at most this much, so that no product leaves 64 bits."""


class Refusal(Exception):
    """The request is refused by `rule`; `about` fills the rule's sentence."""

    def __init__(self, rule: str, about: str = "") -> None:
        super().__init__(rule)
        self.rule = rule
        self.about = about


def price(name: str, method: Method, root: Value, *, own: str | None, height: int | None) -> int:
    """The cost of calling `name` with the arguments in `root`, an object or a list. `own` is a member of
    `root` that is no argument. Raises Refusal for the first rule that the arguments break."""
    if method.unknown_args == "deny":
        _refuse_unknown(name, method, root, own)
    for path, rule in method.args.items():
        _check(name, path, rule, find(root, path))
    if method.any_of and all(find(root, path) is None for path in method.any_of):
        raise Refusal("arg-missing", about_any(name, method.any_of))
    return _cost(method, root, _blocks(name, method, root, height))


def find(root: Value, path: str) -> Value:
    """The value at `path`, None when there is none: null and absent mean the same to the nodes."""
    value = root
    for part in path.split("."):
        if isinstance(value, list):
            value = value[int(part)] if part.isdigit() and int(part) < len(value) else None
        elif isinstance(value, dict):
            if part not in value and any(name.lower() == part.lower() for name in value):
                raise Refusal("arg-case", path)
            value = value.get(part)
        else:
            return None
    return value


def _refuse_unknown(name: str, method: Method, root: Value, own: str | None) -> None:
    known = {path.partition(".")[0] for path in method.args}
    if isinstance(root, dict) and any(member not in known and member != own for member in root):
        raise Refusal("arg-unknown", name)
    if isinstance(root, list) and any(str(index) not in known for index in range(len(root))):
        raise Refusal("arg-unknown", name)


def _check(name: str, path: str, rule: ArgRule, value: Value) -> None:
    about = about_arg(name, path, rule)
    if value is None:
        if rule.required:
            raise Refusal("arg-missing", about)
        return
    if rule.forbidden:
        raise Refusal("arg-forbidden", about)
    if value is ESCAPED and _looks_into_text(rule):
        raise Refusal("arg-escape", f"{name}: {path}")
    if rule.one_of is not None and not (
        isinstance(value, bytes) and value in {option.encode() for option in rule.one_of}
    ):
        raise Refusal("arg-value", about)
    if rule.single and not isinstance(value, list):
        value = [value]
    if not _value_fits(rule, value) or not _number_fits(rule, value) or not _list_fits(rule, value):
        raise Refusal("arg-value", about)


def _looks_into_text(rule: ArgRule) -> bool:
    return rule.type in {"string", "quantity", "block"} or rule.one_of is not None or rule.single


def _value_fits(rule: ItemRule, value: Value) -> bool:
    if not _type_fits(rule.type, value):
        return False
    if rule.min_length is None and rule.max_length is None and rule.pattern is None:
        return True
    if not isinstance(value, bytes):
        return False
    if rule.min_length is not None and len(value) < rule.min_length:
        return False
    if rule.max_length is not None and len(value) > rule.max_length:
        return False
    return rule.pattern is None or fits(parse_pattern(rule.pattern), value)


def _type_fits(wanted: str, value: Value) -> bool:
    if wanted == "quantity":
        return isinstance(value, bytes) and quantity(value) is not None
    if wanted == "block":
        return isinstance(value, bytes) and (value in TAGS or quantity(value) is not None)
    if wanted == "integer":
        return isinstance(value, int) and not isinstance(value, bool)
    plain = {"string": bytes, "boolean": bool, "array": list, "object": dict}
    return wanted == "any" or isinstance(value, plain[wanted])


def _number_fits(rule: ArgRule, value: Value) -> bool:
    if rule.min is None and rule.max is None:
        return True
    number = _number(value)
    if number is None:
        return rule.type == "block" and isinstance(value, bytes) and value in TAGS
    return (rule.min is None or number >= rule.min) and (rule.max is None or number <= rule.max)


def _list_fits(rule: ArgRule, value: Value) -> bool:
    if rule.min_items is None and rule.max_items is None and rule.items is None:
        return True
    if not isinstance(value, list):
        return False
    if rule.min_items is not None and len(value) < rule.min_items:
        return False
    if rule.max_items is not None and len(value) > rule.max_items:
        return False
    items = rule.items
    return items is None or all(_value_fits(items, item) for item in value)


def quantity(text: bytes) -> int | None:
    """`0x1a` → 26; None for anything else and for more than 2**53."""
    digits = text[2:]
    if not text.startswith(b"0x") or not 1 <= len(digits) <= 16 or digits.strip(b"0123456789abcdefABCDEF"):
        return None
    number = int(digits, 16)
    return number if number <= MAX_INTEGER else None


def _number(value: Value) -> int | None:
    if isinstance(value, bytes):
        return quantity(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _blocks(name: str, method: Method, root: Value, height: int | None) -> int:
    """The blocks that the call spans; 0 when the method has no range rule."""
    rule = method.range
    if rule is None or (rule.unless is not None and find(root, rule.unless) is not None):
        return 0
    start, start_open = _end(name, find(root, rule.start), height)
    end, end_open = _end(name, find(root, rule.end), height)
    if start_open and end_open:
        return 0
    if start is None or end is None:
        raise Refusal("range-open", name)
    blocks = max(0, end - start)
    if blocks > rule.max:
        raise Refusal("range-size", about_range(name, rule.max))
    return blocks


def _end(name: str, value: Value, height: int | None) -> tuple[int | None, bool]:
    """The height one end means (None: not known), and whether it follows the chain's head."""
    if value is None:
        return height, True
    if isinstance(value, bytes):
        if value == b"earliest":
            return 0, False
        if value in TAGS:
            return height, True
        if (number := quantity(value)) is not None:
            return number, False
    raise Refusal("range-form", name)


def _cost(method: Method, root: Value, blocks: int) -> int:
    total = method.cost.base
    for path, units in method.cost.per_item.items():
        value = find(root, path)
        total += units * (len(value) if isinstance(value, list) else value is not None)
    for path, units in method.cost.per_value.items():
        total += units * min(max(_number(find(root, path)) or 0, 0), MAX_FACTOR)
    return total + (blocks // method.cost.per_blocks if method.cost.per_blocks is not None else 0)
