"""Planted secrets of every kind are gone; what a bug report needs stays."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, SecretStr

from certificates import Authority
from nodegate.host.support.redact import (
    Redactor,
    declared_secrets,
    environment_secrets,
    secret_files,
    secret_values,
    with_parts,
)

SEED = "ABCDEFGHIJKLMNOPQRSTUVWXYZ9" * 3
HEX = "4f" * 32
PEM = (
    "-----BEGIN PRIVATE KEY-----\n"
    + "\n".join(["MIGHAgEAMBMGByqGSM49" * 3] * 3)
    + "\n-----END PRIVATE KEY-----\n"
)

PLANTED = [
    ('password = "hunter-42"', "hunter-42"),
    ("password = 'hunter-42'", "hunter-42"),
    ('smtp_password="a\\"b-hunter"', "b-hunter"),
    ('password = """two\nlines"""', "lines"),
    ('{"token": "tok-12345", "pool": "main"}', "tok-12345"),
    ('{"api_key":"k-998877"}', "k-998877"),
    ('tokens = ["one-111", "two-222"]', "two-222"),
    ("  consul_token: 9f8e7d\n", "9f8e7d"),
    ("NODEGATE_REGISTRY__TOKEN=abc-def", "abc-def"),
    ("client_secret=abc&x=1", "abc&"),
    ("GET /v1?token=s3cr3t&x=1", "s3cr3t"),
    ("https://user:pa55@example.org/x", "pa55"),
    ("https://justtoken@example.org/x", "justtoken"),
    ("postgres://u:p%40ss@db/x", "p%40ss"),
    ("Authorization: Bearer abcdefgh1234", "abcdefgh1234"),
    ("authorization: Basic dXNlcjpwYXNz", "dXNlcjpwYXNz"),
    ("with Bearer abcdefgh1234 it went", "abcdefgh1234"),
    ("saw eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln here", "eyJzdWIiOiIxIn0"),
    ("https://hooks.slack.com/services/T000/B000/XXXX", "B000"),
    ("https://discord.com/api/webhooks/123/abcDEF", "abcDEF"),
    ("https://api.telegram.org/bot123:ABC/sendMessage", "123:ABC"),
    ("key AKIAABCDEFGHIJKLMNOP", "AKIAABCDEFGHIJKLMNOP"),
    ("ghp_abcdefghijklmnopqrstuvwxyz0123", "ghp_abc"),
    ("xoxb-1234567890-abcdef", "xoxb-1234567890"),
    ("admin = $argon2id$v=19$m=65536,t=3,p=4$c2FsdA$aGFzaA", "argon2id"),
    ("user:$2b$12$abcdefghijklmnopqrstuv", "$2b$12$abc"),
    ("mail to someone.else+x@mail.example.org now", "someone.else"),
    (f"seed {SEED} in a body", SEED),
    (f"key 0x{HEX}", HEX),
    (PEM, PEM.splitlines()[-2]),
    ("-----BEGIN RSA PRIVATE KEY-----\nMIIEcut", "MIIEcut"),
    ("    auth_pass s3cret", "s3cret"),
    ("  user admin insecure-password s3cret", "s3cret"),
    ("  user admin password $5$abc", "$5$abc"),
    ("  stats auth admin:s3cret", "s3cret"),
    ("nodegate status --token abcdef", "abcdef"),
    ("nodegate status --token=abcdef", "abcdef"),
    ("Set-Cookie: nodegate_session=abcdef; Path=/", "abcdef"),
]


@pytest.mark.parametrize(("text", "secret"), PLANTED)
def test_a_planted_secret_is_gone_and_counted(text: str, secret: str) -> None:
    redactor = Redactor()
    cleaned = redactor(f"before\n{text}\nafter")
    assert secret not in cleaned
    assert "[removed: " in cleaned
    assert cleaned.startswith("before\n")
    assert sum(redactor.counts.values()) > 0


@pytest.mark.parametrize(
    "text",
    [
        'token_file = "/etc/nodegate/token"',
        'listen = ["0.0.0.0:14267"]',
        'url = "http://192.0.2.1:14265"',
        "2026-11-22T18:00:00Z node a is down: refused",
        "nodegate_requests_total 41",
        '"passwords": 3, "token": null, "secret": false',
        "server a 192.0.2.1:14265 check",
        "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----",
        "::1 and fe80::1 and 12:30:05",
        "a digest 5d41402abc4b2a76b9719d911017c592",
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    redactor = Redactor()
    assert redactor(text) == text
    assert not redactor.counts


def test_a_known_value_is_gone_wherever_it_stands_and_however_encoded() -> None:
    value = "p@ss/word+1"
    encoded = base64.b64encode(value.encode()).decode()
    text = f"plain {value}, url p%40ss%2Fword%2B1, basic {encoded}."
    cleaned = Redactor(known=(value,))(text)
    assert (
        cleaned
        == "plain [removed: known secret], url [removed: known secret], basic [removed: known secret]."
    )


def test_a_short_known_value_does_not_eat_ordinary_words() -> None:
    assert Redactor(known=("main",))("pool main") == "pool main"


def test_known_values_are_read_from_settings_and_environment() -> None:
    text = (
        '[mail]\npassword = "hunter-42"\nhost = "mx"\n[registry]\ntokens = ["one-111"]\ntoken_file = "/x"\n'
    )
    assert secret_values(text) == ("hunter-42", "one-111")
    environ = {"NODEGATE_MAIL__PASSWORD": "hunter-42", "HOME": "/root", "TOKEN_FILE": "/x"}
    assert environment_secrets(environ) == ("hunter-42",)


def test_cleaning_twice_changes_nothing_more() -> None:
    once = Redactor()("\n".join(text for text, _ in PLANTED))
    again = Redactor()
    assert again(once) == once
    assert not again.counts


SECRET = st.text(alphabet="abcdefghijkmnopqrstuvwxyzABCDEF0123456789-_.~", min_size=8, max_size=40).filter(
    lambda text: not text.replace(".", "").replace("-", "").isdigit()
)


@settings(max_examples=200, deadline=None)
@given(
    SECRET,
    st.sampled_from(['password = "{}"', "TOKEN={}", '{{"secret": "{}"}}', "api_key: {}", "//u:{}@h/", "{}"]),
    st.text(max_size=60),
)
def test_no_known_secret_survives_whatever_surrounds_it(secret: str, form: str, around: str) -> None:
    cleaned = Redactor(known=(secret,))(f"{around} {form.format(secret)} {around}")
    assert secret not in cleaned


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=300))
def test_any_text_is_cleaned_without_an_error(text: str) -> None:
    Redactor()(text)


class Inner(BaseModel):
    token: SecretStr | None = None
    name: str = "main"


class Outer(BaseModel):
    inner: Inner
    many: dict[str, Inner] = {}
    listed: tuple[Inner, ...] = ()


def test_what_settings_call_secret_is_known_however_deep_it_lies() -> None:
    one, two, three = (Inner(token=SecretStr(f"value-{number}")) for number in (1, 2, 3))
    found = declared_secrets(Outer(inner=one, many={"x": two, "y": Inner()}, listed=(three,)))
    assert found == ("value-1", "value-2", "value-3")


def test_of_a_secret_address_the_telling_part_is_known_too() -> None:
    assert with_parts(("https://own.example/in/abcdefghijkl-1", "short")) == (
        "https://own.example/in/abcdefghijkl-1", "in/abcdefghijkl-1", "abcdefghijkl-1", "short"
    )  # fmt: skip


def test_files_that_hold_secrets_are_found_in_settings() -> None:
    text = 'token_file = "/etc/a"\nurl_file=\'b/c\'\ntls_certificate = "/x"\n'
    assert secret_files(text) == ("/etc/a", "b/c")


def test_of_a_real_certificate_with_its_key_only_the_public_part_stays() -> None:
    pem = Authority().issue("gateway.example")
    public, _, private = pem.partition("-----BEGIN PRIVATE KEY-----")
    cleaned = Redactor()(pem)
    assert public.strip() in cleaned
    assert private.splitlines()[1] not in cleaned
