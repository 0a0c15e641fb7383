"""Start, reload and stop, with the files that belong to it: HAProxy never loses its last good configuration."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from pathlib import Path

from nodegate.dataplane.certificate import read_certificate
from nodegate.dataplane.process import HaproxyProcess, wait_for_addresses
from nodegate.dataplane.shape import Shape
from nodegate.dataplane.store import Store
from nodegate.errors import BadDocument, Refused, Unsafe
from nodegate.haproxy import gateway, wire
from nodegate.haproxy.config import insert_servers
from nodegate.haproxy.paths import CERTIFICATE
from nodegate.model import Routing

log = logging.getLogger("nodegate.dataplane")


class Lifecycle:
    """What happens to HAProxy as a whole. `certificate` is the listener's file, None for plain HTTP."""

    def __init__(self, process: HaproxyProcess, store: Store, certificate: Path | None) -> None:
        self._process = process
        self._store = store
        self._certificate = certificate

    async def start(self, shape: Shape, *, as_it_was: bool) -> int:
        """Start HAProxy with the servers it had when it died; returns the master's process id.

        `as_it_was` starts its last configuration untouched, if there is one. Otherwise that is `shape`
        with the old servers; if HAProxy does not take these, without them; if it does not take the shape
        at all, the last good configuration. Raises as `HaproxyProcess.start` when nothing of it works.
        """
        store = self._store
        await asyncio.to_thread(store.prepare)
        await self.take_certificate()
        last = await asyncio.to_thread(store.config)
        good = await asyncio.to_thread(store.good_config)
        if not as_it_was or last is None:
            await asyncio.to_thread(store.put_maps, shape.maps)
            last = insert_servers(shape.text(), await asyncio.to_thread(store.server_lines))
        fault: Unsafe | None = None
        for text in dict.fromkeys(filter(None, (last, shape.text(), good))):
            if fault is not None:
                log.error("%s; trying to start HAProxy with less", fault)
            await asyncio.to_thread(store.put, text)
            try:
                pid = await self._process.start(gateway.listen_in(text))
            except Unsafe as error:
                fault = fault or error
            else:
                await asyncio.to_thread(store.approve)
                return pid
        assert fault is not None  # there is always the shape's own text
        raise fault

    async def prepare(self, shape: Shape) -> None:
        """Leave a configuration in place that HAProxy takes and whose addresses are free: its last one, else
        `shape`, else the last good one. Raises Unsafe with HAProxy's words, Conflict for a taken address."""
        store = self._store
        await asyncio.to_thread(store.prepare)
        await self.take_certificate()
        last, good = await asyncio.to_thread(store.config), await asyncio.to_thread(store.good_config)
        if last is None:
            await asyncio.to_thread(store.put_maps, shape.maps)
        fault: Unsafe | None = None
        for text in dict.fromkeys(filter(None, (last, shape.text(), good))):
            if fault is not None:
                log.error("%s; trying to start HAProxy with less", fault)
            await asyncio.to_thread(store.put, text)
            try:
                await self._process.validate(self._process.paths.config)
            except Unsafe as error:
                fault = fault or error
            else:
                await wait_for_addresses(gateway.listen_in(text))
                return
        assert fault is not None  # there is always the shape's own text
        raise fault

    async def reload(
        self, shape: Shape, wanted: Routing, maps_before: Mapping[str, Mapping[str, str]]
    ) -> None:
        """Replace the running configuration by `shape` with the wanted servers, without a gap.

        Raises Unsafe or Refused with HAProxy's words, Conflict for an address that is taken, BadDocument
        for a certificate: files and HAProxy are then as they were.
        """
        store = self._store
        before = await asyncio.to_thread(store.config)
        new = set(shape.listen) - set(gateway.listen_in(before or ""))
        await wait_for_addresses(sorted(new))
        await self.take_certificate()
        await asyncio.to_thread(store.prepare)
        await asyncio.to_thread(store.put_maps, shape.maps)
        try:
            text = shape.text(wanted.servers.values())
            await self._process.validate(await asyncio.to_thread(store.draft, text))
            await asyncio.to_thread(store.put, text)
            await self._process.reload()
        except (Unsafe, Refused):
            await asyncio.to_thread(store.put_maps, maps_before)
            if before is not None:
                await asyncio.to_thread(store.put, before)
            raise
        await asyncio.to_thread(store.approve)

    async def stop(self, grace: float) -> bool:
        """End HAProxy in order, and forget its servers: they will not be current at the next start.

        False when none ran."""
        ran = await self._process.stop(grace)
        await asyncio.to_thread(self._store.forget)
        return ran

    async def take_certificate(self) -> None:
        """Copy the listener's certificate to where HAProxy reads it at its start.

        A bad file leaves the last good copy in use; raises BadDocument when there is none.
        """
        if self._certificate is None:
            return
        try:
            pem = await asyncio.to_thread(read_certificate, self._certificate)
        except BadDocument as error:
            if await asyncio.to_thread(self._store.certificate) is None:
                raise
            log.error("%s; the last good certificate stays in use", error)
        else:
            await asyncio.to_thread(self._store.put_certificate, pem)

    async def refresh_certificate(self) -> bool:
        """Give the running HAProxy the certificate file as it is now; True when it had changed.

        Raises BadDocument or Refused when it is not good: the old one stays, also for the next start.
        """
        if self._certificate is None:
            return False
        pem = await asyncio.to_thread(read_certificate, self._certificate)
        if pem == await asyncio.to_thread(self._store.certificate):
            return False
        runtime = self._process.runtime
        commands = (*wire.set_certificate(CERTIFICATE, pem), wire.commit_certificate(CERTIFICATE))
        try:
            for reply in await runtime.send(commands):
                wire.accepted(reply)
        except Refused as error:
            await runtime.send([wire.abort_certificate(CERTIFICATE)])
            raise Refused(
                f"HAProxy does not take {self._certificate} (gateway.tls_certificate): {error}"
            ) from error
        await asyncio.to_thread(self._store.put_certificate, pem)
        return True
