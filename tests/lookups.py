"""The look-up of verdicts, read as HAProxy's rules do it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hypothesis import strategies as st

from nodegate.haproxy.shortcuts import FAST_BODY, fast_key
from nodegate.policy import shortcuts
from nodegate.policy.guard import GuardRequest, guard
from nodegate.policy.values import Policy


def looked_up(
    policy: Policy, body: bytes, path: str = "/", entries: Mapping[str, str] | None = None
) -> str | None:
    """The line that HAProxy would find for this body, None when it would ask the guard."""
    found = shortcuts.entries(policy) if entries is None else entries
    denied = any(word.encode() in body for word in shortcuts.suspects(policy))
    if len(body) >= FAST_BODY or b"\0" in body or denied:
        return None
    shape = shortcuts.FORMS[policy.form].shape(body.decode("latin-1"))
    return None if shape is None else found.get(fast_key(policy.kind, path, shape))


def judged(policy: Policy, body: bytes, path: str = "/") -> str:
    """The guard's own line."""
    headers = [(name, value.encode()) for name, value in shortcuts.FORMS[policy.form].headers]
    return guard(policy, GuardRequest(target=path.encode(), headers=headers, body=body)).line()


_HEX = st.text("0123456789abcdefABCDEF", max_size=70)
_TRYTES = st.text("ABCDEFGHIJKLMNOPQRSTUVWXYZ9", min_size=80, max_size=82)
_IDS = st.one_of(
    st.integers(-5, 10**17).map(lambda number: f'"id":{number}'),
    st.text('abc0-_\\"', max_size=70).map(lambda text: f'"id": "{text}"'),
    st.sampled_from(['"id":007', '"id":1.0', '"id":1e3', '"id":null', '"id":"', '"id":[1]', '"id":1,"id":2']),
)
_BEHIND: dict[str, dict[str, st.SearchStrategy[str]]] = {
    "command": {"@": _TRYTES},
    "jsonrpc": {
        "@": _HEX.map(lambda text: f'"0x{text[:40]:0<40}"'),
        "^": _HEX.map(lambda text: f'"0x{text[:64]:f<64}"'),
        "*": _HEX.map(lambda text: f'"0x{text[:14] or 0}"'),
        "&": _HEX.map(lambda text: f'"0x{text}"'),
        "!": _IDS,
    },
}
"""What may stand behind a mark, and what nearly may."""

_PUT_IN = [
    b"",
    b"",
    b"",
    b"\0",
    b"@",
    b"~",
    b"!",
    b"&",
    b" ",
    b'"',
    b"9",
    b"0x",
    b",",
    b"\\",
    b"}{",
    b"\n",
    b"\xc3\xa9",
]


@st.composite
def near_known(draw: st.DrawFn, policy: Policy, keys: Sequence[str]) -> bytes:
    """Bodies that are looked up, by `keys` of the policy's entries, and such as differ a little from them."""
    _, _, text = draw(st.sampled_from(keys)).split("|", 2)
    for sign, behind in _BEHIND[policy.form].items():
        while sign in text:
            text = text.replace(sign, draw(behind).replace(sign, ""), 1)
    body = text.replace("~", " ").encode()
    at = draw(st.integers(0, len(body)))
    tail = draw(st.one_of(st.just(b""), st.binary(max_size=60).map(lambda junk: b"\0" + junk)))
    return body[:at] + draw(st.sampled_from(_PUT_IN)) + body[at:] + tail
