"""Links, sessions and forms cannot be made up, changed, or used for something else."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nodegate.errors import Refused
from nodegate.model import Instant, Seconds
from nodegate.portal.tokens import Purpose, Signer

NOW = Instant(1_700_000_000.0)
signer = Signer("k" * 40)
names = st.text(st.characters(codec="ascii", categories=("L", "N")), min_size=1, max_size=24)


def made(subject: str = "abc", nonce: str = "n1", purpose: Purpose = Purpose.CONFIRM) -> str:
    return signer.sign(purpose, subject, nonce, now=NOW, life=Seconds(60))


@given(names, names, st.sampled_from(Purpose), st.floats(1, 1e6))
@settings(max_examples=100, deadline=None)
def test_what_was_signed_is_read_back_until_its_end(
    subject: str, nonce: str, purpose: Purpose, life: float
) -> None:
    token = signer.read(purpose, signer.sign(purpose, subject, nonce, now=NOW, life=Seconds(life)))
    assert (token.subject, token.nonce, token.purpose) == (subject, nonce, purpose)
    assert not token.expired(NOW)
    assert token.expired(Instant(NOW + life + 1))


@given(st.data())
@settings(max_examples=200, deadline=None)
def test_a_changed_text_is_refused_whatever_was_changed(data: st.DataObject) -> None:
    text = made()
    place = data.draw(st.integers(0, len(text)))
    other = data.draw(st.text(max_size=3))
    cut = data.draw(st.integers(0, 3))
    changed = text[:place] + other + text[place + cut :]
    if changed != text:
        with pytest.raises(Refused):
            signer.read(Purpose.CONFIRM, changed)


@given(st.text(max_size=600))
@settings(max_examples=200, deadline=None)
def test_any_other_text_is_refused_and_nothing_else_is_raised(text: str) -> None:
    with pytest.raises(Refused):
        signer.read(Purpose.OWNER, text)


@pytest.mark.parametrize("other", [purpose for purpose in Purpose if purpose is not Purpose.CONFIRM])
def test_a_text_is_good_for_its_own_purpose_only(other: Purpose) -> None:
    with pytest.raises(Refused):
        signer.read(other, made())


def test_another_key_refuses_it_and_a_short_key_is_none() -> None:
    with pytest.raises(Refused):
        Signer("j" * 40).read(Purpose.CONFIRM, made())
    with pytest.raises(ValueError, match="32"):
        Signer("short")
