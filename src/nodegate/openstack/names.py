"""From a server's name in the cloud to the short one that an operator types. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

from nodegate.errors import BadDocument, Fault

_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_FLAGS = "dgi"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One substitution in sed's form. `everywhere` replaces all matches, not only the first; `join` drops the
    dashes of the result."""

    pattern: re.Pattern[str]
    replacement: str
    everywhere: bool = False
    join: bool = False

    def apply(self, name: str) -> str | None:
        """The new name, None when the rule does not match."""
        if self.pattern.search(name) is None:
            return None
        renamed = self.pattern.sub(self.replacement, name, count=0 if self.everywhere else 1)
        return renamed.replace("-", "") if self.join else renamed


def parse_rule(text: str) -> Rule:
    """`s/PATTERN/REPLACEMENT/FLAGS` as a rule. Any character may stand for the slash; PATTERN is a Python regular
    expression, `\\1` in REPLACEMENT its first group. Flags: `g` all matches, `i` any case, `d` drop the dashes.

    Raises BadDocument with what is wrong.
    """
    if len(text) < 2 or text[0] != "s" or text[1].isalnum() or text[1] in "\\ ":
        raise _bad(text, "should look like s/PATTERN/REPLACEMENT/")
    parts = re.split(rf"(?<!\\){re.escape(text[1])}", text[2:])
    if len(parts) != 3:
        raise _bad(text, f"should have three {text[1]!r}, as in s/PATTERN/REPLACEMENT/")
    pattern, replacement, flags = parts
    if unknown := set(flags) - set(_FLAGS):
        raise _bad(text, f"unknown flag {''.join(sorted(unknown))!r}; known: {', '.join(_FLAGS)}")
    try:
        compiled = re.compile(pattern.replace(f"\\{text[1]}", text[1]), re.IGNORECASE if "i" in flags else 0)
        rule = Rule(pattern=compiled, replacement=replacement, everywhere="g" in flags, join="d" in flags)
        _expand_once(rule)
    except (re.error, IndexError) as error:
        raise _bad(text, f"not a regular expression with its replacement: {error}") from error
    return rule


def _expand_once(rule: Rule) -> None:
    """Let a replacement that names a group which is not there fail now, not at the first server."""
    groups = rule.pattern.groups
    probe = re.compile("".join("()" for _ in range(groups)))
    named = dict(rule.pattern.groupindex)
    text = re.sub(r"\\g<(\w+)>", lambda found: rf"\g<{named.get(found[1], found[1])}>", rule.replacement)
    probe.sub(text, "", count=1)


def _bad(text: str, message: str) -> BadDocument:
    return BadDocument([Fault(file="--rename", line=None, key=text, message=message)])


DEFAULT_RULES = (
    # TripleO's names: overcloud-controller-0 → controller0, overcloud-novacompute-3 → compute3.
    parse_rule(r"s/^overcloud-(?:nova)?(.+)$/\1/d"),
)


def friendly(name: str, rules: tuple[Rule, ...] = DEFAULT_RULES) -> str:
    """The name that the first matching rule makes, in lower case; a name that no rule matches stays."""
    for rule in rules:
        if (renamed := rule.apply(name)) is not None:
            return renamed.lower()
    return name.lower()


def is_host_name(name: str) -> bool:
    """Whether `name` may stand in a hosts file: labels of letters, digits and inner dashes, up to 63 characters
    each and 253 in all (RFC 1123, section 2.1)."""
    return 0 < len(name) <= 253 and all(_LABEL.fullmatch(label) for label in name.split("."))


def natural(text: str) -> tuple[tuple[bool, int, str], ...]:
    """A sort key that puts node2 before node10."""
    parts = re.findall(r"[0-9]+|[^0-9]+", text)
    return tuple((part.isdigit(), int(part) if part.isdigit() else 0, part) for part in parts)
