import pytest
from PIL import Image

from scheduler.errors import InvalidError
from scheduler.media import webp
from scheduler.media.cleaning import inspect_and_clean
from scheduler.media.model import MediaLimits
from tests.support import pictures
from tests.support.pictures import SECRET, riff, riff_chunk, webp_extended

LIMITS = MediaLimits()
INNER = pictures.picture("WEBP")[12:]


def refusal(data: bytes) -> str:
    with pytest.raises(InvalidError) as caught:
        webp.strip(data, LIMITS)
    return caught.value.code


def kinds(data: bytes) -> list[bytes]:
    return [kind for kind, _ in webp._chunks(data[12:])]


@pytest.mark.parametrize("kind", [b"EXIF", b"XMP ", b"ICCP", b"priv", b"ANIM"])
def test_a_chunk_that_draws_nothing_carries_nothing_out(kind: bytes) -> None:
    clean = inspect_and_clean(
        riff(webp_extended(flags=0x2C), INNER, riff_chunk(kind, SECRET)), LIMITS
    )
    assert SECRET not in clean.data
    assert clean.data[20] == 0  # no flag announces what is gone


@pytest.mark.parametrize("lossless", [True, False])
def test_a_simple_picture_loses_every_other_chunk(lossless: bool) -> None:
    data = pictures.picture("WEBP", lossless=lossless)
    clean = inspect_and_clean(riff(data[12:], riff_chunk(b"EXIF", SECRET)), LIMITS)
    assert clean.data == data


def test_transparency_and_colours_are_kept() -> None:
    image = pictures.scene()
    image.putalpha(Image.linear_gradient("L").resize(image.size))
    data = pictures.save(image, "WEBP", icc_profile=pictures.profile())
    clean = inspect_and_clean(data, LIMITS)
    assert kinds(clean.data) == [b"VP8X", b"ICCP", b"ALPH", b"VP8 "]
    assert pictures.frames_of(clean.data) == pictures.frames_of(data)


def test_an_animation_keeps_frames_timing_and_loop_count() -> None:
    data = pictures.animation("WEBP", loop=3, exif=pictures.exif(1), xmp=SECRET)
    clean = inspect_and_clean(data, LIMITS)
    assert SECRET not in clean.data
    assert kinds(clean.data) == [b"VP8X", b"ANIM", b"ANMF", b"ANMF", b"ANMF"]
    assert pictures.frames_of(clean.data) == pictures.frames_of(data)


def test_a_chunk_inside_a_frame_carries_nothing_out() -> None:
    data = pictures.animation("WEBP")
    stuffed = [
        riff_chunk(kind, body + riff_chunk(b"priv", SECRET) if kind == b"ANMF" else body)
        for kind, body in webp._chunks(data[12:])
    ]
    assert inspect_and_clean(riff(*stuffed), LIMITS).data == inspect_and_clean(data, LIMITS).data


def test_orientation_is_found_with_and_without_the_prefix() -> None:
    tag = pictures.exif(6)
    for body in (tag, tag.removeprefix(b"Exif\0\0")):
        data = riff(webp_extended(flags=8), INNER, riff_chunk(b"EXIF", body))
        assert webp.strip(data, LIMITS).orientation == 6


def test_thousands_of_empty_chunks_are_a_bomb() -> None:
    assert refusal(riff(webp_extended(), riff_chunk(b"priv", b"") * 5_001)) == "media_bomb"


@pytest.mark.parametrize(
    "data",
    [
        riff(),
        riff(riff_chunk(b"XMP ", b"")),
        riff(riff_chunk(b"VP8X", b"short")),
        riff(riff_chunk(b"VP8 ", b"")),
        riff(webp_extended()),
        riff(webp_extended(), INNER, INNER),
        riff(webp_extended(), riff_chunk(b"ALPH", b""), riff_chunk(b"ALPH", b""), INNER),
        riff(webp_extended(), riff_chunk(b"ANMF", bytes(16) + INNER)),
        riff(
            webp_extended(), riff_chunk(b"ANIM", bytes(5)), riff_chunk(b"ANMF", bytes(16) + INNER)
        ),
        riff(webp_extended(), riff_chunk(b"ANIM", bytes(6)), riff_chunk(b"ANMF", bytes(16))),
        riff(webp_extended(), riff_chunk(b"ANIM", bytes(6)), riff_chunk(b"ANMF", bytes(30))),
        riff(webp_extended(), b"VP8 \xff\xff\xff\xff"),
        riff(INNER)[:-4],
    ],
)
def test_a_structure_that_makes_no_picture_is_refused(data: bytes) -> None:
    assert refusal(data) == "media_unreadable"
