"""nodegate.toml and NODEGATE_*: values, overlay, rules across fields, files."""

from __future__ import annotations

import datetime
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from hypothesis import given, settings
from hypothesis import strategies as st

from contract.nodes import paths, urls
from nodegate.errors import BadDocument
from nodegate.settings import (
    GatewaySettings,
    NodeSettings,
    PoolSettings,
    ProbeSettings,
    Settings,
    checked_url,
    default_id,
    load_settings,
    routes_of,
)
from nodegate.settings.checks import checked_address, checked_host, checked_name, checked_path

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(text: str, name: str = "nodegate.toml") -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    return write


def faults_in(path: Path | None, environ: dict[str, str] | None = None) -> list[str]:
    """The faults, without the directory of the file."""
    with pytest.raises(BadDocument) as raised:
        load_settings(path, environ or {})
    folder = f"{path.parent}/" if path is not None else "//"
    return [str(fault).replace(folder, "") for fault in raised.value.faults]


# Values


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("http://192.0.2.1:14265", "http://192.0.2.1:14265"),
        ("http://192.0.2.1:14265/", "http://192.0.2.1:14265"),
        ("HTTPS://Node.Example/Some/Path//", "https://node.example/Some/Path"),
        ("http://[2001:DB8::1]:80/x", "http://[2001:db8::1]:80/x"),
        ("http://my_node", "http://my_node"),
        ("http://node.:080", "http://node.:80"),
        ("http://xn--nd-mia.example", "http://xn--nd-mia.example"),
    ],
)
def test_a_url_is_taken_in_one_form(text: str, url: str) -> None:
    assert checked_url(text) == url


@pytest.mark.parametrize(
    "text",
    [
        "",
        "http",
        "http://",
        "http:///path",
        "//h:1",
        "h:1",
        "192.0.2.1:14265",
        "ftp://h",
        "tcp://h:1",
        "http://h:0",
        "http://h:65536",
        "http://h:x",
        "http://h:-1",
        "http://h:1:2",
        "http://user@h",
        "http://user:word@h",
        "http://@h",
        "http://h?",
        "http://h/?q",
        "http://h/#",
        "http://h/a b",
        " http://h",
        "http://h\n",
        "http://h/\x00",
        "http://h/\x7f",
        'http://h/"',
        "http://h\\x",
        "http://a;b",
        "http://a b",
        "http://$(x)",
        "http://-a",
        "http://a-",
        "http://nöde",
        "http://h/ä",
        "http://1.2.3",
        "http://256.1.1.1",
        "http://[::1",
        "http://[::1]x:80",
        "http://[1.2.3.4]",
        "http://[fe80::1%25eth0]",
        "http://[::g]",
        "http://" + "a" * 254,
    ],
)
def test_what_is_no_plain_url_of_a_node_is_refused_in_words(text: str) -> None:
    with pytest.raises(ValueError, match=r"[a-z]{2,} .*[a-z]{2,}"):
        checked_url(text)


@given(url=urls())
@settings(deadline=None, max_examples=150)
def test_a_url_in_its_form_stays_and_gives_a_legal_id(url: str) -> None:
    assert checked_url(url) == url
    assert checked_url(f"{url}/") == url
    assert checked_name(default_id(url)) == default_id(url)
    assert default_id(f"{url}/more") == default_id(url)


@given(text=st.text(max_size=30) | st.text("htps:/.[]@?#;\n\\ \x0001", max_size=20).map("http://{}".format))
@settings(deadline=None, max_examples=200)
def test_any_text_is_a_harmless_url_or_refused(text: str) -> None:
    try:
        url = checked_url(text)
    except ValueError:
        return
    assert url.isascii()
    assert url.isprintable()
    assert not set(url) & set(" \"'\\?#@")
    assert not set(url.split("/")[2]) & set(";,$`()&|<>")
    assert checked_url(url) == url


@pytest.mark.parametrize(
    ("url", "node_id"),
    [
        ("http://192.0.2.1:14265", "192.0.2.1-14265"),
        ("http://192.0.2.1:14265/x", "192.0.2.1-14265"),
        ("http://node.example", "node.example-80"),
        ("https://node.example", "node.example-443"),
        ("https://[2001:db8::1]:8080", "2001-db8-1-8080"),
        ("http://my_node:1", "my-node-1"),
        (f"http://{'a' * 40}.{'b' * 40}:14265", f"{'a' * 16}.{'b' * 40}-14265"),
    ],
)
def test_a_nodes_default_id_is_readable(url: str, node_id: str) -> None:
    assert default_id(url) == node_id
    assert NodeSettings(url=url, kind="iri").node_id == node_id
    assert NodeSettings(url=url, kind="iri", id="own").node_id == "own"


@pytest.mark.parametrize(
    "text", ["127.0.0.1:80", "*:443", "[::]:80", "[2001:db8::1]:65535", "localhost:1", "my-host.example:8080"]
)
def test_addresses_to_listen_on(text: str) -> None:
    assert checked_address(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "80",
        ":80",
        "h:",
        "h:0",
        "h:65536",
        "h:080808",
        "h:٣",
        "h:²",
        "h:+1",
        "::1:80",
        "[1.2.3.4]:80",
        "[*]:80",
        "**:80",
        "1.2.3:80",
        "a b:80",
        "h:80\n",
        "h\n:80",
        "h;x:80",
        "unix@/x:1",
    ],
)
def test_what_is_no_address_is_refused_in_words(text: str) -> None:
    with pytest.raises(ValueError, match=r"[a-z]{2,} .*[a-z]{2,}"):
        checked_address(text)


@given(path=paths)
@settings(deadline=None, max_examples=100)
def test_paths_lose_their_last_slash_only(path: str) -> None:
    assert checked_path(f"{path}/") == path
    assert checked_path(path) == path


@pytest.mark.parametrize("text", ["x", "/a b", "/a//b", "//", "/ä", "/a\n", "/a?b", "/a#b", '/a"'])
def test_what_is_no_path_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a path such as /evm"):
        checked_path(text)


@pytest.mark.parametrize("text", ["", "-a", "a-", "a b", "a:1", "ä", "a\n", "*.example"])
def test_what_is_no_host_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a host name"):
        checked_host(text)


def test_hosts_are_compared_in_lower_case() -> None:
    assert PoolSettings(hosts=("EVM.Example",)).hosts == ("evm.example",)


@pytest.mark.parametrize("text", ["", "-a", ".a", "_a", "a b", "a/b", "ä", "a" * 64, "a\n"])
def test_what_is_no_name_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="use 1 to 63 letters"):
        checked_name(text)


# Routes


@pytest.mark.parametrize(
    ("name", "pool", "routes"),
    [
        ("main", PoolSettings(), ("/",)),
        ("evm", PoolSettings(), ("/evm",)),
        ("evm", PoolSettings(paths=("/a/", "/b")), ("/a", "/b")),
        ("evm", PoolSettings(paths=("/",)), ("/",)),
        ("evm", PoolSettings(hosts=("a.example", "b.example")), ("a.example/", "b.example/")),
        ("main", PoolSettings(hosts=("a.example",), paths=("/x", "")), ("a.example/x", "a.example/")),
        ("evm", PoolSettings(paths=()), ()),
    ],
)
def test_the_routes_that_lead_to_a_pool(name: str, pool: PoolSettings, routes: tuple[str, ...]) -> None:
    assert routes_of(name, pool) == routes


# Loading


def test_without_a_file_there_are_the_defaults() -> None:
    assert load_settings(None, {}) == Settings()
    assert Settings().pool("any") == PoolSettings()


def test_an_empty_file_has_the_defaults(write: Write) -> None:
    assert load_settings(write("\ufeff# nothing\r\n"), {}) == Settings()


GOOD = """
[gateway]
listen = ["127.0.0.1:1", "[::1]:2"]
[probe]
interval = 10
[pools.main]
kind = "iri"
[pools.evm]
upstream_path = "/v1/evm/"
[[nodes]]
url = "http://192.0.2.1:14265/"
kind = "iri"
[[nodes]]
id = "own"
url = "https://node.example/v1/evm"
kind = "evm"
pool = "evm"
weight = 0
options = { batch = false, text = "x", number = 1.5 }
"""


def test_a_good_file_is_what_it_says(write: Write) -> None:
    loaded = load_settings(write(GOOD), {})
    assert loaded.gateway.listen == ("127.0.0.1:1", "[::1]:2")
    assert loaded.probe.interval == 10.0
    assert loaded.pool("evm").upstream_path == "/v1/evm"
    assert [(node.node_id, node.url, node.pool) for node in loaded.nodes] == [
        ("192.0.2.1-14265", "http://192.0.2.1:14265", "main"),
        ("own", "https://node.example/v1/evm", "evm"),
    ]
    assert loaded.nodes[1].options == {"batch": False, "text": "x", "number": 1.5}


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("[gatway]", "nodegate.toml:1: gatway: unknown key; did you mean 'gateway'?"),
        ("[gateway]\nlisten = []", "nodegate.toml:2: gateway.listen: "),
        ("[gateway]\nlisten = '127.0.0.1:1'", "nodegate.toml:2: gateway.listen: should be a list"),
        ("[gateway]\nlisten = [\n'127.0.0.1:1',\n'x:y'\n]", "nodegate.toml:4: gateway.listen[1]: 'x:y' is not HOST:PORT"),
        ("[gateway]\nnode_header = 'a: b'", "nodegate.toml:2: gateway.node_header: should match pattern"),
        ("[gateway]\nmaxconn = 0", "nodegate.toml:2: gateway.maxconn: should be greater than or equal to 1, not 0"),
        ("[probe]\ninterval = 'often'", "nodegate.toml:2: probe.interval: should be a valid number"),
        ("[probe]\nbackoff_max = inf", "nodegate.toml:2: probe.backoff_max: should be a finite number"),
        ("[health]\nmax_age = nan", "nodegate.toml:2: health.max_age: should be a finite number"),
        ("probe = 1", "nodegate.toml:1: probe: should be a table, not 1"),
        ("[pools.main]\nbalance = 'fast'", "nodegate.toml:2: pools.main.balance: should be 'leastconn', 'roundrobin', 'source' or 'first', not \"fast\""),
        ("[pools.main]\ntunnel_timeout = 3e6", "nodegate.toml:2: pools.main.tunnel_timeout: should be less than or equal to 2000000"),
        ("[pools.'a b']\nretries = 1", "nodegate.toml:1: pools.\"a b\": use 1 to 63 letters"),
        ("[pools.main]\n\nretry = 1", "nodegate.toml:3: pools.main.retry: unknown key; did you mean 'retries'?"),
        ("[[nodes]]\nkind = 'iri'", "nodegate.toml:1: nodes[0].url: is missing"),
        ("[[nodes]]\nkind = 'iri'\nurl = 'h'", "nodegate.toml:3: nodes[0].url: 'h' is not a URL such as"),
        ("nodes = [\n{kind = 'iri', url = 'http://h'},\n{kind = 'iri', ulr = 'http://i', url = 'http://i'}]", "nodegate.toml:3: nodes[1].ulr: unknown key; did you mean 'url'?"),
        ("[[nodes]]\nkind = 'iri'\nurl = 'http://h'\nintent = 'drain'", "nodegate.toml:4: nodes[0].intent: unknown key"),
        ("[[nodes]]\nkind = 'iri'\nurl = 'http://h'\n[nodes.options]\nx = [1]", "nodegate.toml:5: nodes[0].options.x: should be a string or an integer or a number or true or false"),
        ("[[nodes]]\nkind = 'iri'\nurl = 'http://h'\n[nodes.options]\nx = inf", "nodegate.toml:5: nodes[0].options.x: should be"),
        ("x = ", "nodegate.toml:1: not valid TOML: "),
    ],
)  # fmt: skip
def test_a_fault_has_file_line_and_key(write: Write, text: str, fault: str) -> None:
    found = faults_in(write(text))
    assert len(found) == 1
    assert found[0].startswith(fault)


def test_a_file_that_is_not_there_is_a_fault(tmp_path: Path) -> None:
    assert faults_in(tmp_path / "none.toml") == ["none.toml: cannot be read: No such file or directory"]


# Rules across fields


def nodes(*tables: str) -> str:
    return "".join(f"[[nodes]]\n{table}\n" for table in tables)


@pytest.mark.parametrize(
    ("text", "faults"),
    [
        (
            nodes("url = 'http://h:1'\nkind = 'iri'", "url = 'http://h:1'\nkind = 'iri'"),
            ["nodegate.toml:4: nodes[1].id: the id 'h-1' is taken by the node in line 1"],
        ),
        (
            nodes("url = 'http://h:1'\nkind = 'iri'", "url = 'http://i:1'\nkind = 'iri'\nid = 'h-1'"),
            ["nodegate.toml:7: nodes[1].id: the id 'h-1' is taken by the node in line 1"],
        ),
        (
            nodes("url = 'http://h:1'\nkind = 'iri'", "url = 'http://h:2'\nkind = 'evm'"),
            ["nodegate.toml:6: nodes[1].kind: pool 'main' holds iri nodes, this one is evm"],
        ),
        (
            "[probe]\ninterval = 120\n[health]\nmax_age = 100\n",
            [
                "nodegate.toml:4: health.max_age: 100 s is too short: the next probe of a node may end 135 s "
                "after the last one (probe.interval, jitter and timeout)"
            ],
        ),
        (
            "[probe]\nbackoff_max = 300\n",
            [
                "nodegate.toml:2: probe.backoff_max: 300 s is too long for health.max_age = 60: "
                "a dead node would turn unknown between two probes"
            ],
        ),
        (
            "[pools.main]\nkind = 'evm'\n" + nodes("url = 'http://h:1'\nkind = 'iri'"),
            ["nodegate.toml:5: nodes[0].kind: pool 'main' holds evm nodes, this one is iri"],
        ),
        (
            "[pools.main]\nupstream_path = '/x'\n" + nodes("url = 'http://h:1/y'\nkind = 'iri'"),
            [
                "nodegate.toml:4: nodes[0].url: path '/y' differs from pools.main.upstream_path; "
                "all nodes of a pool have one path"
            ],
        ),
        (
            "[pools.a]\n[pools.b]\npaths = ['/a']",
            ["nodegate.toml:2: pools.b: the route '/a' already leads to pool 'a'"],
        ),
        (
            "[pools.a]\nhosts = ['H']\n[pools.b]\nhosts = ['h']\npaths = ['/x', '/']",
            ["nodegate.toml:3: pools.b: the route 'h/' already leads to pool 'a'"],
        ),
        (
            "[pools.a]\npaths = ['/']\n" + nodes("url = 'http://h:1'\nkind = 'iri'"),
            ["nodegate.toml:3: nodes[0].pool: the route '/' already leads to pool 'a'"],
        ),
    ],
    ids=[
        "same url",
        "same id",
        "mixed kinds",
        "observations too short-lived",
        "back-off too long",
        "other kind",
        "path",
        "route",
        "host",
        "route of an unnamed pool",
    ],
)
def test_what_single_fields_cannot_show_is_found(write: Write, text: str, faults: list[str]) -> None:
    assert faults_in(write(text)) == faults


# Variables


def test_a_variable_beats_the_file_and_others_are_left_alone(write: Write) -> None:
    loaded = load_settings(
        write(GOOD),
        {
            "NODEGATE_PROBE__INTERVAL": "5",
            "NODEGATE_GATEWAY__LISTEN": "127.0.0.1:7, *:8",
            "NODEGATE_GATEWAY__NODE_HEADER": "",
            "NODEGATE_POOLS__EVM__WEBSOCKET": "false",
            "NODEGATE_POOLS__NEW__PATHS": "/a,/b",
            "NODEGATE_STATE": "/somewhere",
            "NODEGATE_TOKEN": "x",
            "MY_NODEGATE_PROBE__TIMEOUT": "9",
            "PATH": "/bin",
        },
    )
    assert loaded.probe == ProbeSettings(interval=5.0)
    assert loaded.gateway == GatewaySettings(listen=("127.0.0.1:7", "*:8"), node_header="")
    assert (loaded.pool("evm").websocket, loaded.pool("evm").upstream_path) == (False, "/v1/evm")
    assert loaded.pool("new").paths == ("/a", "/b")
    assert len(loaded.nodes) == 2


def test_variables_need_no_file() -> None:
    assert load_settings(None, {"NODEGATE_HEALTH__RISE": "5"}).health.rise == 5


@pytest.mark.parametrize(
    ("name", "value", "fault"),
    [
        ("NODEGATE_PROBE__INTERVAL", "often", "probe.interval: should be a valid number"),
        ("NODEGATE_PROBE__INTERVAL", "0", "probe.interval: should be greater than or equal to 0.1"),
        ("NODEGATE_PROBE__INTERVALL", "5", "probe.intervall: unknown key; did you mean 'interval'?"),
        ("NODEGATE_PROB__INTERVAL", "5", "prob: unknown key; did you mean 'probe'?"),
        ("NODEGATE_GATEWAY__LISTEN", "127.0.0.1:1,x", "gateway.listen[1]: 'x' is not HOST:PORT"),
        ("NODEGATE_GATEWAY__LISTEN", "", "gateway.listen: "),
        ("NODEGATE_POOLS__MAIN", "x", "pools.main: should be a table"),
        ("NODEGATE_POOLS__MAIN__RETRY", "1", "pools.main.retry: unknown key; did you mean 'retries'?"),
        ("NODEGATE_NODES__0__URL", "http://h", "nodes.0.url is not a setting that a variable can set"),
        ("NODEGATE_PROBE__INTERVAL__X", "1", "probe.interval.x is not a setting that a variable can set"),
        (
            "NODEGATE_GATEWAY__HAPROXY",
            "/nowhere/haproxy",
            "gateway.haproxy: /nowhere/haproxy: does not exist",
        ),
    ],
)
def test_a_fault_of_a_variable_names_the_variable(write: Write, name: str, value: str, fault: str) -> None:
    text = "[gateway]\nmaxconn = 5\n[probe]\ninterval = 7\n" + nodes("url = 'http://h:1'\nkind = 'iri'")
    (found,) = faults_in(write(text), {name: value})
    assert found.startswith(f"{name}: {fault}")


def test_faults_of_file_and_variables_are_told_together(write: Write) -> None:
    found = faults_in(
        write("[probe]\ntimeout = 0\n"), {"NODEGATE_PROBE__INTERVAL": "0", "NODEGATE_HEALTH__FALL": "x"}
    )
    assert sorted(fault.split(": ")[0] for fault in found) == [
        "NODEGATE_HEALTH__FALL",
        "NODEGATE_PROBE__INTERVAL",
        "nodegate.toml:2",
    ]


# Files


@pytest.fixture(scope="module")
def pem() -> dict[str, bytes]:
    """A certificate, its key in three forms, and another key."""
    key, other = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "gateway.example")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(now + datetime.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )

    def written(
        of: ec.EllipticCurvePrivateKey,
        form: serialization.PrivateFormat = serialization.PrivateFormat.PKCS8,
        encryption: serialization.KeySerializationEncryption | None = None,
    ) -> bytes:
        return of.private_bytes(serialization.Encoding.PEM, form, encryption or serialization.NoEncryption())

    secret = serialization.BestAvailableEncryption(b"secret")
    return {
        "certificate": certificate.public_bytes(serialization.Encoding.PEM),
        "key": written(key),
        "old key": written(key, serialization.PrivateFormat.TraditionalOpenSSL),
        "encrypted key": written(key, encryption=secret),
        "old encrypted key": written(key, serialization.PrivateFormat.TraditionalOpenSSL, secret),
        "other key": written(other),
        "garbage": b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        "nothing": b"",
    }


@pytest.mark.parametrize(
    "parts", ["certificate,key", "key,certificate", "certificate,old key", "certificate,certificate,key"]
)
def test_a_certificate_with_its_key_is_found_from_where_the_file_is(
    tmp_path: Path, write: Write, pem: dict[str, bytes], parts: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "etc/tls").mkdir(parents=True)
    (tmp_path / "etc/tls/gateway.pem").write_bytes(b"".join(pem[part] for part in parts.split(",")))
    monkeypatch.chdir(
        write("[gateway]\ntls_certificate = 'tls/gateway.pem'\n", "etc/nodegate.toml").parent.parent
    )
    for path in (tmp_path / "etc/nodegate.toml", Path("etc/nodegate.toml")):
        assert load_settings(path, {}).gateway.tls_certificate == tmp_path / "etc/tls/gateway.pem"
    from_here = {"NODEGATE_GATEWAY__TLS_CERTIFICATE": "etc/tls/gateway.pem"}
    assert load_settings(None, from_here).gateway.tls_certificate == tmp_path / "etc/tls/gateway.pem"
    without = {"NODEGATE_GATEWAY__TLS_CERTIFICATE": ""}
    assert load_settings(tmp_path / "etc/nodegate.toml", without).gateway.tls_certificate is None


def test_a_file_may_be_named_from_the_home_directory(
    tmp_path: Path, write: Write, pem: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "g.pem").write_bytes(pem["certificate"] + pem["key"])
    loaded = load_settings(write("[gateway]\ntls_certificate = '~/g.pem'\n", "etc/n.toml"), {})
    assert loaded.gateway.tls_certificate == tmp_path / "g.pem"


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        (None, "cannot be read: No such file or directory"),
        ("nothing", "no certificate in it; it must hold the certificate chain and the private key, in PEM"),
        ("key", "no certificate in it; it must hold the certificate chain and the private key, in PEM"),
        (
            "certificate",
            "no private key in it; it must hold the certificate chain and the private key, in PEM",
        ),
        ("certificate,other key", "its private key does not belong to its first certificate"),
        (
            "certificate,encrypted key",
            "its private key is encrypted, and HAProxy cannot ask for the password",
        ),
        (
            "certificate,old encrypted key",
            "its private key is encrypted, and HAProxy cannot ask for the password",
        ),
        ("garbage,key", "its certificate or its private key is damaged ("),
    ],
)
def test_a_certificate_that_cannot_be_used_is_a_fault_with_line_and_key(
    tmp_path: Path, write: Write, pem: dict[str, bytes], parts: str | None, words: str
) -> None:
    if parts is not None:
        (tmp_path / "g.pem").write_bytes(b"".join(pem[part] for part in parts.split(",")))
    (found,) = faults_in(write("[gateway]\nmaxconn = 5\ntls_certificate = 'g.pem'\n"))
    assert found.startswith(f"nodegate.toml:3: gateway.tls_certificate: g.pem: {words}")


def test_a_directory_is_no_certificate(tmp_path: Path, write: Write) -> None:
    (tmp_path / "tls").mkdir()
    found = faults_in(
        write("[gateway]\ntls_certificate = 'tls'\n[pools.main]\ntls_ca = 'tls'\nconnect_timeout = 1\n")
    )
    assert found[0] == "nodegate.toml:2: gateway.tls_certificate: tls: cannot be read: Is a directory"
    assert found[1].startswith("nodegate.toml:4: pools.main.tls_ca: tls: ")


@pytest.mark.parametrize(
    ("part", "words"),
    [
        (None, "cannot be read: No such file or directory"),
        ("nothing", "no usable certificate in it ("),
        ("key", "no usable certificate in it ("),
        ("garbage", "no usable certificate in it ("),
    ],
)
def test_authorities_that_cannot_be_used_are_a_fault_with_line_and_key(
    tmp_path: Path, write: Write, pem: dict[str, bytes], part: str | None, words: str
) -> None:
    if part is not None:
        (tmp_path / "ca.pem").write_bytes(pem[part])
    (found,) = faults_in(write("[pools.main]\n[pools.evm]\ntls_ca = 'ca.pem'\n"))
    assert found.startswith(f"nodegate.toml:3: pools.evm.tls_ca: ca.pem: {words}")


def test_authorities_that_can_be_used_are_found(tmp_path: Path, write: Write, pem: dict[str, bytes]) -> None:
    (tmp_path / "ca.pem").write_bytes(pem["certificate"])
    assert (
        load_settings(write("[pools.evm]\ntls_ca = 'ca.pem'\n"), {}).pool("evm").tls_ca == tmp_path / "ca.pem"
    )


def test_an_haproxy_must_be_a_program(tmp_path: Path, write: Write) -> None:
    binary = tmp_path / "haproxy"
    path = write("[gateway]\nhaproxy = 'haproxy'\n")
    assert faults_in(path) == ["nodegate.toml:2: gateway.haproxy: haproxy: does not exist"]
    binary.write_text("#!/bin/sh\n")
    assert faults_in(path) == [
        "nodegate.toml:2: gateway.haproxy: haproxy: is no program that this user may run"
    ]
    os.chmod(binary, 0o755)
    assert load_settings(path, {}).gateway.haproxy == binary


def test_a_portal_needs_a_url_a_mail_server_and_pools_whose_kind_strangers_do_not_choose(
    tmp_path: Path,
) -> None:
    path = tmp_path / "n.toml"
    path.write_text('[portal]\nlisten = "127.0.0.1:9790"\n')
    with pytest.raises(BadDocument) as refused:
        load_settings(path, {})
    assert {fault.key for fault in refused.value.faults} == {
        "portal.public_url",
        "portal.listen",
        "portal.pools[0]",
    }
    path.write_text('[portal]\npath = "/join"\n')
    with pytest.raises(BadDocument, match=r"portal\.listen"):
        load_settings(path, {})
    path.write_text(
        '[portal]\nlisten = "127.0.0.1:9790"\npublic_url = "https://x.example"\nnetworks = ["10.0.0.1/8"]\n'
    )
    with pytest.raises(BadDocument, match="host bits"):
        load_settings(path, {})


def test_portal_and_mail_can_be_set_by_variables(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("secret\n")
    found = load_settings(
        None,
        {
            "NODEGATE_PORTAL__LISTEN": "127.0.0.1:9790",
            "NODEGATE_PORTAL__PUBLIC_URL": "https://x.example",
            "NODEGATE_PORTAL__NETWORKS": "10.0.0.0/8, fd00::/8",
            "NODEGATE_MAIL__SERVER": "mail.example:587",
            "NODEGATE_MAIL__PASSWORD_FILE": str(tmp_path / "password"),
            "NODEGATE_POOLS__MAIN__KIND": "iri",
        },
    )
    assert found.portal.listen == "127.0.0.1:9790"
    assert found.portal.networks == ("10.0.0.0/8", "fd00::/8")
    assert found.mail.password_file == tmp_path / "password"
