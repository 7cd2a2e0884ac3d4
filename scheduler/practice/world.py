"""The truth of the practice network: one append-only log, the two books made from it, and the media as received."""

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from scheduler.canonical import sha256_hex
from scheduler.practice.book import Book
from scheduler.practice.model import Effect, Kind, Platform, read_effect

LOG_NAME = "effects.jsonl"


class World:
    """Every change goes through `commit`: the line is written before the state changes or anyone is answered."""

    def __init__(self, folder: Path, now_ns: Callable[[], int]) -> None:
        self.now_ns = now_ns
        self.books = {platform: Book(platform) for platform in Platform}
        self._media = folder / "media"
        self._media.mkdir(parents=True, exist_ok=True)
        self._path = folder / LOG_NAME
        self._effects: list[Effect] = []  #: since the last reset
        self._next_seq = 1
        self._replay()
        self._file = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def close(self) -> None:
        """Close the log; a straggler that writes now gets an OSError, never another's file."""
        file, self._file = self._file, -1
        os.close(file)

    def commit(self, effect: Effect) -> Effect:
        """Write the effect as one line, then apply it; returns it with its sequence number and time."""
        done = replace(effect, seq=self._next_seq, effect_at_ns=self.now_ns())
        line = json.dumps(done.to_json(), ensure_ascii=False, separators=(",", ":")) + "\n"
        data = memoryview(line.encode())
        while data:
            data = data[os.write(self._file, data) :]
        self._apply(done)
        return done

    def effects(self, *, since: int) -> Sequence[Effect]:
        """Effects with a sequence number above `since`, of the time after the last reset."""
        if not self._effects:
            return ()
        return self._effects[max(0, since + 1 - self._effects[0].seq) :]

    def reset(self) -> int:
        """Forget everything but the log itself; returns the sequence number of the line that says so."""
        done = self.commit(Effect(platform=Platform.MASTODON, kind=Kind.RESET, at_ns=self.now_ns()))
        return done.seq

    def keep_media(self, data: bytes) -> str:
        """Store bytes under their SHA-256, which is returned."""
        digest = sha256_hex(data)
        path = self._media / digest
        if not path.exists():
            part = path.with_suffix(".part")
            part.write_bytes(data)
            part.replace(path)
        return digest

    def media_path(self, digest: str) -> Path:
        return self._media / digest

    def next_id(self, platform: Platform) -> str:
        """A number that grows, with the millisecond in its upper bits, as Mastodon makes them."""
        return str(max(self.books[platform].last_id + 1, self.now_ns() // 1_000_000 << 16))

    def _replay(self) -> None:
        if not self._path.exists():
            return
        data = self._path.read_bytes()
        whole = data[: data.rfind(b"\n") + 1]
        if len(whole) < len(data):  # killed in the middle of a line: nobody was answered
            os.truncate(self._path, len(whole))
        for line in whole.splitlines():
            self._apply(read_effect(json.loads(line)))

    def _apply(self, effect: Effect) -> None:
        self._next_seq = effect.seq + 1
        if effect.kind is Kind.RESET:
            self._effects.clear()
            for book in self.books.values():
                book.clear()
        else:
            self._effects.append(effect)
            self.books[effect.platform].apply(effect)
