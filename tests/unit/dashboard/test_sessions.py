from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nodegate.dashboard.roles import Role
from nodegate.dashboard.sessions import MOST, Sessions

IDLE, LONGEST = 60.0, 600.0


def make(known: dict[Role, str] | None = None) -> Sessions:
    proofs = {Role.OPERATOR: "proof", Role.VIEWER: "other"} if known is None else known
    return Sessions(idle=IDLE, longest=LONGEST, still_true=lambda role, proof: proofs.get(role) == proof)


def test_a_login_is_known_by_its_cookie() -> None:
    sessions = make()
    found = sessions.of_cookie(sessions.begin(Role.OPERATOR, "proof", 5.0), 6.0)
    assert found is not None
    assert (found.role, found.began, found.theme) == (Role.OPERATOR, 5.0, "auto")


@given(text=st.text(max_size=80))
@settings(max_examples=200, deadline=None)
def test_what_was_not_signed_here_is_no_cookie(text: str) -> None:
    sessions = make()
    good = sessions.begin(Role.OPERATOR, "proof", 0.0)
    assert sessions.of_cookie(text, 0.0) is None
    assert sessions.of_cookie(text + good, 0.0) is None or text == ""
    assert make().of_cookie(good, 0.0) is None  # another process's key


def test_a_session_ends_without_a_click() -> None:
    sessions = make()
    cookie = sessions.begin(Role.OPERATOR, "proof", 0.0)
    assert sessions.of_cookie(cookie, IDLE) is not None
    assert sessions.of_cookie(cookie, IDLE + 0.1) is None
    assert sessions.of_cookie(cookie, 0.0) is None  # for good


def test_clicks_keep_it_up_to_its_longest_time() -> None:
    sessions = make()
    cookie = sessions.begin(Role.OPERATOR, "proof", 0.0)
    found = sessions.of_cookie(cookie, 0.0)
    assert found is not None
    now = 0.0
    while now + 50 <= LONGEST:
        now += 50
        sessions.touch(found.id, now)
        assert sessions.get(found.id, now) is not None
    sessions.touch(found.id, LONGEST)
    assert sessions.get(found.id, LONGEST + 0.1) is None


def test_a_changed_password_ends_the_sessions_that_rest_on_it() -> None:
    known = {Role.OPERATOR: "proof", Role.VIEWER: "other"}
    sessions = make(known)
    operator = sessions.begin(Role.OPERATOR, "proof", 0.0)
    viewer = sessions.begin(Role.VIEWER, "other", 0.0)
    known[Role.OPERATOR] = "new"
    assert sessions.of_cookie(operator, 1.0) is None
    assert sessions.of_cookie(viewer, 1.0) is not None


def test_a_logout_ends_it_and_others_stay() -> None:
    sessions = make()
    one, two = (sessions.begin(Role.OPERATOR, "proof", 0.0) for _ in range(2))
    found = sessions.of_cookie(one, 0.0)
    assert found is not None
    sessions.end(found.id)
    assert sessions.of_cookie(one, 0.0) is None
    assert sessions.of_cookie(two, 0.0) is not None
    for change in (
        sessions.end,
        lambda name: sessions.touch(name, 1.0),
        lambda name: sessions.paint(name, "dark"),
    ):
        change(found.id)
    assert sessions.get(found.id, 0.0) is None


def test_the_theme_stays_with_the_session() -> None:
    sessions = make()
    found = sessions.of_cookie(sessions.begin(Role.VIEWER, "other", 0.0), 0.0)
    assert found is not None
    sessions.paint(found.id, "dark")
    painted = sessions.get(found.id, 0.0)
    assert painted is not None
    assert painted.theme == "dark"


def test_the_longest_idle_one_makes_room() -> None:
    sessions = make()
    cookies = [sessions.begin(Role.OPERATOR, "proof", index / MOST) for index in range(MOST + 1)]
    assert sessions.of_cookie(cookies[0], 1.0) is None
    assert sessions.of_cookie(cookies[1], 1.0) is not None
    assert sessions.of_cookie(cookies[-1], 1.0) is not None


@pytest.mark.parametrize("role", list(Role))
def test_only_an_operator_may_write(role: Role) -> None:
    assert role.may_write is (role is Role.OPERATOR)
