"""`CHANCERY_*`: read once at an entry point, then passed down as a value."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, Self
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from scheduler.errors import InvalidError

_LEVELS: Final = ("DEBUG", "INFO", "WARNING", "ERROR")
_POSTGRES, _SQLITE = "postgresql://user@host/name", "sqlite:////srv/chancery/chancery.db"
#: The schemes that each address may have, with the form to show.
_DATABASES: Final = {"postgresql+asyncpg": _POSTGRES, "sqlite+aiosqlite": _SQLITE}
_REDIS: Final = {
    "redis": "redis://host:6379/0",
    "rediss": "redis://host:6379/0",
    "unix": "unix:///run/redis.sock",
}
_WEB: Final = {"https": "https://chancery.karvenia.example", "http": "http://localhost:8700"}
_HOSTED: Final = frozenset({"redis", "rediss", "http", "https"})


class SettingsError(InvalidError):
    """A setting cannot be used; the message names it."""

    code = "settings_invalid"


def _default_data_dir() -> Path:
    home = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(home) / "chancery"


def _default_key_file() -> Path:
    home = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(home) / "chancery" / "keys.json"


class Settings(BaseSettings):
    """How this installation runs; every field is an environment variable with `CHANCERY_` in front."""

    model_config = SettingsConfigDict(
        env_prefix="CHANCERY_", frozen=True, hide_input_in_errors=True, extra="ignore"
    )

    database_url: SecretStr | None = Field(
        default=None,
        description="PostgreSQL as `postgresql://user@host/name`; without it SQLite in the data folder.",
    )
    redis_url: SecretStr | None = Field(
        default=None,
        description="Redis as `redis://host:6379/0`; without it Chancery starts a private one.",
    )
    data_dir: Path = Field(
        default_factory=_default_data_dir, description="Database, media and private Redis."
    )
    key_file: Path = Field(
        default_factory=_default_key_file,
        description="Keys that seal tokens and sign the record; outside of the data folder.",
    )
    base_url: str = Field(
        default="", description="The address people use; default `http://localhost:PORT`."
    )
    listen: str = Field(default="127.0.0.1:8700", description="Where the web process listens.")
    egress_allow: Annotated[frozenset[str], NoDecode] = Field(
        default=frozenset(),
        description="host:port pairs, comma-separated, that may be private addresses and plain http.",
    )
    smtp_url: SecretStr | None = Field(
        default=None,
        description="Mail server for alerts: `smtp://user:password@host:587` (STARTTLS) or `smtps://host:465`.",
    )
    alert_from: str = Field(default="", description="The sender's address of alerts by mail.")
    alert_to: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(), description="Who gets alerts by mail: addresses, comma-separated."
    )
    alert_webhook_url: SecretStr | None = Field(
        default=None, description="Where alerts are posted, as Standard Webhooks describes."
    )
    alert_webhook_secret: SecretStr | None = Field(
        default=None, description="What signs them: `whsec_` and the base64 of 24 to 64 bytes."
    )
    preflight_minutes: int = Field(
        default=10,
        ge=1,
        le=24 * 60,
        description="How many minutes before its time a delivery is checked ahead; 10 unless set.",
    )
    log_level: str = Field(default="INFO", description="DEBUG, INFO, WARNING or ERROR.")
    metrics_listen: str = Field(
        default="", description="Where a worker shows its own figures; without it nowhere."
    )

    @field_validator("alert_to", mode="before")
    @classmethod
    def _split_addresses(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return value

    def check(self) -> None:
        """Refuse what a process would only stumble over later.

        Raises:
            SettingsError: a setting cannot be used; nothing of a secret one is shown.
        """
        _check_url(self.sqlalchemy_url, "CHANCERY_DATABASE_URL", _DATABASES)
        if self.redis_url is not None:
            _check_url(self.redis_url.get_secret_value(), "CHANCERY_REDIS_URL", _REDIS)
        _check_url(self.public_url, "CHANCERY_BASE_URL", _WEB)
        _ = self.listen_address, self.metrics_address, self.egress_pairs
        if self.log_level.upper() not in _LEVELS:
            raise SettingsError(f"CHANCERY_LOG_LEVEL is one of {', '.join(_LEVELS)}")
        if self.data_dir.exists() and not self.data_dir.is_dir():
            raise SettingsError(f"CHANCERY_DATA_DIR: {self.data_dir} is no folder")
        if self.key_file.is_dir():
            raise SettingsError(f"CHANCERY_KEY_FILE: {self.key_file} is a folder; name a file")

    @field_validator("egress_allow", mode="before")
    @classmethod
    def _split_pairs(cls, value: object) -> object:
        if isinstance(value, str):
            return frozenset(part.strip() for part in value.split(",") if part.strip())
        return value

    @property
    def is_sqlite(self) -> bool:
        return self.sqlalchemy_url.startswith("sqlite")

    @property
    def sqlite_file(self) -> Path | None:
        """The database's file; None on PostgreSQL and in memory."""
        scheme, _, rest = self.sqlalchemy_url.partition(":///")
        path = rest.partition("?")[0]
        return Path(path) if scheme.startswith("sqlite") and path not in {"", ":memory:"} else None

    @property
    def sqlalchemy_url(self) -> str:
        """The address with the asynchronous driver named."""
        if self.database_url is None:
            return f"sqlite+aiosqlite:///{self.data_dir / 'chancery.db'}"
        url = self.database_url.get_secret_value()
        scheme, _, rest = url.partition("://")
        match scheme:
            case "postgresql" | "postgres" | "postgresql+asyncpg":
                return f"postgresql+asyncpg://{rest}"
            case "sqlite" | "sqlite+aiosqlite":
                return f"sqlite+aiosqlite://{rest}"
            case _:
                raise SettingsError(
                    "CHANCERY_DATABASE_URL must start with postgresql:// (or be unset for SQLite)"
                )

    @property
    def listen_address(self) -> tuple[str, int]:
        return _host_and_port(self.listen, "CHANCERY_LISTEN")

    @property
    def metrics_address(self) -> tuple[str, int] | None:
        """Where a worker's own figures are, or None."""
        if not self.metrics_listen:
            return None
        return _host_and_port(self.metrics_listen, "CHANCERY_METRICS_LISTEN")

    @property
    def egress_pairs(self) -> frozenset[tuple[str, int]]:
        return frozenset(
            _host_and_port(pair, "CHANCERY_EGRESS_ALLOW") for pair in self.egress_allow
        )

    @property
    def public_url(self) -> str:
        return (self.base_url or f"http://localhost:{self.listen_address[1]}").rstrip("/")


def _check_url(url: str, name: str, forms: Mapping[str, str]) -> None:
    """Refuse an address whose scheme is not among `forms`, or whose host or port is none."""
    try:
        parts = urlsplit(url)
        hosted = parts.port != 0 and (bool(parts.hostname) or parts.scheme not in _HOSTED)
        is_usable = hosted and parts.scheme in forms
    except ValueError:
        is_usable = False
    if not is_usable:
        raise SettingsError(
            f"{name} is no address such as {' or '.join(dict.fromkeys(forms.values()))}"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceManager:
    """What systemd gives to a service that it started; nothing elsewhere."""

    address: str = ""  #: of its datagram socket; one that begins with `@` is abstract
    watchdog_s: float | None = None  #: it ends a service that is silent for so long

    @classmethod
    def find(cls, environment: Mapping[str, str] = os.environ) -> Self:
        """Read `NOTIFY_SOCKET`, `WATCHDOG_USEC` and `WATCHDOG_PID`; what cannot be read counts as not given."""
        time_usec = environment.get("WATCHDOG_USEC", "")
        is_ours = environment.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        has_time = is_ours and time_usec.isdecimal() and int(time_usec) > 0
        return cls(
            address=environment.get("NOTIFY_SOCKET", ""),
            watchdog_s=int(time_usec) / 1_000_000 if has_time else None,
        )


def _host_and_port(text: str, name: str) -> tuple[str, int]:
    parts = urlsplit(f"//{text}")
    try:
        port = parts.port
    except ValueError:
        port = None
    if not parts.hostname or port is None or parts.path:
        raise SettingsError(f"{name} needs host:port, not {text!r}")
    return parts.hostname, port
