"""Shapes of bodies: what stands for any value of a kind is one mark, so that one entry of a map stands for all bodies
that differ in nothing else.

A body that holds a mark of its own has no shape; so each mark in a shape stands for a text that fits the mark's
pattern, and for nothing else. Marks are printable and mean nothing in JSON, so a shape is never a body.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from nodegate.haproxy.conditions import cond
from nodegate.haproxy.config import Words


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """A character that stands for any text which `pattern` fits (a regular expression that Python and HAProxy's PCRE
    read alike). `sample` is one such text."""

    sign: str
    pattern: str
    sample: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """How the bodies of a family of APIs are turned into shapes: its marks, in the order in which they are set.

    `headers` are those without which there is no look-up, with their only value: the guard may look at them.
    """

    marks: tuple[Mark, ...]
    headers: tuple[tuple[str, str], ...] = ()

    def sample(self, shape: str) -> str:
        """A body of this shape."""
        for mark in self.marks:
            shape = shape.replace(mark.sign, mark.sample)
        return shape

    def shape(self, body: str) -> str | None:
        """The shape of a body, None when it has none. HAProxy's rules do the same (`converters`, `own_marks`)."""
        if re.search(self._signs(), body):
            return None
        for mark in self.marks:
            body = re.sub(mark.pattern, mark.sign, body)
        return body

    def converters(self) -> str:
        """HAProxy's converters from a body to its shape."""
        return ",".join(f"regsub('{mark.pattern}',{mark.sign},g)" for mark in self.marks)

    def own_marks(self, sample: str) -> Words:
        """The condition that a body has a mark of its own."""
        return cond(sample, "-m", "reg", self._signs())

    def _signs(self) -> str:
        return f"[{''.join(re.escape(mark.sign) for mark in self.marks)}]"


SPACE = Mark(sign="~", pattern=" ", sample=" ")
"""Keys of a map cannot have spaces. They are marked last: patterns may have one."""

TRYTES = Mark(sign="@", pattern="[A-Z9]{81}", sample="9" * 81)
"""An address or a hash of IOTA's first protocols."""

HASH = Mark(sign="^", pattern='"0x[0-9a-fA-F]{64}"', sample=f'"0x{"5" * 64}"')
ADDRESS = Mark(sign="@", pattern='"0x[0-9a-fA-F]{40}"', sample=f'"0x{"5" * 40}"')
QUANTITY = Mark(sign="*", pattern='"0x[0-9a-fA-F]{1,13}"', sample='"0x1b4"')
"""A number below 2**52, so within what the guard takes for one (2**53)."""

DATA = Mark(sign="&", pattern='"0x[0-9a-fA-F]*"', sample=f'"0x70a08231{"0" * 64}"')
"""Any other hexadecimal text."""

ID = Mark(
    sign="!", pattern='"id": ?(0|[1-8][0-9]{15}|[1-9][0-9]{0,14}|"[0-9A-Za-z-]{0,64}")', sample='"id":7'
)
"""The member `id` of a JSON-RPC call, with a number below 2**53 or a text such as a UUID."""

COMMAND = Form(marks=(TRYTES, SPACE), headers=(("x-iota-api-version", "1"),))
"""`{"command": …}`, as IRI reads it. The version of the API is what clients send."""

JSON_RPC = Form(marks=(HASH, ADDRESS, QUANTITY, DATA, ID, SPACE))
