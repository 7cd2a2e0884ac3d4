"""JPEG, segment by segment: what draws the picture stays as it is, everything else goes.

ITU-T T.81 Annex B (markers); T.871 (JFIF); T.872 (Adobe's segment); ICC.1:2022 Annex B (profiles in JPEG).
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from scheduler.media import exif, icc
from scheduler.media.errors import (
    MediaBombError,
    MediaTypeUnsupportedError,
    MediaUnreadableError,
)
from scheduler.media.model import MediaLimits, Stripped

SIGNATURE: Final = b"\xff\xd8\xff"
_START, _END = b"\xff\xd8", b"\xff\xd9"
_FILL: Final = 0xFF
_EOI: Final = 0xD9
_SOS: Final = 0xDA
_SIZED: Final = frozenset({0xC0, 0xC1, 0xC2})  #: baseline, extended, progressive
_OTHER_CODINGS: Final = frozenset(range(0xC3, 0xD0)) - {0xC4, 0xC8, 0xCC}
_TABLES: Final = frozenset({0xC4, 0xDB, 0xDD})  #: Huffman, quantisation, restart interval
_APP0, _APP1, _APP2, _APP14, _APP15 = 0xE0, 0xE1, 0xE2, 0xEE, 0xEF
_COM: Final = 0xFE
_MAX_SCANS: Final = 100  #: a progressive picture has about ten; each one repaints everything
_MAX_BODY: Final = 0xFFFF - 2
_EXIF, _ICC, _JFIF, _ADOBE = b"Exif\0\0", b"ICC_PROFILE\0", b"JFIF\0", b"Adobe"
_JFIF_BYTES, _ADOBE_BYTES = 14, 12
_SCAN_END: Final = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")


@dataclass(frozen=True, slots=True)
class _Segment:
    marker: int
    body: bytes
    scan: bytes = b""  #: the compressed pixels after a start-of-scan header

    def __bytes__(self) -> bytes:
        head = bytes((_FILL, self.marker)) + (len(self.body) + 2).to_bytes(2)
        return head + self.body + self.scan


@dataclass(slots=True)
class _Found:
    jfif: bytes = b""
    adobe: bytes = b""
    orientation: int = exif.UPRIGHT
    profile: dict[int, bytes] = field(default_factory=dict)
    profile_parts: int = 0
    size: tuple[int, int] | None = None  #: width, height
    drawing: list[_Segment] = field(default_factory=list)


def strip(data: bytes, limits: MediaLimits) -> Stripped:
    """Keep tables, scans, JFIF density, orientation, colours and Adobe's colour transform; end at the end marker."""
    found = _Found()
    scans = 0
    for segment in _segments(data):
        if segment.marker == _SOS:
            scans += 1
            if scans > _MAX_SCANS:
                raise MediaBombError(f"the JPEG repaints itself more than {_MAX_SCANS} times")
        _sort(segment, found, limits)
    if found.size is None or scans == 0:
        raise MediaUnreadableError("the JPEG holds no picture")
    return Stripped(
        data=_START + b"".join(map(bytes, [*_head(found), *found.drawing])) + _END,
        width=found.size[0],
        height=found.size[1],
        orientation=found.orientation,
    )


def _segments(data: bytes) -> Iterator[_Segment]:
    at = len(_START)
    while True:
        marker, at = _next_marker(data, at)
        if marker == _EOI:
            return
        length = int.from_bytes(data[at : at + 2])
        end = at + length
        if length < 2 or end > len(data):  # noqa: PLR2004 - the length counts its own two bytes
            raise MediaUnreadableError("the JPEG is cut off")
        body, scan = data[at + 2 : end], b""
        if marker == _SOS:
            after = _SCAN_END.search(data, end)
            if after is None:
                raise MediaUnreadableError("the JPEG is cut off")
            scan, end = data[end : after.start()], after.start()
        yield _Segment(marker, body, scan)
        at = end


def _next_marker(data: bytes, at: int) -> tuple[int, int]:
    if data[at : at + 1] != b"\xff":
        raise MediaUnreadableError("the JPEG is cut off or has bytes that belong to no segment")
    while data[at : at + 1] == b"\xff":
        at += 1
    if at == len(data):
        raise MediaUnreadableError("the JPEG is cut off")
    return data[at], at + 1


def _sort(segment: _Segment, found: _Found, limits: MediaLimits) -> None:
    match segment.marker:
        case marker if marker in _SIZED:
            if found.size is not None:
                raise MediaUnreadableError("the JPEG holds two pictures in one")
            found.size = _size(segment.body)
            limits.check_size(*found.size)
            found.drawing.append(segment)
        case marker if marker in _TABLES or marker == _SOS:
            found.drawing.append(segment)
        case marker if _APP0 <= marker <= _APP15:
            _sort_application(segment, found)
        case marker if marker == _COM:
            pass
        case marker if marker in _OTHER_CODINGS:
            raise MediaTypeUnsupportedError(
                "this kind of JPEG is shown by few programs; save it as an ordinary JPEG"
            )
        case _:
            raise MediaUnreadableError(f"the JPEG has a segment {segment.marker:#x} out of place")


def _size(frame: bytes) -> tuple[int, int]:
    return int.from_bytes(frame[3:5]), int.from_bytes(frame[1:3])


def _sort_application(segment: _Segment, found: _Found) -> None:
    """Take the four useful kinds, the first of each; drop the others (EXIF, XMP, IPTC, previews, …)."""
    body = segment.body
    match segment.marker:
        case marker if marker == _APP0 and body.startswith(_JFIF) and len(body) >= _JFIF_BYTES:
            without_preview = body[: _JFIF_BYTES - 2] + b"\0\0"
            found.jfif = found.jfif or without_preview
        case marker if marker == _APP1 and body.startswith(_EXIF):
            if found.orientation == exif.UPRIGHT:
                found.orientation = exif.orientation_of(body[len(_EXIF) :])
        case marker if marker == _APP2 and body.startswith(_ICC) and len(body) > len(_ICC) + 2:
            number, found.profile_parts = body[len(_ICC)], body[len(_ICC) + 1]
            found.profile.setdefault(number, body[len(_ICC) + 2 :])
        case marker if marker == _APP14 and body.startswith(_ADOBE) and len(body) >= _ADOBE_BYTES:
            found.adobe = found.adobe or body[:_ADOBE_BYTES]
        case _:
            pass


def _head(found: _Found) -> Iterable[_Segment]:
    if found.jfif:
        yield _Segment(_APP0, found.jfif)
    if found.orientation != exif.UPRIGHT:
        yield _Segment(_APP1, _EXIF + exif.orientation_only(found.orientation))
    yield from _profile_segments(found)
    if found.adobe:
        yield _Segment(_APP14, found.adobe)


def _profile_segments(found: _Found) -> Iterable[_Segment]:
    if sorted(found.profile) != list(range(1, found.profile_parts + 1)):
        return
    profile = icc.colours_only(b"".join(found.profile[i] for i in sorted(found.profile)))
    if profile is None:
        return
    room = _MAX_BODY - len(_ICC) - 2
    parts = [profile[start : start + room] for start in range(0, len(profile), room)]
    for number, part in enumerate(parts, 1):
        yield _Segment(_APP2, _ICC + bytes((number, len(parts))) + part)
