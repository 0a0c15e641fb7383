"""A command in a real terminal: tmux on a socket of its own, its screen as text, keys into it."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

import pytest

from support import until

NEEDS_TMUX = pytest.mark.skipif(shutil.which("tmux") is None, reason="needs tmux (Debian: apt install tmux)")


class Terminal:
    """`nodegate ARGUMENTS` on a screen of `columns` by `rows`; the screen stays when the command ends."""

    def __init__(
        self,
        *arguments: str,
        columns: int = 80,
        rows: int = 24,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="ngtmux-"))
        self._socket = str(self._folder / "s")
        words = (sys.executable, "-m", "nodegate", *arguments)
        given = " ".join(f"{name}={shlex.quote(value)}" for name, value in (environ or {}).items())
        # `exec cat` keeps the last screen readable.
        shell = f"{given} {shlex.join(words)}; echo ended with $?; exec cat"
        self._start = ("new-session", "-d", "-x", str(columns), "-y", str(rows), shell)

    def __enter__(self) -> Self:
        self._tmux(*self._start)
        return self

    def __exit__(self, *_: object) -> None:
        self._tmux("kill-server", check=False)
        shutil.rmtree(self._folder, ignore_errors=True)

    def screen(self) -> str:
        """What stands on the screen now."""
        return self._tmux("capture-pane", "-p")

    def keys(self, *keys: str) -> None:
        """Type keys, in tmux's names."""
        self._tmux("send-keys", *keys)

    async def until(self, *words: str, within: float = 60.0) -> str:
        """The screen, once all the words stand on it."""
        seen = ""

        def there() -> bool:
            nonlocal seen
            seen = self.screen()
            return all(word in seen for word in words)

        try:
            await until(there, within=within, every=0.1)
        except AssertionError:
            raise AssertionError(f"not within {within} s: {words}; the screen shows\n{seen}") from None
        return seen

    def _tmux(self, *arguments: str, check: bool = True) -> str:
        command: Sequence[str] = ("tmux", "-S", self._socket, "-f", "/dev/null", *arguments)
        environ = {**os.environ, "TERM": "xterm-256color", "LC_ALL": "C.UTF-8"}
        environ.pop("TMUX", None)
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environ, timeout=30)
        assert not check or done.returncode == 0, f"{command}: {done.stderr}"
        return done.stdout
