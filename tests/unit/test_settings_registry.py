"""`[registry]`."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from nodegate.errors import BadDocument, Unavailable
from nodegate.registry.make import make_client
from nodegate.settings import RegistrySettings, load_settings


@pytest.mark.parametrize(
    ("url", "base"),
    [
        ("sqlite", ()),
        ("consul://127.0.0.1:8500", ("http://127.0.0.1:8500",)),
        ("consul://consul.example", ("http://consul.example:8500",)),
        ("consuls://[::1]", ("https://[::1]:8501",)),
        ("http://a:1, http://b:2", ("http://a:1", "http://b:2")),
        (["consul://a:1", "consul://b:2"], ("http://a:1", "http://b:2")),
    ],
)
def test_addresses(url: object, base: tuple[str, ...]) -> None:
    assert RegistrySettings(url=url).base_urls == base  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "fields",
    [
        {"url": "redis://a:1"},
        {"url": "consul://"},
        {"url": "consul://user:secret@a:1"},
        {"url": "consul://a:1/path"},
        {"url": "consul://a:99999"},
        {"url": ["sqlite", "consul://a:1"]},
        {"url": ["consul://a:1", "consuls://a:1"]},
        {"url": []},
        {"token": "a", "token_file": "b"},
        {"service": "a b"},
        {"check": "tcp"},
        {"datacenter": "dc 1"},
    ],
)
def test_what_cannot_be_meant_is_a_fault(fields: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        RegistrySettings(**fields)  # type: ignore[arg-type]


def test_a_token_is_in_no_repr_and_no_dump() -> None:
    settings = RegistrySettings(url=("consul://a:1",), token="very-secret")  # type: ignore[arg-type]
    shown = f"{settings!r} {settings} {settings.model_dump()} {settings.model_dump_json()} {make_client(settings, {})!r}"
    assert "very-secret" not in shown


def test_the_file_and_the_environment(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("from-file\n")
    file = tmp_path / "nodegate.toml"
    file.write_text('[registry]\nurl = "consul://a:1"\ntoken_file = "secret"\n')
    settings = load_settings(file, {"NODEGATE_REGISTRY__URL": "consul://b:2,consul://c:3"}).registry
    assert settings.base_urls == ("http://b:2", "http://c:3")
    assert settings.token_file == tmp_path / "secret"
    file.write_text('[registry]\ntoken_file = "missing"\n')
    with pytest.raises(BadDocument, match="token_file"):
        load_settings(file, {})


def test_where_the_token_comes_from(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("one\n")
    client = make_client(RegistrySettings(url=("consul://a:1",), token_file=file), {"CONSUL_HTTP_TOKEN": "x"})
    assert client._headers() == {"X-Consul-Token": "one"}
    file.write_text("another\n")
    assert client._headers() == {"X-Consul-Token": "another"}
    file.unlink()
    with pytest.raises(Unavailable, match="token_file"):
        client._headers()
    plain = make_client(RegistrySettings(url=("consul://a:1",)), {"CONSUL_HTTP_TOKEN": "x"})
    assert plain._headers() == {"X-Consul-Token": "x"}
    assert make_client(RegistrySettings(url=("consul://a:1",)), {})._headers() == {}


def test_certificates_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("no certificate")
    with pytest.raises(Unavailable, match="tls_ca"):
        make_client(RegistrySettings(url=("consuls://a:1",), tls_ca=tmp_path / "ca.pem"), {})
