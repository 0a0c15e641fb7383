from __future__ import annotations

from pathlib import Path

import pytest

from nodegate.dataplane.files import make_private, read_text, write_text
from nodegate.dataplane.store import Store
from nodegate.errors import Unavailable
from nodegate.haproxy.paths import Paths

SKELETON = "global\n\nbackend pool_a\n    balance first\n"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(Paths(directory=tmp_path / "haproxy"))
    store.prepare()
    return store


def test_files_are_private_and_replaced_as_a_whole(tmp_path: Path) -> None:
    file = tmp_path / "x"
    write_text(file, "one")
    inode = file.stat().st_ino
    assert file.stat().st_mode & 0o777 == 0o600
    write_text(file, "one")
    assert file.stat().st_ino == inode  # nothing was written
    write_text(file, "two")
    assert file.stat().st_ino != inode
    assert read_text(file) == "two"
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def test_a_disk_that_fails_is_unavailable_and_keeps_the_old_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Unavailable, match="cannot be written"):
        write_text(tmp_path / "missing" / "x", "text")
    with pytest.raises(Unavailable, match="cannot be read"):
        read_text(tmp_path)
    with pytest.raises(Unavailable, match="cannot be made"):
        make_private(tmp_path / "file" / "x")
    assert read_text(tmp_path / "missing") is None


def test_servers_are_exchanged_and_the_rest_stays(store: Store) -> None:
    store.put(SKELETON + "    server old 192.0.2.1:1\n")
    store.put_servers({"pool_a": ["    server new 192.0.2.2:1"]}, "unused")
    assert store.config() == SKELETON + "    server new 192.0.2.2:1\n"
    assert store.server_lines() == {"pool_a": ["    server new 192.0.2.2:1"]}


def test_a_configuration_that_was_lost_is_made_again(store: Store) -> None:
    store.put_servers({"pool_a": ["    server new 192.0.2.2:1"]}, SKELETON)
    assert store.config() == SKELETON + "    server new 192.0.2.2:1\n"


def test_only_what_haproxy_took_is_good(store: Store) -> None:
    store.put("first")
    store.approve()
    store.put("second")
    assert (store.config(), store.good_config()) == ("second", "first")
    store.draft("third")
    assert store.config() == "second"
    store.forget()
    assert (store.config(), store.good_config(), store.server_lines()) == (None, None, {})


def test_every_map_has_a_file_if_only_an_empty_one(store: Store) -> None:
    store.put_maps({"routes": {"/": "main/0", "/x/": "x/1"}})
    assert store.paths.map_file("routes").read_text() == "/ main/0\n/x/ x/1\n"
    assert store.paths.map_file("methods").read_text() == ""
