"""Whose token, at which installation: the environment, the file of `chancery login`, or the demo's people."""

import json
import os
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from scheduler.commands.refusals import LoginFileError, NotLoggedInError

DEMO_FILE: Final = Path("var/demo/tokens.json")
_CLOSED_TO_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO


class ClientSettings(BaseSettings):
    """What the person's own environment says; the token overrides the file's."""

    model_config = SettingsConfigDict(frozen=True, hide_input_in_errors=True, extra="ignore")

    url: str | None = Field(default=None, validation_alias="CHANCERY_URL")
    token: SecretStr | None = Field(default=None, validation_alias="CHANCERY_TOKEN")
    config_home: Path | None = Field(default=None, validation_alias="XDG_CONFIG_HOME")

    @property
    def login_file(self) -> Path:
        return (self.config_home or Path.home() / ".config") / "chancery" / "login.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """A token and the installation it is for."""

    url: str
    token: str = field(repr=False)


class LoginFile:
    """`login.json`: one token for each installation, and the one last logged in to."""

    def __init__(self, path: Path) -> None:
        """Read the file; one that is not there is empty.

        Raises:
            LoginFileError: it is open to others, or not such a file.
        """
        self._path = path
        self._content: dict[str, Any] = {"current": None, "logins": {}}
        if path.exists():
            self._content = _read_private(path, keys={"current", "logins"})

    @property
    def current(self) -> str | None:
        url: str | None = self._content["current"]
        return url

    def find(self, url: str) -> Login | None:
        found = self._content["logins"].get(url)
        return None if found is None else Login(url=url, token=found["token"])

    def keep(self, login: Login, *, person: str, expires_at: str) -> None:
        self._content["logins"][login.url] = {
            "token": login.token,
            "person": person,
            "expires_at": expires_at,
        }
        self._content["current"] = login.url
        self._write()

    def forget(self, url: str) -> None:
        logins = self._content["logins"]
        logins.pop(url, None)
        if self.current == url:
            self._content["current"] = next(iter(logins), None)
        self._write()

    def _write(self) -> None:
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        beside = self._path.with_name(f".login.{os.getpid()}.new")
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            json.dump(self._content, file, indent=1)
        beside.replace(self._path)


def find_demo_file() -> Path | None:
    return DEMO_FILE if DEMO_FILE.is_file() else None


def find_login(settings: ClientSettings, *, as_person: str | None) -> Login:
    """Return the token to use: that of `--as`, else of the environment, else of the file.

    Raises:
        NotLoggedInError: there is none.
        LoginFileError: the file that should have it is unusable.
    """
    if as_person is not None:
        return _find_demo_login(as_person)
    file = LoginFile(settings.login_file)
    url = normalise(settings.url) if settings.url else file.current
    if url is None:
        raise NotLoggedInError("not logged in; run `chancery login --url ADDRESS`")
    if settings.token is not None:
        return Login(url=url, token=settings.token.get_secret_value())
    found = file.find(url)
    if found is None:
        raise NotLoggedInError(f"not logged in to {url}; run `chancery login --url {url}`")
    return found


def normalise(url: str) -> str:
    return url.strip().rstrip("/")


def _find_demo_login(person: str) -> Login:
    demo = _read_private(DEMO_FILE, keys={"url", "tokens"})
    token = demo["tokens"].get(person)
    if token is None:
        known = ", ".join(sorted(demo["tokens"]))
        raise NotLoggedInError(f"the demo has nobody called {person}; it has {known}")
    return Login(url=normalise(demo["url"]), token=token)


def _read_private(path: Path, *, keys: set[str]) -> dict[str, Any]:
    with path.open("rb") as file:
        status = os.fstat(file.fileno())
        data = file.read()
    if status.st_mode & _CLOSED_TO_OTHERS or status.st_uid != os.geteuid():
        raise LoginFileError(f"{path} is open to others or not yours; run: chmod 600 {path}")
    try:
        content = json.loads(data)
    except ValueError:
        content = None
    if not isinstance(content, dict) or not keys <= content.keys():
        raise LoginFileError(f"{path} cannot be read; remove it and log in again")
    return content
