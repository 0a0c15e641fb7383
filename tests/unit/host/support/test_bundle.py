"""What is collected, what is not, and what the archive holds."""

from __future__ import annotations

import json
import os
import tarfile
from pathlib import Path

import pytest

from nodegate.errors import Unavailable
from nodegate.host.support import collect
from nodegate.host.support.bundle import clean, manifest, manifest_file, write_bundle
from nodegate.host.support.collect import Item, one_file, state_files
from nodegate.model import Instant

AT = Instant(1_790_000_000.0)


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """A state directory with what is wanted, what is not, and links that lead outside."""
    folder = tmp_path / "state"
    (folder / "config").mkdir(parents=True)
    (folder / "config" / "haproxy.cfg").write_text("global\n  stats auth admin:s3cret-one\n")
    (folder / "access.log").write_text('{"path": "/", "token": "s3cret-two"}\n')
    (folder / "token").write_text("s3cret-three\n")
    (folder / "registry.db").write_bytes(b"s3cret-four")
    outside = tmp_path / "outside.log"
    outside.write_text("s3cret-five")
    (folder / "linked.log").symlink_to(outside)
    (folder / "linked").symlink_to(tmp_path, target_is_directory=True)
    os.mkfifo(folder / "pipe.log")
    return folder


def test_texts_are_taken_and_links_pipes_and_secrets_are_not(state: Path) -> None:
    items = {item.name: item for item in state_files(state)}
    assert {name for name, item in items.items() if item.missing is None} == {
        "state/LISTING", "state/access.log", "state/config/haproxy.cfg"
    }  # fmt: skip
    assert items["state/linked.log"].missing == "a link: not followed"
    assert items["state/linked"].missing == "a link: not followed"
    assert items["state/token"].missing == "holds secrets by its nature"
    assert "registry.db" in items["state/LISTING"].text
    assert "s3cret-five" not in "".join(item.text for item in items.values())


def test_a_link_is_not_read_by_its_own_name_either(state: Path) -> None:
    assert one_file(state / "linked.log", "x").missing == "a link: not followed"
    assert one_file(state / "pipe.log", "x").missing is not None
    assert one_file(state / "none", "x").missing == "No such file or directory"


def test_of_a_long_log_the_end_is_taken_from_a_whole_line_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(collect, "MAX_FILE", 100)
    file = tmp_path / "long.log"
    file.write_text("".join(f"line {number:03}\n" for number in range(50)))
    text = one_file(file, "long.log").text
    assert text.startswith("line ")
    assert text.endswith("line 049\n")
    assert len(text) < 100


def test_the_archive_has_clean_files_and_says_what_it_took(state: Path, tmp_path: Path) -> None:
    files, entries = clean(state_files(state), ("s3cret-two",))
    document = manifest(entries, at=AT)
    path = tmp_path / "out.tar.gz"
    write_bundle(path, [manifest_file(document), *files], at=AT, folder="bundle")
    assert path.stat().st_mode & 0o777 == 0o600
    with tarfile.open(path) as archive:
        texts = {
            member.name: (archive.extractfile(member) or path.open("rb")).read().decode()
            for member in archive
        }
    assert "s3cret" not in "".join(texts.values())
    assert json.loads(texts["bundle/MANIFEST.json"]) == json.loads(json.dumps(document))
    taken = {entry["name"]: entry["removed"] for entry in json.loads(texts["bundle/MANIFEST.json"])["files"]}
    assert taken["state/access.log"] == {"known secret": 1}
    assert taken["state/config/haproxy.cfg"] == {"named secret": 1}
    assert set(texts) == {"bundle/MANIFEST.json", *(f"bundle/{name}" for name in taken)}


def test_an_existing_file_is_never_overwritten_nor_a_link_followed(tmp_path: Path) -> None:
    target = tmp_path / "target"
    link = tmp_path / "link.tar.gz"
    link.symlink_to(target)
    with pytest.raises(Unavailable, match="exists already"):
        write_bundle(link, [], at=AT, folder="x")
    assert not target.exists()


def test_a_reason_with_a_secret_is_cleaned_too() -> None:
    _, entries = clean([Item(name="x", source="y", missing="no answer: http://u:pa55word@h/")], ())
    assert "pa55word" not in (entries[0].missing or "")
