"""Any node that nodegate accepts, for properties; and kinds of nodes that take some options and refuse others."""

from __future__ import annotations

import string
from collections.abc import Mapping

from hypothesis import strategies as st

from nodegate.model import Answer, Criteria, Intent, Node, Question, Reading, Source, Traffic
from nodegate.ports import Adapter


class Kind:
    """A kind that knows the options `path` (text that begins with a slash) and `status` (a number)."""

    traffic = Traffic()
    criteria = Criteria()

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def faults(self, node: Node) -> tuple[str, ...]:
        found = []
        for name, value in node.options.items():
            if name == "path":
                if not str(value).startswith("/"):
                    found.append("path must begin with a slash")
            elif name == "status":
                if not isinstance(value, int):
                    found.append("status: must be a number")
            else:
                found.append(f"{name} is not an option of {self.kind} nodes")
        return tuple(found)

    def ask(self, node: Node, answers: tuple[Answer, ...]) -> tuple[Question, ...]:
        return ()

    def read(self, node: Node, answers: tuple[Answer, ...]) -> Reading:
        return Reading()


KINDS: Mapping[str, Adapter] = {kind: Kind(kind) for kind in ("iri", "evm")}

names = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}", fullmatch=True)

_labels = st.text(string.ascii_lowercase + string.digits + "-_", min_size=1, max_size=12).map(
    lambda text: f"h{text}h"
)
hosts = st.one_of(
    st.ip_addresses(v=4).map(str),
    st.ip_addresses(v=6).map(lambda address: f"[{address}]"),
    st.lists(_labels, min_size=1, max_size=4).map(".".join),
)
_segments = st.text(string.ascii_letters + string.digits + "-._~%!$&()*+,;=:", min_size=1, max_size=8)
paths = st.lists(_segments, max_size=3).map(lambda segments: "".join(f"/{segment}" for segment in segments))


@st.composite
def urls(draw: st.DrawFn) -> str:
    """URLs in the form in which `checked_url` gives them back."""
    scheme = draw(st.sampled_from(["http", "https"]))
    port = draw(st.none() | st.integers(1, 65535))
    return f"{scheme}://{draw(hosts)}{'' if port is None else f':{port}'}{draw(paths)}"


text = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
scalars = st.one_of(
    text, st.booleans(), st.integers(-(2**70), 2**70), st.floats(allow_nan=False, allow_infinity=False)
)


@st.composite
def nodes(draw: st.DrawFn, *, source: Source = Source.REGISTRY) -> Node:
    """Any node that may be stored, with version 0."""
    return Node(
        id=draw(names),
        url=draw(urls()),
        kind=draw(names),
        pool=draw(names),
        weight=draw(st.integers(0, 256)),
        maxconn=draw(st.none() | st.integers(1, 10**9)),
        intent=draw(st.sampled_from(Intent)),
        tls_verify=draw(st.booleans()),
        options=draw(st.dictionaries(text, scalars, max_size=4)),
        source=source,
    )


def same(one: Node, other: Node) -> bool:
    """Equal, and of equal types: 1, 1.0 and True are three values."""
    typed = [
        {key: (type(value), repr(value)) for key, value in node.options.items()} for node in (one, other)
    ]
    return one == other and typed[0] == typed[1]
