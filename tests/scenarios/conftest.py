"""What scenarios share."""

from __future__ import annotations

import datetime
import fcntl
import ipaddress
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from shared import Facts, run_folder, shared

NewCertificate = Callable[[str], bytes]


@pytest.fixture(scope="session")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Facts]:
    """A real OpenStack, started once for all tests that use it; see `cloud.stack.start` for what is in it."""
    from cloud import stack

    pytest.importorskip("openstack", reason='needs openstacksdk: pip install "nodegate[openstack]"')
    if why := stack.missing():
        pytest.skip(why)
    with shared(run_folder(tmp_path_factory) / "cloud", stack.start, stack.stop) as facts:
        yield facts


@pytest.fixture
def calm_cloud(cloud: Facts, request: pytest.FixtureRequest) -> Iterator[None]:
    """Nobody stops the cloud's services meanwhile; with the mark `alone_in_cloud`, nobody else uses them."""
    alone = request.node.get_closest_marker("alone_in_cloud") is not None
    with (Path(cloud["folder"]) / ".calm").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        yield


@pytest.fixture
def new_certificate() -> NewCertificate:
    """Makes PEM files' content: a new self-signed certificate for 127.0.0.1 with the given common name, and
    its key."""
    return _certificate


def _certificate(common_name: str) -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, common_name)])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return certificate.public_bytes(serialization.Encoding.PEM) + secret


@pytest.fixture
def trusting() -> Callable[..., ssl.SSLContext]:
    """Makes a client's context that believes these certificates and no others."""

    def trust(*files: Path) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        for file in files:
            context.load_verify_locations(cafile=file)
        return context

    return trust
