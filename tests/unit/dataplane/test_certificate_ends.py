from __future__ import annotations

import datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from hypothesis import given, settings
from hypothesis import strategies as st

from nodegate.dataplane.certificate import certificate_ends

NAME = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "gateway.example.org")])
KEYS = {"ec": ec.generate_private_key(ec.SECP256R1()), "rsa": rsa.generate_private_key(65537, 2048)}


def pem(ends: datetime.datetime, key: str = "ec") -> str:
    begins = datetime.datetime(2000, 1, 1, tzinfo=datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(NAME)
        .issuer_name(NAME)
        .serial_number(x509.random_serial_number())
    )
    builder = builder.public_key(KEYS[key].public_key()).not_valid_before(begins).not_valid_after(ends)
    return builder.sign(KEYS[key], hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()


MOMENTS = st.integers(978_307_200, 7_258_118_400).map(
    lambda seconds: datetime.datetime.fromtimestamp(seconds, datetime.UTC)
)  # 2001 to 2200


@settings(max_examples=50, deadline=None)
@given(ends=MOMENTS, key=st.sampled_from(sorted(KEYS)))
def test_the_end_is_that_of_the_certificate_before_and_after_2050(ends: datetime.datetime, key: str) -> None:
    whole = ends.replace(microsecond=0)
    assert certificate_ends(pem(whole, key)) == whole.timestamp()


def test_of_a_chain_the_first_end_counts() -> None:
    soon, late = (datetime.datetime(year, 1, 1, tzinfo=datetime.UTC) for year in (2030, 2040))
    assert certificate_ends(pem(late) + "text between\n" + pem(soon)) == soon.timestamp()


@pytest.mark.parametrize(
    "text", ["", "no certificate", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----"]
)
def test_a_text_without_a_certificate_ends_never(text: str) -> None:
    assert certificate_ends(text) is None


@settings(max_examples=100, deadline=None)
@given(data=st.binary(max_size=80))
def test_no_bytes_do_more_than_say_nothing(data: bytes) -> None:
    import ssl

    assert certificate_ends(ssl.DER_cert_to_PEM_cert(data)) is None
