"""Real EVM nodes: anvil, run directly from its npm package."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path
from typing import Self

import aiohttp
import pytest

from support import free_port, until

BINARY = Path(__file__).parent / "js" / "node_modules" / "@foundry-rs" / "anvil-linux-amd64" / "bin" / "anvil"

needs_anvil = pytest.mark.skipif(
    not BINARY.exists(), reason="the npm package @foundry-rs/anvil-linux-amd64 is not installed"
)

CHAIN_ID = 31337
"""What anvil is on when nobody says otherwise."""


class Anvil:
    """One anvil with a chain of its own, a block each second. Use it as an async context manager."""

    kind = "evm"

    def __init__(self, name: str, *, chain_id: int = CHAIN_ID) -> None:
        self.id = name
        self.chain_id = chain_id
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.process: asyncio.subprocess.Process | None = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.kill()

    async def start(self) -> None:
        """Start it on its port, from the first block on, and wait until it answers."""
        self.process = await asyncio.create_subprocess_exec(
            BINARY, "--port", str(self.port), "--chain-id", str(self.chain_id), "--block-time", "1", "--silent",
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        try:
            await until(self._answers, what=f"anvil {self.id} answers")
        except BaseException:
            await self.kill()
            raise

    async def kill(self) -> None:
        """SIGKILL."""
        if self.process is not None and self.process.returncode is None:
            self.process.kill()
            await self.process.wait()

    def freeze(self) -> None:
        """SIGSTOP: the kernel still takes connections, nobody answers."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)

    async def _answers(self) -> bool:
        call = {"jsonrpc": "2.0", "id": 1, "method": "eth_blockNumber", "params": []}
        try:
            async with aiohttp.ClientSession() as session, session.post(self.url, json=call) as response:
                return response.status == 200
        except aiohttp.ClientError:
            return False
