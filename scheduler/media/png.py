"""PNG, chunk by chunk: a closed list stays, and the pixels must be exactly as long as the header says.

PNG third edition (W3C 2025) §5 (chunks), §8 (interlacing), §11 (what each chunk holds).
"""

import struct
import zlib
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Final

from scheduler.media import exif, icc
from scheduler.media.errors import (
    MediaBombError,
    MediaMetadataLeftError,
    MediaTypeUnsupportedError,
    MediaUnreadableError,
)
from scheduler.media.model import MediaLimits, Stripped

SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
_MAX_CHUNKS: Final = 20_000
_BLOCK_BYTES: Final = 1024 * 1024
_OVERHEAD_BYTES: Final = 12  #: length, kind and check sum
_CRITICAL: Final = 0x20  #: clear in the first letter of a chunk that no reader may skip
_HEADER: Final = struct.Struct(">IIBBBBB")
#: Bits per sample allowed, and samples per pixel, by colour type.
_COLOUR_TYPES: Final = {
    0: ({1, 2, 4, 8, 16}, 1),
    2: ({8, 16}, 3),
    3: ({1, 2, 4, 8}, 1),
    4: ({8, 16}, 2),
    6: ({8, 16}, 4),
}
#: Kept chunks beside the pixels, with the lengths they may have.
_KEPT: Final = {
    b"PLTE": range(3, 769, 3),
    b"tRNS": range(1, 257),
    b"gAMA": range(4, 5),
    b"cHRM": range(32, 33),
    b"sRGB": range(1, 2),
    b"cICP": range(4, 5),
    b"sBIT": range(1, 5),
    b"bKGD": range(1, 7),
    b"pHYs": range(9, 10),
}
_ANIMATION: Final = frozenset({b"acTL", b"fcTL", b"fdAT"})
#: Column start, row start, column step, row step of the seven passes of an interlaced picture.
_PASSES: Final = (
    (0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2),
)  # fmt: skip

_Chunk = tuple[bytes, bytes]  # kind, body


def strip(data: bytes, limits: MediaLimits) -> Stripped:
    """Keep pixels, palette, transparency, density, orientation and colours; end at the end chunk."""
    kind, header = next(chunks := _chunks(data), (b"", b""))
    if kind != b"IHDR" or len(header) != _HEADER.size:
        raise MediaUnreadableError("the PNG does not start with its header")
    width, height = struct.unpack_from(">II", header)
    limits.check_size(width, height)
    expected = _raw_bytes(header)
    seen = list(chunks)
    _check_pixels((body for kind, body in seen if kind == b"IDAT"), expected)
    orientation = next((exif.orientation_of(body) for kind, body in seen if kind == b"eXIf"), 1)
    upright = orientation == exif.UPRIGHT
    tag = [] if upright else [(b"eXIf", exif.orientation_only(orientation))]
    kept = chain([(b"IHDR", header)], tag, _kept(seen), [(b"IEND", b"")])
    return Stripped(
        data=SIGNATURE + b"".join(_pack(kind, body) for kind, body in kept),
        width=width,
        height=height,
        orientation=orientation,
    )


def _chunks(data: bytes) -> Iterator[_Chunk]:
    """Yield every chunk before the end chunk, its check sum verified."""
    at = len(SIGNATURE)
    for _ in range(_MAX_CHUNKS):
        length, kind = int.from_bytes(data[at : at + 4]), data[at + 4 : at + 8]
        end = at + _OVERHEAD_BYTES + length
        if end > len(data):
            raise MediaUnreadableError("the PNG is cut off")
        body = data[at + 8 : end - 4]
        if zlib.crc32(body, zlib.crc32(kind)) != int.from_bytes(data[end - 4 : end]):
            raise MediaUnreadableError("the PNG is damaged: a check sum does not fit")
        if kind == b"IEND":
            return
        yield kind, body
        at = end
    raise MediaBombError(f"the PNG has more than {_MAX_CHUNKS} chunks")


def _raw_bytes(header: bytes) -> int:
    """Compute how many bytes the pixels inflate to.

    Raises:
        MediaUnreadableError: the header asks for something PNG does not have.
    """
    width, height, depth, colour_type, compression, filtering, interlace = _HEADER.unpack(header)
    depths, samples = _COLOUR_TYPES.get(colour_type, (set[int](), 0))
    if depth not in depths or compression or filtering or interlace > 1:
        raise MediaUnreadableError("the PNG's header makes no sense")
    passes = _PASSES if interlace else ((0, 0, 1, 1),)
    total = 0
    for left, top, across, down in passes:
        columns, rows = -((left - width) // across), -((top - height) // down)
        if columns > 0 and rows > 0:
            total += rows * (1 + (columns * samples * depth + 7) // 8)
    return total


def _check_pixels(pieces: Iterable[bytes], expected: int) -> None:
    """Inflate in blocks, to see a bomb before it goes off and bytes hidden behind the pixels."""
    inflater = zlib.decompressobj()
    produced = 0
    for piece in pieces:
        pending, block = piece, b""
        while not inflater.eof and (pending or len(block) == _BLOCK_BYTES):
            try:
                block = inflater.decompress(pending, _BLOCK_BYTES)
            except zlib.error as exc:
                raise MediaUnreadableError("the PNG is damaged: its pixels do not inflate") from exc
            produced += len(block)
            if produced > expected:
                raise MediaBombError("the PNG inflates to more than its size says")
            pending = inflater.unconsumed_tail
        if inflater.eof and (pending or inflater.unused_data):
            raise MediaMetadataLeftError("the PNG hides bytes behind its pixels")
    if produced < expected or not inflater.eof:
        raise MediaUnreadableError("the PNG is cut off")


def _kept(chunks: Iterable[_Chunk]) -> Iterator[_Chunk]:
    """Keep every pixel chunk and the first of each other kind."""
    seen: set[bytes] = set()
    for kind, body in chunks:
        cleaned = _cleaned(kind, body)
        if kind == b"IDAT" or kind not in seen:
            yield from cleaned
        seen.add(kind)


def _cleaned(kind: bytes, body: bytes) -> list[_Chunk]:
    """Return the chunk as it may stay, or nothing."""
    if kind == b"IDAT":
        return [(kind, body)]
    if kind == b"iCCP":
        return _profile(body)
    if kind in _ANIMATION:
        raise MediaTypeUnsupportedError(
            "animated PNG is shown still by most platforms; save it as GIF or WebP"
        )
    if kind in _KEPT:
        if len(body) not in _KEPT[kind]:
            raise MediaUnreadableError(f"the PNG's {kind.decode()} chunk has a wrong length")
        return [(kind, body)]
    if not kind[0] & _CRITICAL:
        raise MediaUnreadableError("the PNG has an unknown chunk that no reader may skip")
    return []


def _profile(body: bytes) -> list[_Chunk]:
    _, _, packed = body.partition(b"\0")
    inflater = zlib.decompressobj()
    try:
        profile = inflater.decompress(packed[1:], icc.MAX_PROFILE_BYTES + 1)
    except zlib.error:
        return []
    if len(profile) > icc.MAX_PROFILE_BYTES:
        raise MediaBombError("the PNG's colour profile inflates to more than any profile needs")
    colours = icc.colours_only(profile)
    return [] if colours is None else [(b"iCCP", b"colours\0\0" + zlib.compress(colours, 9))]


def _pack(kind: bytes, body: bytes) -> bytes:
    return len(body).to_bytes(4) + kind + body + zlib.crc32(body, zlib.crc32(kind)).to_bytes(4)
