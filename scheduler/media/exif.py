"""Orientation, the one EXIF tag that is kept: without it a telephone's picture lies on its side.

TIFF 6.0 §2 (header, image file directory); EXIF 2.32 §4.6.4 (tag 0x0112).
"""

import struct
from typing import Final, Literal

UPRIGHT: Final = 1
SIDEWAYS: Final = frozenset({5, 6, 7, 8})  #: width and height change places
ORIENTATION_TAG: Final = 0x0112
_MAX_ORIENTATION: Final = 8
_ENTRY_BYTES: Final = 12
_SHORT: Final = 3


def orientation_of(tiff: bytes) -> int:
    """Read the first directory only and follow no pointer of it; anything malformed is upright."""
    order: Literal["little", "big"]
    match tiff[:4]:
        case b"II*\0":
            order = "little"
        case b"MM\0*":
            order = "big"
        case _:
            return UPRIGHT
    at = int.from_bytes(tiff[4:8], order)
    count = int.from_bytes(tiff[at : at + 2], order)
    entries = tiff[at + 2 : at + 2 + count * _ENTRY_BYTES]
    for start in range(0, len(entries) - _ENTRY_BYTES + 1, _ENTRY_BYTES):
        entry = entries[start : start + _ENTRY_BYTES]
        tag, kind = (int.from_bytes(entry[i : i + 2], order) for i in (0, 2))
        if tag == ORIENTATION_TAG and kind == _SHORT:
            value = int.from_bytes(entry[8:10], order)
            return value if UPRIGHT <= value <= _MAX_ORIENTATION else UPRIGHT
    return UPRIGHT


def orientation_only(orientation: int) -> bytes:
    """Return a whole TIFF block of 26 bytes with this one tag."""
    directory = struct.pack("<HHHIHHI", 1, ORIENTATION_TAG, _SHORT, 1, orientation, 0, 0)
    return b"II*\0" + struct.pack("<I", 8) + directory
