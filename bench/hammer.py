"""As many requests as a proxy takes: `wrk` when it is installed, else the lab's own clients."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from nodegate.errors import Unavailable
from nodegate.lab.load import IRI_HEADERS, Load, LoadOptions
from nodegate.model import Seconds

SCRIPT = """
local bodies = {{ {bodies} }}
local place = 0
request = function()
  place = place % #bodies + 1
  return wrk.format("POST", "/", {{ {headers} }}, bodies[place])
end
done = function(summary, latency)
  local errors = summary.errors
  io.write(string.format('\\n{{"requests":%d,"seconds":%f,"failed":%d,"p50":%f,"p99":%f}}\\n',
    summary.requests, summary.duration / 1e6,
    errors.connect + errors.read + errors.write + errors.status + errors.timeout,
    latency:percentile(50) / 1e6, latency:percentile(99) / 1e6))
end
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hammered:
    """Good answers, seconds, failed requests, and latencies in seconds."""

    requests: int
    seconds: float
    failed: int
    p50: float
    p99: float


def tool() -> str:
    """What hammers here."""
    return "wrk" if shutil.which("wrk") else "nodegate lab load"


async def hammer(
    url: str, bodies: Sequence[bytes], *, connections: int, seconds: float, place: Path
) -> Hammered:
    """Requests from `connections` clients for so long. Raises Unavailable when one failed: refusals and
    errors are cheaper than answers, and would be measured in their place."""
    binary = shutil.which("wrk")
    if binary is None:
        found = await _with_lab(url, bodies, connections, seconds)
    else:
        found = await _with_wrk(binary, url, bodies, connections, seconds, place)
    if found.failed or not found.requests:
        raise Unavailable(f"{url}: {found.failed} of {found.requests + found.failed} requests failed")
    return found


async def _with_lab(url: str, bodies: Sequence[bytes], connections: int, seconds: float) -> Hammered:
    load = Load(
        LoadOptions(url=url, bodies=bodies, connections=connections, duration=Seconds(seconds), rate=None)
    )
    await load.start()
    report = await load.wait()
    return Hammered(
        requests=report.ok, seconds=report.seconds, failed=report.failures,
        p50=report.p50 or 0.0, p99=report.p99 or 0.0,
    )  # fmt: skip


async def _with_wrk(
    binary: str, url: str, bodies: Sequence[bytes], connections: int, seconds: float, place: Path
) -> Hammered:
    script = place / "wrk.lua"
    script.write_text(
        SCRIPT.format(
            bodies=", ".join(f"[==[{body.decode()}]==]" for body in bodies),
            headers=", ".join(f'["{name}"] = "{value}"' for name, value in IRI_HEADERS.items()),
        )
    )
    process = await asyncio.create_subprocess_exec(
        binary, "-t", "1", "-c", str(connections), "-d", f"{max(1, round(seconds))}s", "-s", str(script), url,
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    try:
        async with asyncio.timeout(seconds + 30):
            out, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    lines = [line for line in out.decode().splitlines() if line.startswith('{"requests"')]
    if not lines:
        raise Unavailable(f"wrk: {out.decode().strip()[-300:]}")
    return Hammered(**json.loads(lines[-1]))
