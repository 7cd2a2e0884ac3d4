import hashlib
import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from scheduler.media.errors import MediaCorruptError, MediaMissingError, StorageFullError
from scheduler.media.store import MediaStore

ROOT = Path(__file__).parents[2]
DATA = b"the embassy's garden" * 1000
NAME = hashlib.sha256(DATA).hexdigest()


@pytest.fixture
def store(tmp_path: Path) -> MediaStore:
    return MediaStore(tmp_path / "media")


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def finished(folder: Path) -> set[str]:
    return {Path(name).name for name in files(folder) if not name.startswith("incoming/")}


@contextmanager
def small_files(limit: int) -> Iterator[None]:
    """The kernel refuses to let a file grow beyond `limit`, as a full disk does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_what_is_stored_is_read_by_the_hash_of_its_bytes(store: MediaStore, tmp_path: Path) -> None:
    assert store.put(DATA) == NAME
    assert store.read(NAME) == DATA
    assert files(tmp_path / "media") == {f"{NAME[:2]}/{NAME[2:4]}/{NAME}"}


def test_stored_files_are_for_the_owner_alone(store: MediaStore, tmp_path: Path) -> None:
    store.put(DATA)
    modes = {
        path.stat().st_mode & 0o077
        for path in [tmp_path / "media", *(tmp_path / "media").rglob("*")]
    }
    assert modes == {0}


def test_the_same_bytes_twice_are_one_file_written_once(store: MediaStore, tmp_path: Path) -> None:
    store.put(DATA)
    path = tmp_path / "media" / NAME[:2] / NAME[2:4] / NAME
    before = path.stat()
    assert store.put(DATA) == NAME
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_nothing_and_much_can_be_stored(store: MediaStore) -> None:
    for data in (b"", bytes(range(256)) * 40_000):
        assert store.read(store.put(data)) == data


@pytest.mark.parametrize(
    "change", [lambda data: data[:-1], lambda data: b"X" + data[1:], lambda _: b""]
)
def test_changed_bytes_are_never_read_and_a_new_copy_mends_them(
    store: MediaStore, tmp_path: Path, change: object
) -> None:
    store.put(DATA)
    path = tmp_path / "media" / NAME[:2] / NAME[2:4] / NAME
    path.write_bytes(change(DATA))
    with pytest.raises(MediaCorruptError) as caught:
        store.read(NAME)
    assert caught.value.code == "media_corrupt"
    store.put(DATA)
    assert store.read(NAME) == DATA


@pytest.mark.parametrize(
    "name", ["0" * 64, "", "../../etc/passwd", "A" * 64, f"{'0' * 64}\n", f"/{'0' * 63}", "0" * 63]
)
def test_what_was_never_stored_is_missing(store: MediaStore, name: str) -> None:
    with pytest.raises(MediaMissingError):
        store.read(name)


def test_a_full_disk_is_told_and_nothing_is_half_written(store: MediaStore, tmp_path: Path) -> None:
    with small_files(len(DATA) - 1), pytest.raises(StorageFullError) as caught:
        store.put(DATA)
    assert caught.value.code == "storage_full"
    assert files(tmp_path / "media") == set()
    store.put(DATA)
    assert store.read(NAME) == DATA


def test_a_really_full_disk_is_told_and_nothing_is_half_written(tmp_path: Path) -> None:
    code = (
        "import pathlib, sys\n"
        "from scheduler.media.store import MediaStore, StorageFullError\n"
        "folder = pathlib.Path(sys.argv[1])\n"
        "store = MediaStore(folder)\n"
        "store.put(bytes(500_000))\n"
        "try:\n    store.put(bytes(800_000))\n"
        "except StorageFullError as exc:\n    print(exc.code)\n"
        "print(sum(path.is_file() for path in folder.rglob('*')))\n"
    )
    script = 'mount -t tmpfs -o size=1m tmpfs "$1" && exec "$2" -c "$3" "$1"'
    isolated = ["unshare", "--mount", "--map-root-user"]
    if subprocess.run(
        [*isolated, "mount", "-t", "tmpfs", "tmpfs", str(tmp_path)], check=False
    ).returncode:
        pytest.skip("this machine lets nobody mount a small disk")
    done = subprocess.run(
        [*isolated, "sh", "-c", script, "sh", str(tmp_path), sys.executable, code],
        env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.split() == ["storage_full", "1"]


def test_another_trouble_with_the_disk_is_not_called_a_full_one(
    store: MediaStore, tmp_path: Path
) -> None:
    (tmp_path / "media" / "incoming").rmdir()
    with pytest.raises(FileNotFoundError):
        store.put(DATA)


def test_what_a_killed_process_left_is_removed_when_it_is_old(
    store: MediaStore, tmp_path: Path
) -> None:
    old, young = (tmp_path / "media" / "incoming" / name for name in ("old", "young"))
    for path in (old, young):
        path.write_bytes(b"half a pict")
    os.utime(old, (1, 1))
    MediaStore(tmp_path / "media")
    assert (old.exists(), young.exists()) == (False, True)


def test_a_process_killed_while_it_writes_leaves_no_file_under_the_final_name(
    tmp_path: Path,
) -> None:
    code = (
        "import pathlib, sys\n"
        "from scheduler.media.store import MediaStore\n"
        "store = MediaStore(pathlib.Path(sys.argv[1]))\n"
        "print('on', flush=True)\n"
        "for number in range(10 ** 9):\n    store.put(number.to_bytes(8) * 100_000)\n"
    )
    for _ in range(3):
        writer = subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path)],
            env={"PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE,
        )  # fmt: skip
        assert writer.stdout is not None
        writer.stdout.readline()
        while not (stored := finished(tmp_path)):
            continue
        writer.kill()
        writer.communicate()
        stored |= finished(tmp_path)
        store = MediaStore(tmp_path)
        for name in stored:
            assert len(store.read(name)) == 800_000
