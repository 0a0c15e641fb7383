"""htpasswd files of `[fabio.auth]`."""

from __future__ import annotations

from pathlib import Path

import pytest

from nodegate.errors import BadDocument
from nodegate.settings import Settings, load_settings
from nodegate.settings.htpasswd import parse, read_users

GOOD = "$6$saltsalt$abcDEF./123"


def test_users_with_hashes_that_haproxy_can_check() -> None:
    text = f"# staff\n\nanna:{GOOD}\nbert:$2y$05$abc./DEF\nanna:$5$salt$new\n"
    assert parse(text) == (("anna", "$5$salt$new"), ("bert", "$2y$05$abc./DEF"))


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("anna", "NAME:HASH"),
        (f":{GOOD}", "NAME:HASH"),
        ("anna:$apr1$abc$def", "htpasswd -B"),
        ("anna:{SHA}abc=", "htpasswd -B"),
        ("anna:secret", "htpasswd -B"),
    ],
)
def test_others_are_named_by_line_and_never_shown(line: str, words: str) -> None:
    with pytest.raises(ValueError, match=words) as caught:
        parse(f"# first\n{line}\n")
    assert "line 2" in str(caught.value)
    assert "secret" not in str(caught.value)


def test_a_file_that_cannot_be_used_is_a_fault_of_the_settings(tmp_path: Path) -> None:
    (tmp_path / "users").write_text("anna:secret\n")
    config = tmp_path / "nodegate.toml"
    config.write_text('[fabio.auth.staff]\nfile = "users"\n\n[fabio.auth.none]\nfile = "missing"\n')
    with pytest.raises(BadDocument) as caught:
        load_settings(config, {})
    assert [(fault.key, fault.line) for fault in caught.value.faults] == [
        ("fabio.auth.staff.file", 2),
        ("fabio.auth.none.file", 5),
    ]
    with pytest.raises(BadDocument, match="staff"):
        read_users(Settings.model_validate({"fabio": {"auth": {"staff": {"file": str(tmp_path / "users")}}}}))
