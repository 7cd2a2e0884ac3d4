"""The vault: secrets in and out, and how long it remembers a data key."""

from dataclasses import replace
from pathlib import Path

import pytest

from scheduler.vault.envelope import Context, TokenUnavailableError, WrappedKey
from scheduler.vault.keyfile import KeyRing
from scheduler.vault.vault import Vault

CONTEXT = Context(
    table="sealed_token",
    row="row",
    account="account",
    platform="mastodon",
    server="https://social.karvenia.example",
    external="1094",
    login="",
    kind="secret",
    generation=1,
)


class CountingRing(KeyRing):
    """A real ring that counts how often a key is unwrapped."""

    unwrapped = 0

    def unwrap(self, wrapped: WrappedKey) -> bytes:
        self.unwrapped += 1
        return super().unwrap(wrapped)


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def ring(tmp_path: Path) -> CountingRing:
    KeyRing.create(tmp_path / "keys.json", origin="audit.karvenia.example/log1")
    return CountingRing(tmp_path / "keys.json")


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def vault(ring: CountingRing, clock: Clock) -> Vault:
    return Vault(ring, clock=clock, size=3)


def test_a_secret_comes_back_for_its_context_only(vault: Vault) -> None:
    wrapped = vault.new_dek(7, "token", "account")
    assert (wrapped.dek_id, wrapped.purpose, wrapped.subject) == (7, "token", "account")
    blob = vault.seal("secret", wrapped, CONTEXT)
    assert b"secret" not in blob
    assert vault.open(blob, wrapped, CONTEXT) == "secret"
    with pytest.raises(TokenUnavailableError):
        vault.open(blob, wrapped, replace(CONTEXT, generation=2))


def test_every_account_has_a_key_of_its_own(vault: Vault) -> None:
    one, two = vault.new_dek(1, "token", "account"), vault.new_dek(1, "token", "account")
    blob = vault.seal("secret", one, CONTEXT)
    with pytest.raises(TokenUnavailableError):
        vault.open(blob, two, CONTEXT)


def test_what_was_sealed_opens_after_the_key_is_wrapped_anew(
    vault: Vault, ring: CountingRing
) -> None:
    wrapped = vault.new_dek(7, "token", "account")
    blob = vault.seal("secret", wrapped, CONTEXT)
    ring.add_version()
    again = vault.rewrap(wrapped)
    assert (again.kek_version, again.dek_id, again.purpose, again.subject) == (
        2,
        7,
        "token",
        "account",
    )
    ring.retire(1)
    assert Vault(ring).open(blob, again, CONTEXT) == "secret"
    with pytest.raises(TokenUnavailableError):
        Vault(ring).open(blob, wrapped, CONTEXT)
    with pytest.raises(TokenUnavailableError):
        vault.rewrap(wrapped)


def test_a_data_key_is_remembered_for_five_minutes_from_its_unwrapping(
    vault: Vault, ring: CountingRing, clock: Clock
) -> None:
    wrapped = vault.new_dek(7, "token", "account")
    blob = vault.seal("secret", wrapped, CONTEXT)
    assert ring.unwrapped == 1
    clock.now += 299.0
    assert vault.open(blob, wrapped, CONTEXT) == "secret"
    assert ring.unwrapped == 1
    clock.now += 1.0
    assert vault.open(blob, wrapped, CONTEXT) == "secret"
    assert ring.unwrapped == 2


def test_a_forgotten_key_is_unwrapped_again(vault: Vault, ring: CountingRing) -> None:
    wrapped = vault.new_dek(7, "token", "account")
    blob = vault.seal("secret", wrapped, CONTEXT)
    vault.forget()
    assert vault.open(blob, wrapped, CONTEXT) == "secret"
    assert ring.unwrapped == 2


def test_the_key_used_longest_ago_makes_room(vault: Vault, ring: CountingRing) -> None:
    keys = [vault.new_dek(number, "token", f"account-{number}") for number in range(4)]
    for wrapped in (keys[0], keys[1], keys[2], keys[0], keys[3]):
        vault.seal("secret", wrapped, CONTEXT)
    assert ring.unwrapped == 4
    for wrapped in (keys[0], keys[2], keys[3]):
        vault.seal("secret", wrapped, CONTEXT)
    assert ring.unwrapped == 4
    vault.seal("secret", keys[1], CONTEXT)
    assert ring.unwrapped == 5


def test_a_key_unwrapped_again_counts_as_used(
    vault: Vault, ring: CountingRing, clock: Clock
) -> None:
    keys = [vault.new_dek(number, "token", f"account-{number}") for number in range(4)]
    for wrapped in keys[:3]:
        vault.seal("secret", wrapped, CONTEXT)
    clock.now += 301.0
    vault.seal("secret", keys[0], CONTEXT)
    vault.seal("secret", keys[3], CONTEXT)
    assert ring.unwrapped == 5
    vault.seal("secret", keys[0], CONTEXT)
    assert ring.unwrapped == 5


def test_a_remembered_key_does_not_open_for_a_changed_row(vault: Vault) -> None:
    wrapped = vault.new_dek(7, "token", "account")
    blob = vault.seal("secret", wrapped, CONTEXT)
    for forged in (
        replace(wrapped, subject="other"),
        replace(wrapped, dek_id=8),
        replace(wrapped, blob=wrapped.blob[:-1]),
    ):
        with pytest.raises(TokenUnavailableError):
            vault.open(blob, forged, CONTEXT)


def test_by_default_a_thousand_keys_are_remembered(ring: CountingRing) -> None:
    vault = Vault(ring)
    keys = [vault.new_dek(number, "token", str(number)) for number in range(1001)]
    for wrapped in keys:
        vault.seal("secret", wrapped, CONTEXT)
    vault.seal("secret", keys[1], CONTEXT)
    assert ring.unwrapped == 1001
    vault.seal("secret", keys[0], CONTEXT)
    assert ring.unwrapped == 1002
