"""Colour profiles without their owner: a screen's profile names the device, its serial number and the day.

ICC.1:2022 §7 (header and tag table) and its multiLocalizedUnicodeType; ICC.1:2001-04 for the texts of version 2.
"""

import struct
from collections.abc import Iterable
from typing import Final

MAX_PROFILE_BYTES: Final = 4 * 1024 * 1024
_HEADER_BYTES: Final = 128
_MAX_TAGS: Final = 100
_VERSION_4: Final = 4
_NAME: Final = "Colours"
#: Tags that change pixels; descriptions, serial numbers, calibration and private tags are not among them.
_COLOUR_TAGS: Final = frozenset(
    b"rXYZ gXYZ bXYZ rTRC gTRC bTRC kTRC wtpt bkpt chad cicp lumi gamt "
    b"A2B0 A2B1 A2B2 B2A0 B2A1 B2A2 B2D0 B2D1 B2D2 B2D3 D2B0 D2B1 D2B2 D2B3".split()
)
#: Header fields that hold the day, the platform, the device, the creator, the identifier and reserved bytes.
_BLANKED: Final = ((4, 8), (24, 36), (40, 44), (48, 56), (80, 128))


def colours_only(profile: bytes) -> bytes | None:
    """Return a profile with the same colours and a constant name, or None when the profile is malformed.

    Viewers ignore a malformed profile, so leaving it out changes no colour.
    """
    if not _is_sound(profile):
        return None
    tags = [tag for tag in _tags(profile) if tag[0] in _COLOUR_TAGS]
    if any(offset + size > len(profile) for _, offset, size in tags):
        return None
    pieces = {name: profile[offset : offset + size] for name, offset, size in tags}
    if not pieces or sum(map(len, set(pieces.values()))) > len(profile):
        return None
    header = bytearray(profile[:_HEADER_BYTES])
    for start, end in _BLANKED:
        header[start:end] = bytes(end - start)
    return _assemble(header, {**_texts(version=profile[8]), **pieces})


def _is_sound(profile: bytes) -> bool:
    return (
        _HEADER_BYTES + 4 <= len(profile) <= MAX_PROFILE_BYTES
        and profile[36:40] == b"acsp"
        and int.from_bytes(profile[:4]) == len(profile)
        and int.from_bytes(profile[_HEADER_BYTES : _HEADER_BYTES + 4]) <= _MAX_TAGS
    )


def _tags(profile: bytes) -> Iterable[tuple[bytes, int, int]]:
    count = int.from_bytes(profile[_HEADER_BYTES : _HEADER_BYTES + 4])
    table = profile[_HEADER_BYTES + 4 : _HEADER_BYTES + 4 + count * 12]
    return struct.iter_unpack(">4sII", table[: len(table) // 12 * 12])


def _texts(*, version: int) -> dict[bytes, bytes]:
    """Return the name and the copyright line that every profile must have."""
    if version >= _VERSION_4:
        text = _NAME.encode("utf-16-be")
        block = struct.pack(">4s4xII4sII", b"mluc", 1, 12, b"enUS", len(text), 28) + text
        return {b"desc": block, b"cprt": block}
    ascii_text = _NAME.encode() + b"\0"
    return {
        b"desc": struct.pack(">4s4xI", b"desc", len(ascii_text)) + ascii_text + bytes(78),
        b"cprt": b"text\0\0\0\0" + ascii_text,
    }


def _assemble(header: bytearray, pieces: dict[bytes, bytes]) -> bytes:
    """Lay equal pieces down once: the three curves of most profiles are one."""
    body = bytearray()
    offsets: dict[bytes, int] = {}
    first = _HEADER_BYTES + 4 + 12 * len(pieces)
    for piece in pieces.values():
        if piece not in offsets:
            offsets[piece] = first + len(body)
            body += piece + bytes(-len(piece) % 4)
    table = b"".join(
        struct.pack(">4sII", name, offsets[piece], len(piece)) for name, piece in pieces.items()
    )
    header[:4] = (first + len(body)).to_bytes(4)
    return bytes(header) + len(pieces).to_bytes(4) + table + bytes(body)
