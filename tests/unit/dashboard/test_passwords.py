from __future__ import annotations

import json
from pathlib import Path

import pytest

from nodegate.dashboard.passwords import LONGEST, SHORTEST, Passwords
from nodegate.dashboard.roles import Role
from nodegate.errors import BadDocument, Unavailable

GOOD = "correct horse battery"


@pytest.fixture
def passwords(tmp_path: Path) -> Passwords:
    return Passwords(tmp_path)


def test_a_password_tells_the_role(passwords: Passwords) -> None:
    passwords.put(Role.OPERATOR, GOOD)
    passwords.put(Role.VIEWER, GOOD + " staple")
    assert passwords.role_of(GOOD) is Role.OPERATOR
    assert passwords.role_of(GOOD + " staple") is Role.VIEWER
    assert passwords.role_of(GOOD.upper()) is None
    assert passwords.role_of("") is None


def test_without_a_file_nobody_gets_in(passwords: Passwords) -> None:
    assert passwords.hashes() == {}
    assert passwords.role_of(GOOD) is None


def test_the_file_holds_no_password_and_is_for_its_owner_alone(passwords: Passwords) -> None:
    passwords.put(Role.OPERATOR, GOOD)
    text = passwords.path.read_text()
    assert GOOD not in text
    assert json.loads(text)["operator"].startswith("$argon2id$")
    assert passwords.path.stat().st_mode & 0o777 == 0o600


def test_a_password_set_by_another_process_counts_at_once(passwords: Passwords) -> None:
    passwords.put(Role.OPERATOR, GOOD)
    before = passwords.hashes()[Role.OPERATOR]
    Passwords(passwords.path.parent).put(Role.OPERATOR, "another password")
    assert passwords.hashes()[Role.OPERATOR] != before
    assert passwords.role_of(GOOD) is None


@pytest.mark.parametrize("text", ["", "short", "x" * (SHORTEST - 1), "x" * (LONGEST + 1)])
def test_a_password_of_a_bad_length_is_refused_with_the_lengths(passwords: Passwords, text: str) -> None:
    with pytest.raises(BadDocument, match=f"{SHORTEST} to {LONGEST}"):
        passwords.put(Role.OPERATOR, text)
    assert not passwords.path.exists()


def test_two_roles_cannot_share_a_password(passwords: Passwords) -> None:
    passwords.put(Role.OPERATOR, GOOD)
    with pytest.raises(BadDocument, match="other role"):
        passwords.put(Role.VIEWER, GOOD)


def test_a_removed_password_opens_nothing(passwords: Passwords) -> None:
    passwords.put(Role.VIEWER, GOOD)
    assert passwords.remove(Role.VIEWER)
    assert not passwords.remove(Role.VIEWER)
    assert passwords.role_of(GOOD) is None


@pytest.mark.parametrize("text", ["", "[]", '{"king": "x"}', "\xff"])
def test_a_broken_file_is_no_empty_one(passwords: Passwords, text: str) -> None:
    passwords.path.write_bytes(text.encode("latin-1"))
    with pytest.raises(Unavailable, match="set the passwords anew"):
        passwords.hashes()


def test_a_hash_that_is_none_opens_nothing(passwords: Passwords) -> None:
    passwords.path.write_text('{"operator": "plain"}')
    assert passwords.role_of("plain") is None
