"""What scaling remembers is on disk before anything is done because of it, and a damaged file is never "nothing"."""

from __future__ import annotations

from pathlib import Path

import pytest

from nodegate.daemon.scalebook import Book
from nodegate.errors import BadDocument, Unavailable
from nodegate.model import Instant
from nodegate.scaling import Ledger, Own

OWN = Own(id="main-auto-abc123", kind="iri", started_at=Instant(1), at=Instant(1))


async def test_a_node_is_remembered_by_the_next_daemon_until_it_is_forgotten(tmp_path: Path) -> None:
    book = Book(tmp_path / "scaling.json")
    await book.load()
    assert book.ledger("main") == Ledger()
    await book.keep_own("main", OWN)
    later = Book(tmp_path / "scaling.json")
    await later.load()
    assert later.ledger("main").own == {OWN.id: OWN}
    await later.forget_own("main", OWN.id)
    last = Book(tmp_path / "scaling.json")
    await last.load()
    assert last.ledger("main").own == {}
    assert (tmp_path / "scaling.json").stat().st_mode & 0o777 == 0o600


async def test_a_damaged_file_stops_scaling(tmp_path: Path) -> None:
    (tmp_path / "scaling.json").write_text("{}")
    with pytest.raises(BadDocument, match="stop the nodes it named by hand"):
        await Book(tmp_path / "scaling.json").load()


async def test_what_cannot_be_written_is_not_taken_for_remembered(tmp_path: Path) -> None:
    book = Book(tmp_path / "nowhere" / "scaling.json")
    await book.load()
    with pytest.raises(Unavailable, match="cannot be written"):
        await book.keep_own("main", OWN)
    assert book.ledger("main") == Ledger()
