"""What the daemon does every few seconds beside its passes, and what it says when it is up."""

from __future__ import annotations

import asyncio
import logging
import signal

from nodegate import __version__
from nodegate.alerting.service import Alerting
from nodegate.daemon.state import StateDir
from nodegate.daemon.supervise import Job, run_all
from nodegate.dataplane.driver import HaproxyDriver
from nodegate.errors import BadDocument, NodegateError, Refused
from nodegate.ports import Clock
from nodegate.settings import Settings
from nodegate.telemetry import Telemetry
from nodegate.telemetry.kinds import Kind, event

log = logging.getLogger("nodegate.daemon")

CERTIFICATE_EVERY = 5.0
"""Seconds between looks at the listener's certificate file."""
ACCESS_LOG_EVERY = 5.0
"""Seconds between looks at the size of the access log; HAProxy was seen to write 10 MB in that time at most."""


async def rotate_access_log(driver: HaproxyDriver) -> None:
    """Keep the access log from filling the disk, for ever."""
    while True:
        await asyncio.sleep(ACCESS_LOG_EVERY)
        await asyncio.to_thread(driver.rotate_access_log)


async def watch_certificate(driver: HaproxyDriver, alerting: Alerting, clock: Clock) -> None:
    """Take over a changed certificate file, for ever. A bad one is said once; the old one serves on."""
    complaint = ""
    while True:
        await asyncio.sleep(CERTIFICATE_EVERY)
        try:
            if await driver.refresh_certificate():
                log.info("the listener's certificate has changed and is in use")
            complaint = ""
        except (BadDocument, Refused) as error:
            if str(error) != complaint:
                words = f"{error}; the old certificate stays in use"
                log.error("%s", words)
                alerting.tell(event(clock.now(), Kind.CERTIFICATE_REFUSED, "gateway", words))
            complaint = str(error)
        except NodegateError:
            continue  # HAProxy is away: the pass says so, and starts it with the certificate


async def until_signal(
    jobs: tuple[Job, ...], telemetry: Telemetry, alerting: Alerting, clock: Clock
) -> signal.Signals:
    """Run the jobs until SIGINT or SIGTERM comes; returns which."""
    stop = asyncio.Event()
    received: list[signal.Signals] = []

    def restarted(task: str) -> None:
        telemetry.restarted(task)
        text = f"the task {task} failed and was started again; the log says why"
        alerting.tell(event(clock.now(), Kind.TASK_RESTARTED, "gateway", text, task=task))

    def end(number: signal.Signals) -> None:
        received.append(number)
        stop.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, end, number)
    try:
        await run_all(jobs, stop, restarted=restarted)
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)
    return received[0]


def banner(settings: Settings, directory: StateDir, url: str, said: str) -> list[str]:
    """Where everything is, for whoever started the daemon."""
    scheme = "https" if settings.gateway.tls_certificate else "http"
    portal = settings.portal
    return [
        f"nodegate {__version__}: {said}",
        *(f"  clients  {scheme}://{place}" for place in settings.gateway.listen),
        f"  admin    {url}  (token in {directory.token})",
        *([f"  portal   http://{portal.listen} as {portal.public_url}"] if portal.listen else []),
        f"  state    {directory.path}",
    ]
