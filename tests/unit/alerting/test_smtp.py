"""One mail through a real SMTP server: STARTTLS, login, and what its refusals mean."""

from __future__ import annotations

from pathlib import Path

import pytest
from aiosmtpd.smtp import AuthResult, LoginPassword

from certificates import Authority
from nodegate.alerting.smtp import letter, send
from nodegate.errors import Refused, Unavailable
from nodegate.settings import MailSettings
from portal_rig import MailServer
from support import free_port

MAIL = letter(sender="a@example.org", to="b@example.org", subject="Grüße", text="Füße\n", name="Fleet")


def plain(port: int) -> MailSettings:
    return MailSettings(server=f"127.0.0.1:{port}", security="none")


def test_headers_cannot_be_broken_out_of() -> None:
    mail = letter(sender="a@x.org", to="b@x.org", subject="hi\r\nBcc: c@x.org", text="t", name="N\r\nX: y")
    assert mail["Subject"] == "hi Bcc: c@x.org"
    assert mail["Bcc"] is None
    assert mail["X"] is None


async def test_a_mail_arrives_as_it_was_written() -> None:
    with MailServer() as server:
        await send(MAIL, plain(server.port))
    [mail] = server.mails
    assert (mail.to, mail.subject, mail.text.strip()) == ("b@example.org", "Grüße", "Füße")


async def test_it_goes_over_tls_with_a_login_whose_password_is_in_a_file(tmp_path: Path) -> None:
    authority = Authority()
    (tmp_path / "ca.pem").write_text(authority.pem)
    context = authority.context(tmp_path, "localhost")
    seen: list[tuple[bytes, bytes]] = []

    def authenticate(*arguments: object) -> AuthResult:
        found = arguments[-1]
        assert isinstance(found, LoginPassword)
        seen.append((found.login, found.password))
        return AuthResult(success=found.password == b"secret", handled=False)

    (tmp_path / "password").write_text("secret\n")
    with MailServer(
        tls_context=context, require_starttls=True, authenticator=authenticate, auth_required=True
    ) as server:
        settings = MailSettings(
            server=f"localhost:{server.port}", tls_ca=tmp_path / "ca.pem", username="fleet",
            password_file=tmp_path / "password",
        )  # fmt: skip
        await send(MAIL, settings)
        assert seen == [(b"fleet", b"secret")]
        wrong = settings.model_copy(update={"password_file": None})
        with pytest.raises(Unavailable, match="535"):
            await send(MAIL, wrong, {"NODEGATE_MAIL_PASSWORD": "wrong"})
        untrusting = settings.model_copy(update={"tls_ca": None})
        with pytest.raises(Unavailable, match=r"(?i)certificate"):
            await send(MAIL, untrusting)
    assert len(server.mails) == 1


@pytest.mark.filterwarnings("ignore:Requiring AUTH:UserWarning")  # the server knows TLS of STARTTLS only
async def test_a_server_that_speaks_tls_from_the_first_byte_gets_login_and_mail(tmp_path: Path) -> None:
    authority = Authority()
    (tmp_path / "ca.pem").write_text(authority.pem)
    seen: list[bytes] = []

    def authenticate(*arguments: object) -> AuthResult:
        found = arguments[-1]
        assert isinstance(found, LoginPassword)
        seen.append(found.password)
        return AuthResult(success=True)

    with MailServer(
        ssl_context=authority.context(tmp_path, "localhost"), authenticator=authenticate, auth_required=True,
        auth_require_tls=False,
    ) as server:  # fmt: skip
        settings = MailSettings(
            server=f"localhost:{server.port}", security="tls", tls_ca=tmp_path / "ca.pem", username="fleet",
            timeout=60,
        )  # fmt: skip
        await send(MAIL, settings, {"NODEGATE_MAIL_PASSWORD": "secret"})
        assert seen == [b"secret"]
        [mail] = server.mails
        assert (mail.to, mail.text.strip()) == ("b@example.org", "Füße")
        for wrong, words in (
            ({"tls_ca": None}, r"(?i)certificate"),
            ({"server": f"127.0.0.1:{server.port}"}, r"(?i)certificate"),
        ):
            with pytest.raises(Unavailable, match=words):
                await send(MAIL, settings.model_copy(update=wrong))
    with (
        MailServer() as server,
        pytest.raises(Unavailable, match=r"127\.0\.0\.1"),
    ):  # one that speaks no TLS at all
        await send(MAIL, settings.model_copy(update={"server": f"127.0.0.1:{server.port}", "timeout": 5.0}))
    assert (seen, server.mails) == ([b"secret"], [])


async def test_a_refusal_for_good_differs_from_one_for_now() -> None:
    with MailServer() as server:
        server.refuse = lambda address: "550 no such user here"
        with pytest.raises(Refused, match="550 no such user here"):
            await send(MAIL, plain(server.port))
        server.refuse = lambda address: "451 come back later"
        with pytest.raises(Unavailable, match="451"):
            await send(MAIL, plain(server.port))
    with pytest.raises(Unavailable, match=r"127\.0\.0\.1"):
        await send(MAIL, plain(free_port()))
    with pytest.raises(Unavailable, match=r"mail\.server"):
        await send(MAIL, MailSettings())
