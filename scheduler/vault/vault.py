"""Seals and opens the secrets of accounts; the only place where a data key is in the clear."""

import secrets
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from scheduler.clock import monotonic_s
from scheduler.vault.envelope import (
    KEY_SIZE,
    Context,
    WrappedKey,
    open_older_token,
    open_token,
    seal_token,
)
from scheduler.vault.keyfile import KeyRing

CACHE_LIFETIME_S: Final = 300.0
CACHE_SIZE: Final = 1000


class Vault:
    """Keeps the unwrapped keys of at most 1,000 accounts, each for at most 5 minutes from its unwrapping."""

    def __init__(
        self,
        ring: KeyRing,
        *,
        clock: Callable[[], float] = monotonic_s,
        lifetime_s: float = CACHE_LIFETIME_S,
        size: int = CACHE_SIZE,
    ) -> None:
        self._ring = ring
        self._clock = clock
        self._lifetime_s = lifetime_s
        self._size = size
        self._cache: OrderedDict[WrappedKey, tuple[bytes, float]] = OrderedDict()

    def new_dek(self, dek_id: int, purpose: str, subject: str) -> WrappedKey:
        """Make a data key; the id is that of its row and must be in 32 bits."""
        dek = secrets.token_bytes(KEY_SIZE)
        return self._ring.wrap(dek, dek_id=dek_id, purpose=purpose, subject=subject)

    def seal(self, secret: str, wrapped: WrappedKey, context: Context) -> bytes:
        """Seal `secret` for exactly this context.

        Raises:
            TokenUnavailableError: the data key cannot be unwrapped.
        """
        dek = self._unwrap(wrapped)
        return seal_token(secret, dek=dek, dek_id=wrapped.dek_id, context=context)

    def open(self, blob: bytes, wrapped: WrappedKey, context: Context) -> str:
        """Open what was sealed for exactly this context.

        Raises:
            TokenUnavailableError: for every other blob, key or context, without saying which.
        """
        dek = self._unwrap(wrapped)
        return open_token(blob, dek=dek, dek_id=wrapped.dek_id, context=context)

    def open_older(self, blob: bytes, wrapped: WrappedKey, context: Context) -> str:
        """Open a blob of the format before, to seal it anew.

        Raises:
            TokenUnavailableError: for every other blob, key or context, without saying which.
        """
        dek = self._unwrap(wrapped)
        return open_older_token(blob, dek=dek, dek_id=wrapped.dek_id, context=context)

    def rewrap(self, wrapped: WrappedKey) -> WrappedKey:
        """Wrap the same data key with the current version; what it has sealed stays as it is.

        Raises:
            TokenUnavailableError: the data key cannot be unwrapped.
        """
        dek = self._ring.unwrap(wrapped)
        return self._ring.wrap(
            dek, dek_id=wrapped.dek_id, purpose=wrapped.purpose, subject=wrapped.subject
        )

    def forget(self) -> None:
        """Drop every unwrapped key, as after a freeze; Python cannot promise that the memory is wiped."""
        self._cache.clear()

    def _unwrap(self, wrapped: WrappedKey) -> bytes:
        now = self._clock()
        dek, expires_at = self._cache.get(wrapped, (b"", now))
        if expires_at > now:
            self._cache.move_to_end(wrapped)
            return dek
        dek = self._ring.unwrap(wrapped)
        self._cache[wrapped] = (dek, now + self._lifetime_s)
        self._cache.move_to_end(wrapped)
        if len(self._cache) > self._size:
            self._cache.popitem(last=False)
        return dek
