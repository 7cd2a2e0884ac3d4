"""What services are given by whoever builds the process: platforms, keys and the media store."""

from collections.abc import Mapping
from dataclasses import dataclass

from adapters.base import Adapter
from scheduler.errors import InvalidError
from scheduler.media.intake import MediaIntake
from scheduler.media.store import MediaStore
from scheduler.vault.keyfile import KeyRing
from scheduler.vault.vault import Vault


class UnknownPlatformError(InvalidError):
    code = "platform_unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Kit:
    platforms: Mapping[str, Adapter]
    vault: Vault
    ring: KeyRing
    media: MediaStore
    intake: MediaIntake

    def platform(self, name: str) -> Adapter:
        try:
            return self.platforms[name]
        except KeyError as exc:
            known = ", ".join(sorted(self.platforms))
            raise UnknownPlatformError(f"no platform {name!r}; there are {known}") from exc
