"""The files from which HAProxy starts: configuration, maps, certificate; always a whole that was accepted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from nodegate.dataplane.files import make_private, read_text, write_text
from nodegate.dataplane.shape import guard_file, guard_program
from nodegate.haproxy import wire
from nodegate.haproxy.config import insert_servers, split_servers
from nodegate.haproxy.paths import MAPS, Paths

Lines = Mapping[str, Sequence[str]]
"""Server lines by backend."""


class Store:
    """Reads and writes the files in `paths.directory`. Methods block; they raise Unavailable when the disk
    fails, and then nothing has changed."""

    def __init__(self, paths: Paths) -> None:
        self.paths = paths

    def prepare(self) -> None:
        """Make the directories."""
        make_private(self.paths.directory)
        make_private(self.paths.map_file(MAPS[0]).parent)
        write_text(self.paths.directory / guard_file(), guard_program())

    def config(self) -> str | None:
        """The configuration that the next start reads, None when there is none."""
        return read_text(self.paths.config)

    def good_config(self) -> str | None:
        """The last configuration that HAProxy took, None when there is none."""
        return read_text(self.paths.good_config)

    def draft(self, text: str) -> Path:
        """Write a configuration that is still to be validated; returns its file."""
        write_text(self.paths.new_config, text)
        return self.paths.new_config

    def put(self, text: str) -> None:
        """Make `text` the configuration that the next start reads."""
        write_text(self.paths.config, text)
        self.paths.new_config.unlink(missing_ok=True)

    def approve(self) -> None:
        """Remember the present configuration as one that HAProxy took."""
        text = self.config()
        if text is not None:
            write_text(self.paths.good_config, text)

    def forget(self) -> None:
        """Forget the configuration: HAProxy was stopped in order, its servers will not be current again."""
        for file in (self.paths.config, self.paths.good_config, self.paths.new_config):
            file.unlink(missing_ok=True)

    def put_servers(self, lines: Lines, skeleton: str) -> None:
        """Give the present configuration these servers and leave the rest as it is; without a present
        one, `skeleton` is the rest."""
        text = self.config() or skeleton
        self.put(insert_servers(split_servers(text)[0], lines))

    def server_lines(self) -> Lines:
        """The servers of the present configuration."""
        text = self.config()
        return {} if text is None else split_servers(text)[1]

    def put_maps(self, maps: Mapping[str, Mapping[str, str]]) -> None:
        """Write the map files. HAProxy needs each one of `MAPS` to exist, if only empty."""
        for name in dict.fromkeys((*MAPS, *maps)):
            text = "".join(f"{line}\n" for line in wire.map_lines(maps.get(name, {})))
            write_text(self.paths.map_file(name), text)

    def certificate(self) -> str | None:
        """The copy of the certificate that HAProxy serves with, None when there is none."""
        return read_text(self.paths.certificate)

    def put_certificate(self, pem: str) -> None:
        """Keep `pem` as what HAProxy serves with after its next start."""
        write_text(self.paths.certificate, pem)
