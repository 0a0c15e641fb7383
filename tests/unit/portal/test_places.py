"""What owners type, and which addresses are asked at all."""

from __future__ import annotations

from contextlib import suppress
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nodegate.portal.places import counted_as, forbidden, host_and_port, url_of, within
from nodegate.settings import checked_url

addresses = st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6))


@pytest.mark.parametrize(
    "address",
    [
        "0.0.0.0", "10.1.2.3", "127.0.0.1", "127.255.255.254", "169.254.169.254", "172.16.0.1", "172.31.255.255",
        "192.168.0.1", "100.64.0.1", "100.100.100.200", "100.127.255.255", "192.0.0.192", "192.0.2.1",
        "198.18.0.1", "198.51.100.7", "203.0.113.9", "224.0.0.1", "239.255.255.255", "240.0.0.1",
        "255.255.255.255", "168.63.129.16", "192.88.99.1",
        "::", "::1", "fe80::1", "febf::1", "fec0::1", "fc00::1", "fd00:ec2::254", "ff02::1", "2001:db8::1",
        "::ffff:8.8.8.8", "::ffff:127.0.0.1", "::8.8.8.8", "64:ff9b::8.8.8.8", "64:ff9b:1::1", "2002:808:808::1",
        "2001::1", "100::1", "3fff::1", "5f00::1", "4000::1",
    ],
)  # fmt: skip
def test_what_is_not_of_the_public_internet_is_refused_in_words(address: str) -> None:
    why = forbidden(address)
    assert why is not None
    assert why.startswith(address)


@pytest.mark.parametrize(
    "address", ["8.8.8.8", "1.1.1.1", "172.32.0.1", "100.128.0.1", "2a00:1450::1", "2606:4700::1"]
)
def test_public_addresses_are_taken(address: str) -> None:
    assert forbidden(address) is None


def test_a_zone_is_refused_whatever_is_allowed() -> None:
    assert forbidden("fe80::1%eth0", ("fe80::/10",)) is not None


@given(addresses)
@settings(max_examples=200, deadline=None)
def test_nothing_that_python_calls_private_or_multicast_passes(ip: IPv4Address | IPv6Address) -> None:
    if forbidden(str(ip)) is None:
        assert ip.is_global
        kinds = ("multicast", "private", "loopback", "link_local", "reserved", "unspecified")
        assert not any(getattr(ip, f"is_{kind}") for kind in kinds)


@given(st.ip_addresses(v=4))
@settings(max_examples=100, deadline=None)
def test_an_ipv4_address_in_disguise_never_passes(ip: IPv4Address) -> None:
    number = int(ip)
    for disguise in (
        IPv6Address((0xFFFF << 32) | number),
        IPv6Address(number),
        IPv6Address((0x0064FF9B << 96) | number),
        IPv6Address((0x2002 << 112) | (number << 80)),
    ):
        assert forbidden(str(disguise)) is not None


@given(addresses, st.integers(8, 32))
@settings(max_examples=100, deadline=None)
def test_an_allowed_network_allows_its_own_addresses_and_no_others(
    ip: IPv4Address | IPv6Address, length: int
) -> None:
    network = str(ip_network(f"{ip}/{length}", strict=False))
    assert forbidden(str(ip), (network,)) is None
    assert within(str(ip), (str(ip),))
    other = ip_address(int(ip) ^ (1 << (ip.max_prefixlen - 1)))
    assert forbidden(str(other), (f"{ip}/32" if ip.version == 4 else f"{ip}/128",)) == forbidden(str(other))


@pytest.mark.parametrize(
    ("typed", "kind", "url"),
    [
        ("node.example.org", "iri", "http://node.example.org:14265"),
        (" Node.Example.org:14267 ", "iri", "http://node.example.org:14267"),
        ("node.example.org", "evm", "http://node.example.org:8545"),
        ("node.example.org", "http", "http://node.example.org"),
        ("https://node.example.org", "iri", "https://node.example.org"),
        ("HTTPS://node.example.org/", "iri", "https://node.example.org"),
        ("http://node.example.org", "iri", "http://node.example.org"),
        ("8.8.8.8", "iri", "http://8.8.8.8:14265"),
        ("2a00:1450::1", "iri", "http://[2a00:1450::1]:14265"),
        ("[2a00:1450::1]:1234", "iri", "http://[2a00:1450::1]:1234"),
    ],
)
def test_what_owners_type_becomes_a_url(typed: str, kind: str, url: str) -> None:
    assert url_of(typed, kind=kind) == url


def test_the_path_is_the_pools_own_or_none() -> None:
    assert url_of("h:8545", kind="evm", path="/v1") == "http://h:8545/v1"
    assert url_of("http://h:8545/v1", kind="evm", path="/v1") == "http://h:8545/v1"
    with pytest.raises(ValueError, match="path"):
        url_of("http://h:8545/v2", kind="evm", path="/v1")


@pytest.mark.parametrize(
    "typed",
    [
        "", "   ", "x" * 301, "ftp://h", "file:///etc/passwd", "http://user@h:80", "http://h:22", "h:25", "h:0",
        "h:99999", "http://h/?q", "http://h/#f", "javascript:alert(1)", "http://h /", "gopher://h", "http://",
        "h\r\nX: 1", "<b>", "http://0x7f.1:14265/a",
    ],
)  # fmt: skip
def test_what_is_no_address_of_a_node_is_refused_in_words(typed: str) -> None:
    with pytest.raises(ValueError, match=r"\w+ \w+"):
        url_of(typed, kind="iri")


@given(st.text(max_size=60), st.sampled_from(["iri", "evm", "http"]))
@settings(max_examples=200, deadline=None)
def test_any_text_is_a_checked_url_with_a_taken_port_or_a_value_error(typed: str, kind: str) -> None:
    with suppress(ValueError):
        url = url_of(typed, kind=kind)
        assert checked_url(url) == url
        _, port = host_and_port(url)
        assert port in {80, 443} or port >= 1024


def test_ipv6_counts_by_its_64_and_ipv4_in_disguise_as_ipv4() -> None:
    assert counted_as("2a00:1450::1") == counted_as("2a00:1450::ffff") == "2a00:1450::/64"
    assert counted_as("::ffff:8.8.8.8") == counted_as("8.8.8.8") == "8.8.8.8"
