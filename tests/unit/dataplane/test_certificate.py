from __future__ import annotations

import ssl
from pathlib import Path

import pytest

from certificates import Authority
from nodegate.dataplane.certificate import read_certificate, system_authorities
from nodegate.errors import BadDocument


def test_a_certificate_with_its_key_is_read(tmp_path: Path) -> None:
    file = tmp_path / "x.pem"
    pem = Authority().issue("a.example")
    file.write_text(pem)
    assert read_certificate(file) == pem


def test_what_haproxy_could_not_serve_with_is_a_fault_of_the_setting(tmp_path: Path) -> None:
    one, two = Authority().issue("a.example"), Authority().issue("a.example")
    key = one.index("-----BEGIN PRIVATE KEY-----")
    bad = {
        "no key": one[:key],
        "no certificate": one[key:],
        "another's key": one[:key] + two[two.index("-----BEGIN PRIVATE KEY-----") :],
        "text": "nonsense",
        "not ascii": "é" + one,
        "empty": "",
    }
    for name, text in bad.items():
        file = tmp_path / f"{name}.pem"
        file.write_text(text, encoding="utf-8")
        with pytest.raises(BadDocument) as caught:
            read_certificate(file)
        (fault,) = caught.value.faults
        assert (fault.file, fault.key) == (str(file), "gateway.tls_certificate"), name
    with pytest.raises(BadDocument, match="No such file"):
        read_certificate(tmp_path / "missing.pem")


def test_the_systems_authorities_are_a_file_that_can_be_loaded() -> None:
    found = system_authorities()
    if found is None:
        assert not ssl.get_default_verify_paths().cafile
    else:
        ssl.create_default_context(cafile=str(found))
