"""GIF, block by block. GIF89a §17 to §27; the looping extension is Netscape's."""

from collections.abc import Iterator
from typing import Final

from scheduler.media.errors import MediaTooLargeError, MediaUnreadableError
from scheduler.media.model import MediaLimits, Stripped

SIGNATURES: Final = (b"GIF87a", b"GIF89a")
_SCREEN_BYTES: Final = 13
_IMAGE_BYTES: Final = 10
_CONTROL_BYTES: Final = 4
_CODE_SIZES: Final = range(2, 9)
_EXTENSION, _IMAGE, _TRAILER = 0x21, 0x2C, 0x3B
_CONTROL, _TEXT, _APPLICATION = 0xF9, 0x01, 0xFF
_HAS_TABLE, _TABLE_SIZE = 0x80, 0x07
_LOOPS: Final = (b"NETSCAPE2.0", b"ANIMEXTS1.0")
_CUT_OFF: Final = "the GIF is cut off"


class _Reader:
    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def take(self, count: int) -> bytes:
        """Return exactly `count` bytes.

        Raises:
            MediaUnreadableError: fewer are left.
        """
        taken = self._data[self._at : self._at + count]
        if len(taken) != count:
            raise MediaUnreadableError(_CUT_OFF)
        self._at += count
        return taken

    def byte(self) -> int:
        return self.take(1)[0]

    def colours(self, packed: int) -> bytes:
        return self.take(3 << (packed & _TABLE_SIZE) + 1) if packed & _HAS_TABLE else b""

    def blocks(self) -> Iterator[bytes]:
        while length := self.byte():
            yield self.take(length)


def strip(data: bytes, limits: MediaLimits) -> Stripped:
    """Keep frames, their timing and the loop count; drop comments, text, applications and what follows the end."""
    reader = _Reader(data)
    screen = reader.take(_SCREEN_BYTES)
    width, height = (int.from_bytes(screen[at : at + 2], "little") for at in (6, 8))
    limits.check_size(width, height)
    kept = [screen, reader.colours(screen[10])]
    control, frames, loops = b"", 0, False
    while (introducer := reader.byte()) != _TRAILER:
        if introducer == _IMAGE:
            frames += 1
            _check_frames(frames, limits)
            kept += [control, _frame(reader, width, height)]
            control = b""
        elif introducer == _EXTENSION:
            label, blocks = reader.byte(), list(reader.blocks())
            if label == _CONTROL:
                control = _pack_control(blocks)
            elif label == _TEXT:
                control = b""
            elif label == _APPLICATION and not loops and (loop := _loop(blocks)):
                kept.append(loop)
                loops = True
        else:
            raise MediaUnreadableError("the GIF has bytes that belong to no block")
    limits.check_size(width, height, frames)
    kept.append(bytes((_TRAILER,)))
    return Stripped(data=b"".join(kept), width=width, height=height, frames=frames)


def _check_frames(frames: int, limits: MediaLimits) -> None:
    if frames > limits.max_frames:
        raise MediaTooLargeError(
            f"the picture has more than {limits.max_frames} frames; make it shorter",
            allowed=limits.max_frames,
        )


def _frame(reader: _Reader, width: int, height: int) -> bytes:
    descriptor = bytes((_IMAGE,)) + reader.take(_IMAGE_BYTES - 1)
    left, top, across, down = (
        int.from_bytes(descriptor[at : at + 2], "little") for at in (1, 3, 5, 7)
    )
    if 0 in {across, down} or left + across > width or top + down > height:
        raise MediaUnreadableError("the GIF has a frame outside of its canvas")
    colours = reader.colours(descriptor[9])
    code_size = reader.take(1)
    if code_size[0] not in _CODE_SIZES:
        raise MediaUnreadableError("the GIF is damaged")
    return descriptor + colours + code_size + _pack(reader.blocks())


def _pack_control(blocks: list[bytes]) -> bytes:
    if [len(block) for block in blocks] != [_CONTROL_BYTES]:
        raise MediaUnreadableError("the GIF is damaged")
    return bytes((_EXTENSION, _CONTROL)) + _pack(iter(blocks))


def _loop(blocks: list[bytes]) -> bytes:
    """Return the loop count and nothing else, or nothing for any other application's block."""
    match blocks:
        case [name, count, *_] if name in _LOOPS and len(count) == 3 and count[0] == 1:  # noqa: PLR2004 - sub-block 1 and a 16-bit count
            return bytes((_EXTENSION, _APPLICATION)) + _pack(iter((name, count)))
        case _:
            return b""


def _pack(blocks: Iterator[bytes]) -> bytes:
    return b"".join(bytes((len(block),)) + block for block in blocks) + b"\0"
