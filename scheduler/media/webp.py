"""WebP, chunk by chunk. RFC 9649 §2 (container), §3.4 and RFC 6386 §9.1 (sizes inside the bit streams)."""

from collections.abc import Iterator
from typing import Final

from scheduler.media import exif, icc
from scheduler.media.errors import MediaBombError, MediaUnreadableError
from scheduler.media.model import MediaLimits, Stripped

SIGNATURE: Final = b"RIFF"  #: and `WEBP` after the length
_HEAD_BYTES: Final = 12
_EXTENDED_BYTES: Final = 10
_ANIMATION_BYTES: Final = 6
_FRAME_BYTES: Final = 16
_MAX_CHUNKS: Final = 5_000
_PIXELS: Final = (b"VP8 ", b"VP8L")
_HAS_PROFILE, _HAS_ALPHA, _HAS_EXIF, _HAS_ANIMATION = 0x20, 0x10, 0x08, 0x02
_EXIF_PREFIX: Final = b"Exif\0\0"

_Chunk = tuple[bytes, bytes]  # kind, body


def strip(data: bytes, limits: MediaLimits) -> Stripped:
    """Keep pixels, transparency, animation, orientation and colours; end where the container's length says."""
    end = 8 + int.from_bytes(data[4:8], "little")
    if end > len(data):
        raise MediaUnreadableError("the WebP is cut off")
    chunks = list(_chunks(data[_HEAD_BYTES:end]))
    kind, body = chunks[0] if chunks else (b"", b"")
    if kind == b"VP8X" and len(body) == _EXTENDED_BYTES:
        return _strip_extended(body, chunks[1:], limits)
    if kind not in _PIXELS:
        raise MediaUnreadableError("the WebP does not start with a picture")
    width, height = _stream_size(kind, body)
    limits.check_size(width, height)
    return Stripped(data=_pack(chunks[:1]), width=width, height=height)


def _chunks(data: bytes) -> Iterator[_Chunk]:
    at = 0
    for _ in range(_MAX_CHUNKS):
        if at >= len(data):
            return
        kind, length = data[at : at + 4], int.from_bytes(data[at + 4 : at + 8], "little")
        body = data[at + 8 : at + 8 + length]
        if len(body) != length:
            raise MediaUnreadableError("the WebP is cut off")
        yield kind, body
        at += 8 + length + length % 2
    raise MediaBombError(f"the WebP has more than {_MAX_CHUNKS} chunks")


def _stream_size(kind: bytes, body: bytes) -> tuple[int, int]:
    """Return width and height of one bit stream; an unreadable one is refused by the decoder."""
    if kind == b"VP8L":
        bits = int.from_bytes(body[1:5], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    width, height = (int.from_bytes(body[at : at + 2], "little") & 0x3FFF for at in (6, 8))
    return width, height


def _strip_extended(extended: bytes, chunks: list[_Chunk], limits: MediaLimits) -> Stripped:
    width, height = (int.from_bytes(extended[at : at + 3], "little") + 1 for at in (4, 7))
    frames = [_clean_frame(body) for kind, body in chunks if kind == b"ANMF"]
    limits.check_size(width, height, len(frames) or 1)
    animation = [body for kind, body in chunks if kind == b"ANIM"]
    if frames:
        if len(animation) != 1 or len(animation[0]) != _ANIMATION_BYTES:
            raise MediaUnreadableError("the WebP's animation has no header")
        picture = [(b"ANIM", animation[0]), *((b"ANMF", frame) for frame in frames)]
    else:
        picture = _picture(chunks)
    profile = next((icc.colours_only(body) for kind, body in chunks if kind == b"ICCP"), None)
    orientation = next((_orientation(body) for kind, body in chunks if kind == b"EXIF"), 1)
    colours = [] if profile is None else [(b"ICCP", profile)]
    upright = orientation == exif.UPRIGHT
    tag = [] if upright else [(b"EXIF", exif.orientation_only(orientation))]
    flags = (
        extended[0] & _HAS_ALPHA
        | (_HAS_PROFILE if colours else 0)
        | (_HAS_EXIF if tag else 0)
        | (_HAS_ANIMATION if frames else 0)
    )
    head = (b"VP8X", bytes((flags, 0, 0, 0)) + extended[4:])
    return Stripped(
        data=_pack([head, *colours, *picture, *tag]),
        width=width,
        height=height,
        frames=len(frames) or 1,
        orientation=orientation,
    )


def _orientation(body: bytes) -> int:
    return exif.orientation_of(body.removeprefix(_EXIF_PREFIX))


def _clean_frame(body: bytes) -> bytes:
    if len(body) <= _FRAME_BYTES:
        raise MediaUnreadableError("the WebP has a frame without a picture")
    picture = _picture(list(_chunks(body[_FRAME_BYTES:])))
    return body[:_FRAME_BYTES] + b"".join(_pack_chunk(*chunk) for chunk in picture)


def _picture(chunks: list[_Chunk]) -> list[_Chunk]:
    """Return the one bit stream, with the transparency in front of it where it has its own chunk."""
    streams = [chunk for chunk in chunks if chunk[0] in _PIXELS]
    alphas = [chunk for chunk in chunks if chunk[0] == b"ALPH"]
    if len(streams) != 1 or len(alphas) > 1:
        raise MediaUnreadableError("the WebP needs exactly one picture per frame")
    return [*alphas, *streams]


def _pack(chunks: list[_Chunk]) -> bytes:
    body = b"WEBP" + b"".join(_pack_chunk(*chunk) for chunk in chunks)
    return SIGNATURE + len(body).to_bytes(4, "little") + body


def _pack_chunk(kind: bytes, body: bytes) -> bytes:
    return kind + len(body).to_bytes(4, "little") + body + bytes(len(body) % 2)
