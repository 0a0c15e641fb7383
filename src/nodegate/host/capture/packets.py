"""From a frame to its TCP segment: link layers, VLAN tags, IPv4, IPv6 with extension headers. Pure.

Link types: https://www.tcpdump.org/linktypes.html.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from ipaddress import ip_address
from struct import Struct

ETHERNET = 1
FIN, SYN, RST, ACK = 0x01, 0x02, 0x04, 0x10
IPV4, IPV6 = 0x0800, 0x86DD
TAGS = frozenset({0x8100, 0x88A8, 0x9100})
MAX_TAGS = 4
TCP, FRAGMENT, AUTHENTICATION = 6, 44, 51
EXTENSIONS = frozenset({0, 43, FRAGMENT, AUTHENTICATION, 60, 135, 139, 140})
MAX_EXTENSIONS = 8
BSD_IPV6 = frozenset({10, 24, 28, 30})
"""AF_INET6 of Linux, NetBSD, FreeBSD and macOS: a loopback capture carries that of the machine it was made on."""

_HEAD = Struct("!HHIIBB").unpack_from
_SHORT = Struct("!H").unpack_from
_V4 = Struct("!BxH2xHxB2x4s4s").unpack_from
_USUAL = Struct("!12xHBxH2xHxB2x4s4sHHIIBB").unpack_from


Segment = tuple[bytes, int, bytes, int, int, int, int, int, bytes]
"""One TCP segment: source address, source port, target address, target port, sequence number, acknowledgement
number, flags, size, data. Addresses are 4 or 16 bytes. `size` is the payload's length on the wire; `data` is shorter
when the capture cut it. A plain tuple, for there are hundreds of thousands a second."""


class Fragmented(Exception):
    """A part of an IP packet: it is counted, never put together."""


def segment_of(link: int, data: bytes) -> Segment | None:
    """The TCP segment in a frame; None when it carries something else, or is too short to tell.

    Raises Fragmented for a part of an IP packet, and KeyError for a link type that is not known.
    """
    if link == ETHERNET and len(data) >= 54:
        # Nearly all packets are like this, and are read at one blow.
        (
            kind,
            first,
            total,
            offset,
            protocol,
            source,
            target,
            source_port,
            target_port,
            seq,
            ack,
            length,
            flags,
        ) = _USUAL(data)
        if kind == IPV4 and first == 0x45 and protocol == TCP and not offset & 0x3FFF and total:
            start, end = 34 + (length >> 4) * 4, 14 + total
            if length < 0x50 or start > end:
                return None
            return source, source_port, target, target_port, seq, ack, flags, end - start, data[start:end]
    found = LINKS[link](data)
    return None if found is None else _ip(data, found)


def _ip(data: bytes, place: int) -> Segment | None:
    version = data[place] >> 4 if place < len(data) else 0
    if version == 4:
        return _ipv4(data, place)
    return _ipv6(data, place) if version == 6 else None


def _ipv4(data: bytes, place: int) -> Segment | None:
    captured = len(data)
    if captured < place + 40:
        return None
    first, total, offset, protocol, source, target = _V4(data, place)
    if protocol != TCP:
        return None
    if offset & 0x3FFF:
        raise Fragmented
    # Segmentation offload leaves 0 where the packet is longer than the field can say.
    end = place + total if total else captured
    return _tcp(data, place + (first & 0x0F) * 4, end, source, target)


def _ipv6(data: bytes, place: int) -> Segment | None:
    captured = len(data)
    if captured < place + 60:
        return None
    size, following = _SHORT(data, place + 4)[0], data[place + 6]
    end = place + 40 + size if size else captured
    source, target = data[place + 8 : place + 24], data[place + 24 : place + 40]
    place += 40
    for _ in range(MAX_EXTENSIONS):
        if following == TCP:
            return _tcp(data, place, end, source, target)
        if following not in EXTENSIONS or place + 8 > captured:
            return None
        if following == FRAGMENT:
            if _SHORT(data, place + 2)[0] & 0xFFF9:
                raise Fragmented
            length = 8
        elif following == AUTHENTICATION:
            length = (data[place + 1] + 2) * 4
        else:
            length = (data[place + 1] + 1) * 8
        following = data[place]
        place += length
    return None


def _tcp(data: bytes, place: int, end: int, source: bytes, target: bytes) -> Segment | None:
    if place + 20 > len(data):
        return None
    source_port, target_port, seq, ack, offset, flags = _HEAD(data, place)
    start = place + (offset >> 4) * 4
    if offset < 0x50 or start > end:
        return None
    return source, source_port, target, target_port, seq, ack, flags, end - start, data[start:end]


def _ethernet(data: bytes) -> int | None:
    return _tagged(data, 12)


def _tagged(data: bytes, place: int) -> int | None:
    for _ in range(MAX_TAGS):
        if len(data) < place + 4:
            return None
        (kind,) = _SHORT(data, place)
        if kind in (IPV4, IPV6):
            return place + 2
        if kind not in TAGS:
            return None
        place += 4
    return None


def _cooked(data: bytes) -> int | None:
    return _tagged(data, 14)


def _cooked2(data: bytes) -> int | None:
    if len(data) < 20:
        return None
    (kind,) = _SHORT(data, 0)
    if kind in TAGS:
        # The tag's own protocol follows the header of 20 bytes, behind the two bytes of the tag.
        return _tagged(data, 22)
    return 20 if kind in {IPV4, IPV6} else None


def _null(data: bytes) -> int | None:
    if len(data) < 5:
        return None
    family = {data[0], data[3]} - {0}
    return 4 if family == {2} or (len(family) == 1 and family <= BSD_IPV6) else None


def _raw(data: bytes) -> int | None:
    return 0


LINKS: Mapping[int, Callable[[bytes], int | None]] = {
    0: _null,  # BSD loopback, in the byte order of the machine
    ETHERNET: _ethernet,
    12: _raw,
    14: _raw,
    101: _raw,
    108: _null,  # OpenBSD loopback, in network order
    113: _cooked,  # Linux `-i any`
    228: _raw,
    229: _raw,
    276: _cooked2,
}
"""Where the IP header starts in a frame, by link type; None when there is none."""

KNOWN_LINKS = "Ethernet, Linux cooked (v1, v2), raw IP, BSD loopback"


def address_words(address: bytes) -> str:
    """An address as people write it; IPv4 in IPv6 is shown as IPv4."""
    found = ip_address(address)
    mapped = getattr(found, "ipv4_mapped", None)
    return str(mapped or found)
