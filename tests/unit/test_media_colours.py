"""Colour profiles and orientation."""

import struct
from io import BytesIO

import pytest
from PIL import ImageCms

from scheduler.media import exif, icc
from tests.support import pictures

SERIAL = b"serial number 4711"


def description(profile: bytes) -> str:
    return ImageCms.getProfileDescription(ImageCms.ImageCmsProfile(BytesIO(profile))).strip()


@pytest.mark.parametrize("version", [2, 4])
def test_a_profile_loses_its_device_and_keeps_its_colours(version: int) -> None:
    cleaned = icc.colours_only(pictures.profile_with(b"mmod", SERIAL, version=version))
    assert cleaned is not None
    assert SERIAL not in cleaned
    assert b"MAKRMODL" not in cleaned
    assert description(cleaned) == "Colours"
    kept = {name for name, _, _ in icc._tags(cleaned)}
    assert {b"rXYZ", b"gXYZ", b"bXYZ", b"rTRC", b"gTRC", b"bTRC", b"wtpt"} <= kept
    assert icc.colours_only(cleaned) == cleaned


def test_a_cleaned_profile_turns_colours_into_the_same_colours() -> None:
    source = ImageCms.createProfile("LAB")
    before, after = pictures.profile(), icc.colours_only(pictures.profile())
    assert after is not None
    scene = pictures.scene()
    turned = [
        ImageCms.profileToProfile(scene, BytesIO(each), source, outputMode="LAB")
        for each in (before, after)
    ]
    assert turned[0] is not None
    assert turned[1] is not None
    assert turned[0].tobytes() == turned[1].tobytes()


@pytest.mark.parametrize(
    "broken",
    [
        b"",
        pictures.profile()[:-1],
        pictures.profile()[:36] + b"nope" + pictures.profile()[40:],
        pictures.profile()[:128] + (101).to_bytes(4) + pictures.profile()[132:],
        struct.pack(">I", 132) + pictures.profile()[4:128] + bytes(4),
    ],
)
def test_a_malformed_profile_is_no_profile(broken: bytes) -> None:
    assert icc.colours_only(broken) is None


def test_a_tag_outside_of_the_profile_makes_it_malformed() -> None:
    source = bytearray(pictures.profile())
    at = source.index(b"rXYZ")
    source[at + 4 : at + 8] = len(source).to_bytes(4)
    assert icc.colours_only(bytes(source)) is None


def test_overlapping_tags_cannot_make_a_profile_grow() -> None:
    body = bytes(range(256)) * 8
    count = 4
    start = 132 + 12 * count
    names = (b"rXYZ", b"gXYZ", b"bXYZ", b"wtpt")
    table = b"".join(struct.pack(">4sII", name, start + i, 2000) for i, name in enumerate(names))
    whole = start + len(body)
    header = whole.to_bytes(4) + pictures.profile()[4:128]
    assert icc.colours_only(header + count.to_bytes(4) + table + body) is None


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_read_in_both_byte_orders(order: str, orientation: int) -> None:
    mark = b"II*\0" if order == "<" else b"MM\0*"
    entries = struct.pack(f"{order}HHIHH", 0x010F, 3, 1, 5, 0) + struct.pack(
        f"{order}HHIHH", 0x0112, 3, 1, orientation, 0
    )
    tiff = mark + struct.pack(f"{order}IH", 8, 2) + entries
    assert exif.orientation_of(tiff) == orientation


@pytest.mark.parametrize("orientation", range(2, 9))
def test_the_one_tag_that_is_written_is_the_one_that_is_read(orientation: int) -> None:
    assert exif.orientation_of(exif.orientation_only(orientation)) == orientation


@pytest.mark.parametrize(
    "tiff",
    [
        b"",
        b"no tiff at all",
        b"II*\0\xff\xff\xff\xff",
        b"II*\0\x08\0\0\0\xff\xff",
        b"II*\0\x08\0\0\0\1\0" + struct.pack("<HHIHH", 0x0112, 3, 1, 9, 0),
        b"II*\0\x08\0\0\0\1\0" + struct.pack("<HHIHH", 0x0112, 4, 1, 6, 0),
        b"II*\0\x08\0\0\0\1\0" + struct.pack("<HHIHH", 0x0112, 3, 1, 6, 0)[:-1],
    ],
)
def test_malformed_orientation_is_upright(tiff: bytes) -> None:
    assert exif.orientation_of(tiff) == exif.UPRIGHT
