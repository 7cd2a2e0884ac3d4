"""`CHANCERY_*`: every variable is read, bad values are refused by name, and no secret is shown."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from scheduler.settings import Settings, SettingsError

PASSWORD = "hunter2-of-karvenia"


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An environment without any of ours."""
    for name in Settings.model_fields:
        monkeypatch.delenv(f"CHANCERY_{name.upper()}", raising=False)
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def test_without_any_variable_everything_is_embedded_and_local(nothing_set: Path) -> None:
    settings = Settings()
    assert settings.data_dir == nothing_set / ".local/share/chancery"
    assert settings.key_file == nothing_set / ".config/chancery/keys.json"
    assert settings.sqlalchemy_url == f"sqlite+aiosqlite:///{settings.data_dir}/chancery.db"
    assert settings.is_sqlite
    assert settings.redis_url is None
    assert settings.listen_address == ("127.0.0.1", 8700)
    assert settings.public_url == "http://localhost:8700"
    assert settings.egress_pairs == frozenset()
    assert settings.log_level == "INFO"
    assert settings.metrics_address is None
    assert (settings.smtp_url, settings.alert_webhook_url, settings.alert_to) == (None, None, ())


def test_the_key_file_lies_outside_of_the_data_by_default() -> None:
    settings = Settings()
    assert not settings.key_file.is_relative_to(settings.data_dir)


def test_the_systems_folders_are_respected(
    monkeypatch: pytest.MonkeyPatch, nothing_set: Path
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(nothing_set / "d"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(nothing_set / "c"))
    assert Settings().data_dir == nothing_set / "d/chancery"
    assert Settings().key_file == nothing_set / "c/chancery/keys.json"


GIVEN = {
    "database_url": "postgresql://chancery@db.karvenia.example/chancery",
    "redis_url": "redis://redis.karvenia.example:6379/0",
    "data_dir": "/srv/chancery",
    "key_file": "/etc/chancery/keys.json",
    "base_url": "https://posts.karvenia.example/",
    "listen": "0.0.0.0:8080",
    "egress_allow": "127.0.0.1:9000, 10.1.2.3:443,",
    "preflight_minutes": "30",
    "log_level": "WARNING",
    "metrics_listen": "127.0.0.1:8701",
    "smtp_url": "smtp://chancery:p@mail.karvenia.example:587",
    "alert_from": "chancery@karvenia.example",
    "alert_to": "duty@karvenia.example, night@karvenia.example,",
    "alert_webhook_url": "https://duty.karvenia.example/chancery",
    "alert_webhook_secret": "whsec_S2FydmVuaWEtdGVzdHMtc2lnbi10aGVpci1hbGVydHM=",
}


def test_every_variable_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    assert set(GIVEN) == set(Settings.model_fields), "a setting without a test"
    for name, value in GIVEN.items():
        monkeypatch.setenv(f"CHANCERY_{name.upper()}", value)
    settings = Settings()
    assert settings.sqlalchemy_url == "postgresql+asyncpg://chancery@db.karvenia.example/chancery"
    assert not settings.is_sqlite
    assert settings.redis_url is not None
    assert settings.redis_url.get_secret_value() == GIVEN["redis_url"]
    assert settings.data_dir == Path("/srv/chancery")
    assert settings.key_file == Path("/etc/chancery/keys.json")
    assert settings.public_url == "https://posts.karvenia.example"
    assert settings.listen_address == ("0.0.0.0", 8080)
    assert settings.egress_pairs == {("127.0.0.1", 9000), ("10.1.2.3", 443)}
    assert settings.log_level == "WARNING"
    assert settings.metrics_address == ("127.0.0.1", 8701)
    assert settings.alert_from == GIVEN["alert_from"]
    assert settings.alert_to == ("duty@karvenia.example", "night@karvenia.example")
    for name in ("smtp_url", "alert_webhook_url", "alert_webhook_secret"):
        assert getattr(settings, name).get_secret_value() == GIVEN[name]


def test_every_setting_says_what_it_is_for() -> None:
    assert all(field.description for field in Settings.model_fields.values())


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+asyncpg"])
def test_postgresql_is_reached_through_its_asynchronous_driver(scheme: str) -> None:
    settings = Settings(database_url=f"{scheme}://u:p@h:5433/n")  # type: ignore[arg-type]
    assert settings.sqlalchemy_url == "postgresql+asyncpg://u:p@h:5433/n"


@pytest.mark.parametrize("scheme", ["sqlite", "sqlite+aiosqlite"])
def test_a_sqlite_file_may_be_named(scheme: str) -> None:
    settings = Settings(database_url=f"{scheme}:////var/lib/chancery.db")  # type: ignore[arg-type]
    assert settings.sqlalchemy_url == "sqlite+aiosqlite:////var/lib/chancery.db"
    assert settings.is_sqlite


@pytest.mark.parametrize("url", ["mysql://u:{}@h/n", "h:{}", "{}"])
def test_another_database_is_refused_without_showing_the_address(url: str) -> None:
    settings = Settings(database_url=url.format(PASSWORD))  # type: ignore[arg-type]
    with pytest.raises(SettingsError, match="CHANCERY_DATABASE_URL") as caught:
        _ = settings.sqlalchemy_url
    assert caught.value.code == "settings_invalid"
    assert PASSWORD not in str(caught.value)


@pytest.mark.parametrize(
    "address", ["", "8700", "localhost", "localhost:", ":8700", "h:port", "h:99999", "h:80/path"]
)
def test_an_address_needs_a_host_and_a_port(address: str) -> None:
    with pytest.raises(SettingsError, match="CHANCERY_LISTEN needs host:port"):
        _ = Settings(listen=address).listen_address
    if address:
        with pytest.raises(SettingsError, match="CHANCERY_EGRESS_ALLOW needs host:port"):
            _ = Settings(egress_allow=frozenset({address})).egress_pairs


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("database_url", f"postgresql://chancery:{PASSWORD}@db:port/chancery"),
        ("redis_url", PASSWORD),
        ("redis_url", f"http://:{PASSWORD}@redis:6379"),
        ("redis_url", f"redis://:{PASSWORD}@redis:port/0"),
        ("redis_url", "redis:///0"),
        ("base_url", "posts.karvenia.example"),
        ("base_url", "ftp://posts.karvenia.example"),
        ("base_url", "https://"),
        ("listen", "8700"),
        ("egress_allow", "10.1.2.3"),
        ("log_level", "LOUD"),
        ("data_dir", "/etc/hosts"),
        ("key_file", "/etc"),
    ],
)
def test_what_no_process_could_use_is_refused_by_name(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(f"CHANCERY_{name.upper()}", value)
    with pytest.raises(SettingsError, match=f"CHANCERY_{name.upper()}") as caught:
        Settings().check()
    assert PASSWORD not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("database_url", "postgresql://chancery@db.karvenia.example/chancery"),
        ("database_url", "postgresql:///chancery?host=/run/postgresql"),
        ("database_url", "sqlite:////srv/chancery.db"),
        ("redis_url", "rediss://redis.karvenia.example"),
        ("redis_url", "unix:///run/redis.sock?db=1"),
        ("base_url", "http://127.0.0.1:8700/"),
        ("log_level", "debug"),
    ],
)
def test_what_a_process_can_use_passes(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(f"CHANCERY_{name.upper()}", value)
    Settings().check()


def test_the_file_of_a_sqlite_database_is_known(nothing_set: Path) -> None:
    assert Settings().sqlite_file == nothing_set / ".local/share/chancery/chancery.db"
    named = Settings(database_url="sqlite:////srv/chancery.db?mode=rwc")  # type: ignore[arg-type]
    assert named.sqlite_file == Path("/srv/chancery.db")
    for url in ("postgresql://db/chancery", "sqlite:///:memory:"):
        assert Settings(database_url=url).sqlite_file is None  # type: ignore[arg-type]


def test_an_ipv6_address_stands_in_brackets() -> None:
    assert Settings(listen="[::1]:8700").listen_address == ("::1", 8700)


def test_secrets_are_not_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHANCERY_DATABASE_URL", f"postgresql://chancery:{PASSWORD}@db/chancery")
    monkeypatch.setenv("CHANCERY_REDIS_URL", f"redis://:{PASSWORD}@redis:6379/0")
    monkeypatch.setenv("CHANCERY_SMTP_URL", f"smtps://chancery:{PASSWORD}@mail.karvenia.example")
    monkeypatch.setenv("CHANCERY_ALERT_WEBHOOK_URL", f"https://duty.karvenia.example/{PASSWORD}")
    monkeypatch.setenv("CHANCERY_ALERT_WEBHOOK_SECRET", f"whsec_{PASSWORD}")
    settings = Settings()
    assert PASSWORD in settings.sqlalchemy_url
    for shown in (repr(settings), str(settings), settings.model_dump_json(), f"{settings!s}"):
        assert PASSWORD not in shown


def test_a_value_of_the_wrong_kind_is_refused_without_showing_it() -> None:
    with pytest.raises(ValidationError) as caught:
        Settings(redis_url=[PASSWORD])  # type: ignore[arg-type]
    assert PASSWORD not in str(caught.value)


def test_settings_cannot_be_changed_afterwards() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Settings().listen = "0.0.0.0:80"
