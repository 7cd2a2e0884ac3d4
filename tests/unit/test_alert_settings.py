"""Where alerts go: what the settings may say, and how a webhook is signed."""

import base64
import json
from datetime import UTC, datetime
from uuid import UUID

import pytest
from pydantic import SecretStr
from standardwebhooks import Webhook as Oracle

from adapters.egress import EgressPolicy
from adapters.http import PlatformHttp
from scheduler.alerting.mail import Mail, Server, Tls, read_server
from scheduler.alerting.webhook import Webhook, sign
from scheduler.services.alerts import Outgoing
from scheduler.settings import Settings, SettingsError
from tests.support.receivers import SECRET

PASSWORD = "hunter2-of-karvenia"
MAIL = {
    "smtp_url": SecretStr("smtps://mail.karvenia.example"),
    "alert_from": "chancery@karvenia.example",
    "alert_to": ("duty@karvenia.example",),
}
WEBHOOK = {
    "alert_webhook_url": SecretStr("https://duty.karvenia.example/hook"),
    "alert_webhook_secret": SecretStr(SECRET),
}


def _webhook(**values: object) -> Webhook | None:
    http = PlatformHttp(EgressPolicy())
    return Webhook.from_settings(Settings(**{**WEBHOOK, **values}), http)  # type: ignore[arg-type]


def _mail(**values: object) -> Mail | None:
    return Mail.from_settings(Settings(**{**MAIL, **values}))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("address", "host", "port", "tls"),
    [
        ("smtp://mail.karvenia.example", "mail.karvenia.example", 587, Tls.STARTTLS),
        ("smtp://mail.karvenia.example:25", "mail.karvenia.example", 25, Tls.STARTTLS),
        ("smtp://mail.karvenia.example?starttls=off", "mail.karvenia.example", 25, Tls.NONE),
        ("smtps://mail.karvenia.example", "mail.karvenia.example", 465, Tls.IMPLICIT),
        ("smtps://mail.karvenia.example:2465/", "mail.karvenia.example", 2465, Tls.IMPLICIT),
        ("smtp://localhost", "localhost", 25, Tls.NONE),
        ("smtp://127.0.0.9:2525", "127.0.0.9", 2525, Tls.NONE),
        ("smtp://[::1]", "::1", 25, Tls.NONE),
        ("smtp://127.0.0.1?starttls=required", "127.0.0.1", 587, Tls.STARTTLS),
        ("smtp://10.1.2.3", "10.1.2.3", 587, Tls.STARTTLS),
    ],
)
def test_mail_is_encrypted_unless_it_stays_on_this_machine_or_somebody_says_otherwise(
    address: str, host: str, port: int, tls: Tls
) -> None:
    assert read_server(address) == Server(host=host, port=port, tls=tls)


def test_a_name_and_a_password_may_hold_any_character() -> None:
    server = read_server("smtp://chan%40cery:p%2F%3A%40@mail.karvenia.example")
    assert (server.username, server.password) == ("chan@cery", "p/:@")


@pytest.mark.parametrize(
    "address",
    [
        f"http://u:{PASSWORD}@h",
        f"smtp://u:{PASSWORD}@",
        f"smtp://u:{PASSWORD}@h:99999",
        f"smtp://u:{PASSWORD}@h/path",
        f"smtp://u:{PASSWORD}@h?tls=off",
        f"smtp://u:{PASSWORD}@h?starttls=maybe",
        f"smtps://u:{PASSWORD}@h?starttls=required",
        f"smtp://u:{PASSWORD}@h?starttls=off",  # a password in clear
        PASSWORD,
    ],
)
def test_another_mail_server_is_refused_without_showing_the_address(address: str) -> None:
    with pytest.raises(SettingsError, match="CHANCERY_SMTP_URL") as caught:
        read_server(address)
    assert PASSWORD not in str(caught.value)


def test_nothing_is_configured_by_default() -> None:
    assert Mail.from_settings(Settings()) is None
    assert Webhook.from_settings(Settings(), PlatformHttp(EgressPolicy())) is None


@pytest.mark.parametrize("missing", list(MAIL))
def test_half_a_mail_is_refused(missing: str) -> None:
    assert _mail() is not None
    empty: object = {"smtp_url": None, "alert_from": "", "alert_to": ()}[missing]
    with pytest.raises(SettingsError, match="go together"):
        _mail(**{missing: empty})


@pytest.mark.parametrize(
    "address",
    ["duty", "duty@", "a b@karvenia.example", "Duty <d@karvenia.example>", "d@k.example\nBcc: x@y"],
)
def test_an_address_that_is_none_is_refused_by_name(address: str) -> None:
    with pytest.raises(SettingsError, match="CHANCERY_ALERT_FROM"):
        _mail(alert_from=address)
    with pytest.raises(SettingsError, match="CHANCERY_ALERT_TO"):
        _mail(alert_to=("duty@karvenia.example", address))


@pytest.mark.parametrize("missing", list(WEBHOOK))
def test_half_a_webhook_is_refused(missing: str) -> None:
    assert _webhook() is not None
    with pytest.raises(SettingsError, match="go together"):
        _webhook(**{missing: None})


@pytest.mark.parametrize(
    "address", ["ftp://h/x", "https://", f"https://u:{PASSWORD}@h/x", "duty", "https://[::1"]
)
def test_an_address_of_no_webhook_is_refused_without_showing_it(address: str) -> None:
    with pytest.raises(SettingsError, match="CHANCERY_ALERT_WEBHOOK_URL") as caught:
        _webhook(alert_webhook_url=SecretStr(address))
    assert PASSWORD not in str(caught.value)


@pytest.mark.parametrize(
    "secret",
    [
        SECRET.removeprefix("whsec_"),
        "whsec_" + base64.b64encode(b"k" * 23).decode(),
        "whsec_" + base64.b64encode(b"k" * 65).decode(),
        "whsec_not base64!",
        "whsec_",
    ],
)
def test_a_weak_or_broken_secret_is_refused_without_showing_it(secret: str) -> None:
    with pytest.raises(SettingsError, match="CHANCERY_ALERT_WEBHOOK_SECRET") as caught:
        _webhook(alert_webhook_secret=SecretStr(secret))
    assert secret.removeprefix("whsec_") not in str(caught.value).replace("whsec_", "") or not (
        secret.removeprefix("whsec_")
    )


def test_the_signature_is_that_of_the_specifications_library() -> None:
    key = base64.b64decode(SECRET.removeprefix("whsec_"))
    stamp = datetime(2026, 11, 23, 12, tzinfo=UTC)
    body = '{"title":"Dobro jutro iz Lipovca, здравствуй"}'
    expected = Oracle(SECRET).sign("id-1", stamp, body)
    assert sign(key, "id-1", int(stamp.timestamp()), body.encode()) == expected


def test_secrets_are_in_nobodys_description() -> None:
    mail = _mail(smtp_url=SecretStr(f"smtps://chancery:{PASSWORD}@mail.karvenia.example"))
    webhook = _webhook(alert_webhook_url=SecretStr(f"https://duty.karvenia.example/{PASSWORD}"))
    for shown in (repr(mail), repr(webhook)):
        assert PASSWORD not in shown
        assert SECRET not in shown


def test_a_mail_is_the_same_bytes_each_time_and_known_by_its_id() -> None:
    mail = _mail()
    assert mail is not None
    body = json.dumps({"subject": "[Chancery] Held: “Ж”", "text": "Post:  “Ж”\n"}).encode()
    at = datetime(2026, 11, 23, 12, tzinfo=UTC)
    first = mail.write(Outgoing(id=UUID(int=7), attempt=1, at=at, body=body))
    assert first == mail.write(Outgoing(id=UUID(int=7), attempt=9, at=at, body=body))
    assert f"Message-ID: <{UUID(int=7)}.alert@karvenia.example>".encode() in first
    assert first.isascii()
