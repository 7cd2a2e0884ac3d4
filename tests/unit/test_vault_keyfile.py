"""The key file on disk and the ring of its keys."""

import base64
import json
import os
import stat
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from scheduler.errors import ChanceryError
from scheduler.vault.envelope import TokenUnavailableError, WrappedKey, unwrap_key
from scheduler.vault.keyfile import (
    KeyFileExistsError,
    KeyFileMissingError,
    KeyFilePermissionsError,
    KeyRing,
    KeyVersionError,
)
from scheduler.vault.keyformat import KeyFile, KeyFileInvalidError, KeyState

ORIGIN = "audit.karvenia.example/log1"
DEK = bytes(range(32))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keys" / "keys.json"


@pytest.fixture
def ring(path: Path) -> KeyRing:
    return KeyRing.create(path, origin=ORIGIN)


@pytest.fixture
def wide_umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


def wrap(ring: KeyRing, dek_id: int = 7) -> WrappedKey:
    return ring.wrap(DEK, dek_id=dek_id, purpose="token", subject="account")


def edit(path: Path, **members: object) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **members}))


# Making and reading the file


def test_a_key_file_is_made_with_every_key_and_opens_to_its_owner_only(
    path: Path, wide_umask: None
) -> None:
    ring = KeyRing.create(path, origin=ORIGIN)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    value = json.loads(path.read_text())
    assert set(value) == {"v", "kek", "log", "instance", "derivation"}
    assert value["v"] == 1
    assert value["log"]["origin"] == ring.log.origin == ORIGIN
    keys = [
        value["kek"][0]["key_b64"],
        value["log"]["ed25519"],
        value["log"]["ml_dsa_44"],
        value["instance"],
        value["derivation"],
    ]
    assert len(set(keys)) == 5
    assert {len(base64.b64decode(key)) for key in keys} == {32}
    assert (value["kek"][0]["version"], value["kek"][0]["state"]) == (1, "current")
    assert base64.b64decode(keys[1]) == ring.log.ed25519
    assert base64.b64decode(keys[2]) == ring.log.ml_dsa_44
    assert base64.b64decode(keys[3]) == ring.instance_seed


def test_two_installations_share_no_key(tmp_path: Path) -> None:
    one = KeyRing.create(tmp_path / "one", origin=ORIGIN)
    two = KeyRing.create(tmp_path / "two", origin=ORIGIN)
    assert one.instance_seed != two.instance_seed
    assert one.derive("job") != two.derive("job")
    with pytest.raises(TokenUnavailableError):
        two.unwrap(wrap(one))


def test_nothing_is_left_beside_the_key_file(path: Path, ring: KeyRing) -> None:
    ring.add_version()
    assert [item.name for item in path.parent.iterdir()] == ["keys.json"]


@pytest.mark.parametrize("content", [b"", b"notes of the embassy"])
def test_an_existing_file_is_never_overwritten(path: Path, content: bytes) -> None:
    path.parent.mkdir()
    path.write_bytes(content)
    with pytest.raises(KeyFileExistsError, match="never overwritten") as caught:
        KeyRing.create(path, origin=ORIGIN)
    assert caught.value.code == "key_file_exists"
    assert path.read_bytes() == content
    assert [item.name for item in path.parent.iterdir()] == ["keys.json"]


def test_a_dangling_link_is_not_written_through(path: Path, tmp_path: Path) -> None:
    path.parent.mkdir()
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(KeyFileExistsError):
        KeyRing.create(path, origin=ORIGIN)
    assert not (tmp_path / "elsewhere").exists()


def test_one_of_many_makers_wins(path: Path) -> None:
    def make(_: int) -> bool:
        try:
            KeyRing.create(path, origin=ORIGIN)
        except KeyFileExistsError:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(make, range(24))) == 1
    assert KeyRing(path).current_version == 1


def test_what_a_crash_left_is_cleared_away(path: Path) -> None:
    path.parent.mkdir()
    left = path.parent / ".keys.json.new"
    left.write_bytes(b"half a file")
    KeyRing.create(path, origin=ORIGIN)
    left.symlink_to(path)
    assert KeyRing(path).add_version() == 2
    assert not path.is_symlink()
    assert [item.name for item in path.parent.iterdir()] == ["keys.json"]


def test_a_missing_file_is_named_with_the_command_that_makes_it(path: Path) -> None:
    with pytest.raises(KeyFileMissingError, match="chancery init") as caught:
        KeyRing(path)
    assert caught.value.code == "key_file_missing"
    path.parent.write_text("a file where a folder should be")
    with pytest.raises(KeyFileMissingError):
        KeyRing(path)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o610, 0o601, 0o644, 0o666])
def test_a_file_open_to_others_is_refused(path: Path, ring: KeyRing, mode: int) -> None:
    path.chmod(mode)
    with pytest.raises(KeyFilePermissionsError, match=f"mode {mode:04o}.*chmod 600") as caught:
        KeyRing(path)
    assert caught.value.code == "key_file_permissions"


@pytest.mark.parametrize("mode", [0o600, 0o400, 0o700])
def test_a_file_open_to_its_owner_only_is_read(path: Path, ring: KeyRing, mode: int) -> None:
    path.chmod(mode)
    assert KeyRing(path).instance_seed == ring.instance_seed


def test_a_symbolic_link_is_refused(path: Path, ring: KeyRing, tmp_path: Path) -> None:
    link = tmp_path / "link.json"
    link.symlink_to(path)
    with pytest.raises(KeyFilePermissionsError, match="symbolic link"):
        KeyRing(link)


def test_a_folder_or_pipe_in_its_place_is_refused_without_waiting(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir(mode=0o700)
    os.mkfifo(tmp_path / "pipe", 0o600)
    for name in ("folder", "pipe"):
        with pytest.raises(KeyFilePermissionsError, match="not a plain file"):
            KeyRing(tmp_path / name)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_file_of_another_user_is_refused(path: Path, ring: KeyRing) -> None:
    os.chown(path, 12345, -1)
    with pytest.raises(KeyFilePermissionsError, match="another user"):
        KeyRing(path)


def test_a_path_that_cannot_be_opened_is_refused(tmp_path: Path) -> None:
    with pytest.raises(KeyFilePermissionsError, match="cannot be opened"):
        KeyRing(tmp_path / ("n" * 300))


def test_a_file_too_large_is_not_read(path: Path, ring: KeyRing) -> None:
    content = path.read_bytes()
    path.write_bytes(content + b" " * ((1 << 20) - len(content)))
    assert KeyRing(path).current_version == 1
    path.write_bytes(content + b" " * ((1 << 20) - len(content) + 1))
    with pytest.raises(KeyFileInvalidError, match="too large"):
        KeyRing(path)


def version(number: int, state: str, key: object = "A" * 43 + "=") -> dict[str, object]:
    return {"version": number, "state": state, "key_b64": key}


@pytest.mark.parametrize(
    "members",
    [
        {"v": 2},
        {"kek": []},
        {"kek": {}},
        {"kek": [{}]},
        {"kek": [version(1, "previous")]},
        {"kek": [version(1, "current"), version(2, "current")]},
        {"kek": [version(2, "previous"), version(1, "current")]},
        {"kek": [version(1, "previous"), version(1, "current")]},
        {"kek": [version(1, "retired"), version(2, "current")]},
        {"kek": [version(1, "current", None)]},
        {"kek": [version(1, "current", "A" * 42 + "=")]},
        {"kek": [version(1, "current", "AAA=")]},
        {"kek": [version(1, "current", "!" * 44)]},
        {"kek": [version(1, "current", "A" * 42 + "B=")]},
        {"kek": [version(1, "current", 7)]},
        {"kek": [{**version(1, "current"), "more": 1}]},
        {"log": {"origin": ORIGIN}},
        {"log": None},
        {"instance": None},
        {"instance": "č"},
        {"derivation": "AAA="},
        {"more": 1},
    ],
)
def test_a_damaged_key_file_is_refused_and_not_shown(
    path: Path, ring: KeyRing, members: dict[str, Any]
) -> None:
    edit(path, **members)
    with pytest.raises(KeyFileInvalidError, match="cannot be used") as caught:
        KeyRing(path)
    assert caught.value.code == "key_file_invalid"
    assert "AAA" not in str(caught.value)


@pytest.mark.parametrize("data", [b"", b"[", b"\xff", b"null", b"[" * 100_000])
def test_a_file_that_is_not_json_is_refused(data: bytes) -> None:
    with pytest.raises(KeyFileInvalidError, match="cannot be used") as caught:
        KeyFile.parse(data)
    assert caught.value.__cause__ is None


def test_a_key_file_is_read_back_whole() -> None:
    keys = KeyFile.generate(origin=ORIGIN).with_new_version().with_new_version().without(1)
    assert KeyFile.parse(keys.encode()) == keys
    assert keys.find_key(1) is None
    assert keys.find_key(9) is None
    assert keys.current() == (3, keys.find_key(3))


def test_keys_are_not_shown() -> None:
    keys = KeyFile.generate(origin=ORIGIN)
    assert "bytes" not in repr(keys)
    assert "b'" not in repr(keys)
    assert 'b"' not in repr(keys)


# Wrapping


def test_a_wrapped_key_names_what_it_is_wrapped_with(ring: KeyRing) -> None:
    wrapped = wrap(ring)
    assert (wrapped.dek_id, wrapped.purpose, wrapped.subject) == (7, "token", "account")
    assert (wrapped.kek_uri, wrapped.kek_version) == ("file:", 1)
    assert ring.kek_uri == "file:"
    assert ring.unwrap(wrapped) == DEK


def test_the_key_in_the_file_is_the_one_that_wraps(path: Path, ring: KeyRing) -> None:
    value = json.loads(path.read_text())
    kek = base64.b64decode(value["kek"][0]["key_b64"])
    assert unwrap_key(wrap(ring), kek=kek) == DEK


def test_after_a_rotation_old_and_new_are_readable(path: Path, ring: KeyRing) -> None:
    old = wrap(ring)
    assert ring.add_version() == 2
    new = wrap(ring)
    assert (old.kek_version, new.kek_version) == (1, 2)
    assert ring.unwrap(old) == ring.unwrap(new) == DEK
    assert ring.versions == {1: KeyState.PREVIOUS, 2: KeyState.CURRENT}
    again = KeyRing(path)
    assert again.versions == ring.versions
    assert again.unwrap(old) == again.unwrap(new) == DEK
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_rotation_keeps_every_other_key(path: Path, ring: KeyRing) -> None:
    before = json.loads(path.read_text())
    ring.add_version()
    after = json.loads(path.read_text())
    assert {key: after[key] for key in ("v", "log", "instance", "derivation")} == {
        key: before[key] for key in ("v", "log", "instance", "derivation")
    }
    assert after["kek"][0] == {**before["kek"][0], "state": "previous"}


def test_another_process_finds_a_new_version_by_itself(path: Path, ring: KeyRing) -> None:
    other = KeyRing(path)
    other.add_version()
    new = wrap(other)
    assert ring.current_version == 1
    assert ring.unwrap(new) == DEK
    assert ring.current_version == 2


def test_another_process_never_wraps_with_an_old_version(path: Path, ring: KeyRing) -> None:
    KeyRing(path).add_version()
    assert wrap(ring).kek_version == 2


def test_two_rotations_at_once_make_two_versions(path: Path, ring: KeyRing) -> None:
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: KeyRing(path).add_version(), range(8)))
    assert sorted(KeyRing(path).versions) == list(range(1, 10))


def test_a_retired_version_opens_nothing_and_its_key_is_gone(path: Path, ring: KeyRing) -> None:
    old = wrap(ring)
    key = json.loads(path.read_text())["kek"][0]["key_b64"]
    ring.add_version()
    ring.retire(1)
    assert key not in path.read_text()
    assert ring.versions == {1: KeyState.RETIRED, 2: KeyState.CURRENT}
    for each in (ring, KeyRing(path)):
        with pytest.raises(TokenUnavailableError):
            each.unwrap(old)
    assert ring.add_version() == 3
    assert ring.unwrap(wrap(ring)) == DEK


@pytest.mark.parametrize("number", [0, 2, 3, 9])
def test_only_a_previous_version_is_retired(path: Path, ring: KeyRing, number: int) -> None:
    ring.add_version()
    ring.retire(1)
    ring.add_version()
    ring.retire(2)
    before = path.read_bytes()
    with pytest.raises(KeyVersionError, match=f"version {number}") as caught:
        ring.retire(number)
    assert caught.value.code == "key_version_refused"
    assert path.read_bytes() == before


def test_keys_of_another_provider_or_an_unknown_version_open_nothing(ring: KeyRing) -> None:
    wrapped = wrap(ring)
    for forged in (replace(wrapped, kek_uri="vault:"), replace(wrapped, kek_version=2)):
        with pytest.raises(TokenUnavailableError):
            ring.unwrap(forged)


def test_without_its_file_a_ring_opens_what_it_knows_and_seals_nothing(
    path: Path, ring: KeyRing
) -> None:
    wrapped = wrap(ring)
    path.unlink()
    assert ring.unwrap(wrapped) == DEK
    with pytest.raises(TokenUnavailableError):
        ring.unwrap(replace(wrapped, kek_version=2))
    with pytest.raises(KeyFileMissingError):
        wrap(ring)
    with pytest.raises(KeyFileMissingError):
        ring.add_version()
    assert list(path.parent.iterdir()) == []


# Derived secrets


def test_a_derived_secret_is_the_same_every_time_and_different_for_each_purpose(
    path: Path, ring: KeyRing
) -> None:
    key = base64.b64decode(json.loads(path.read_text())["derivation"])
    info = b"chancery/derive/v1\0job"
    expected = HKDF(algorithm=SHA256(), length=32, salt=None, info=info).derive(key)
    assert ring.derive("job") == expected == KeyRing(path).derive("job")
    assert ring.derive("csrf") != expected
    ring.add_version()
    assert ring.derive("job") == expected


def test_every_refusal_is_one_of_ours() -> None:
    for error in (KeyFileExistsError, KeyFileMissingError, KeyFilePermissionsError):
        assert issubclass(error, ChanceryError)
    assert issubclass(KeyFileInvalidError, ChanceryError)
    assert issubclass(TokenUnavailableError, ChanceryError)
