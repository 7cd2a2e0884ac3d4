from io import BytesIO

import pytest
from PIL import Image

from scheduler.errors import InvalidError
from scheduler.media import jpeg
from scheduler.media.cleaning import inspect_and_clean
from scheduler.media.model import MediaLimits
from tests.support import pictures
from tests.support.pictures import SECRET, jpeg_with, segment

LIMITS = MediaLimits()


def refusal(data: bytes) -> str:
    with pytest.raises(InvalidError) as caught:
        jpeg.strip(data, LIMITS)
    return caught.value.code


def markers(data: bytes) -> list[int]:
    return [each.marker for each in jpeg._segments(data)]


@pytest.mark.parametrize("marker", [*range(0xE0, 0xF0), 0xFE])
def test_no_application_segment_or_comment_carries_anything_out(marker: int) -> None:
    clean = inspect_and_clean(jpeg_with(segment(marker, SECRET)), LIMITS)
    assert SECRET not in clean.data


@pytest.mark.parametrize(
    ("marker", "prefix"),
    [(0xE0, b"JFXX\0"), (0xE1, b"http://ns.adobe.com/xap/1.0/\0"), (0xED, b"Photoshop 3.0\08BIM"),
     (0xE2, b"MPF\0"), (0xE2, b"ICC_PROFILE\0"), (0xE2, b"ICC_PROFILE\0\1\1"), (0xEE, b"Adobe"),
     (0xE0, b"JFIF\0"), (0xEB, b"JP"), (0xE1, b"Exif\0\0")],
)  # fmt: skip
def test_a_known_name_is_no_cover_for_other_contents(marker: int, prefix: bytes) -> None:
    clean = inspect_and_clean(jpeg_with(segment(marker, prefix + SECRET)), LIMITS)
    assert SECRET not in clean.data


def test_the_preview_inside_the_first_segment_is_removed() -> None:
    data = pictures.picture("JPEG")
    preview = segment(0xE0, b"JFIF\0\1\1\0\0\1\0\1\2\5" + SECRET + b"x")
    clean = inspect_and_clean(b"\xff\xd8" + preview + data[20:], LIMITS)
    assert SECRET not in clean.data
    assert clean.data == data


def test_the_first_turn_counts_when_there_are_two() -> None:
    tags = [segment(0xE1, pictures.exif(orientation)) for orientation in (6, 3)]
    assert jpeg.strip(jpeg_with(*tags), LIMITS).orientation == 6


def test_a_second_picture_behind_the_first_is_removed() -> None:
    data = pictures.picture("JPEG")
    assert inspect_and_clean(data + pictures.picture("JPEG", quality=5), LIMITS).data == data


def test_the_colour_transform_of_a_print_picture_is_kept() -> None:
    data = pictures.save(pictures.scene().convert("CMYK"), "JPEG")
    assert 0xEE in markers(inspect_and_clean(data, LIMITS).data)


def test_a_progressive_picture_keeps_all_its_scans() -> None:
    data = pictures.picture("JPEG", progressive=True)
    clean = inspect_and_clean(data, LIMITS)
    assert markers(data).count(0xDA) == markers(clean.data).count(0xDA) > 1


def test_restart_marks_and_fill_bytes_are_part_of_the_picture() -> None:
    data = pictures.picture("JPEG", restart_marker_blocks=2)
    assert b"\xff\xd0" in data
    filled = data[:2] + b"\xff\xff" + data[2:-2] + b"\xff\xff" + data[-2:]
    assert pictures.frames_of(inspect_and_clean(filled, LIMITS).data) == pictures.frames_of(data)


def test_a_profile_larger_than_a_segment_is_kept_in_several() -> None:
    profile = pictures.profile_with(b"A2B0", bytes(range(256)) * 400)
    data = pictures.picture("JPEG", icc_profile=profile)
    clean = inspect_and_clean(data, LIMITS)
    assert markers(clean.data).count(0xE2) == 2
    with Image.open(BytesIO(clean.data)) as image:
        assert bytes(range(256)) * 400 in image.info["icc_profile"]


@pytest.mark.parametrize(("number", "count"), [(2, 1), (1, 2), (0, 0)])
def test_a_profile_with_missing_parts_is_left_out(number: int, count: int) -> None:
    body = b"ICC_PROFILE\0" + bytes((number, count)) + pictures.profile()
    assert 0xE2 not in markers(inspect_and_clean(jpeg_with(segment(0xE2, body)), LIMITS).data)


def test_endless_repainting_is_a_bomb() -> None:
    data = pictures.picture("JPEG")
    start = data.index(b"\xff\xda")
    assert refusal(data[:start] + data[start:-2] * 101 + data[-2:]) == "media_bomb"


@pytest.mark.parametrize("marker", [0xC3, 0xC5, 0xC9, 0xCF])
def test_codings_that_browsers_do_not_show_are_refused(marker: int) -> None:
    assert refusal(jpeg_with(segment(marker, b"\x08\0\x09\0\x09\1"))) == "media_type_unsupported"


@pytest.mark.parametrize(
    "data",
    [
        jpeg_with(segment(0xC0, b"\x08\0\x09\0\x09\1")),
        jpeg_with(segment(0xF0, b"")),
        jpeg_with(segment(0xD8, b"")),
        jpeg_with(b"loose bytes"),
        jpeg_with(b"\xff\xe1\0\1"),
        b"\xff\xd8\xff\xd9",
        b"\xff\xd8" + segment(0xC0, b"\x08\0\x09\0\x09\1") + b"\xff\xd9",
        b"\xff\xd8" + segment(0xC0, b"\x08\0\0\0\x09\1") + b"\xff\xd9",
        b"\xff\xd8" + segment(0xC0, b"") + b"\xff\xd9",
        b"\xff\xd8\xff\xff\xff",
    ],
)
def test_a_structure_that_makes_no_picture_is_refused(data: bytes) -> None:
    assert refusal(data) == "media_unreadable"
