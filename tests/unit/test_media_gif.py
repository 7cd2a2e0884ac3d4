import pytest

from scheduler.errors import InvalidError
from scheduler.media import gif
from scheduler.media.cleaning import inspect_and_clean
from scheduler.media.model import MediaLimits
from tests.support import pictures
from tests.support.pictures import SECRET, gif_extension, gif_with

LIMITS = MediaLimits()
PLAIN = gif_with()
FRAME = PLAIN[PLAIN.index(b"\x2c\0\0\0\0") : -1]
HEAD = PLAIN[: PLAIN.index(b"\x2c\0\0\0\0")]
LOOP = gif_extension(0xFF, b"NETSCAPE2.0", b"\1\3\0")


def refusal(data: bytes, limits: MediaLimits = LIMITS) -> str:
    with pytest.raises(InvalidError) as caught:
        gif.strip(data, limits)
    return caught.value.code


@pytest.mark.parametrize(
    "block",
    [
        gif_extension(0xFE, SECRET),
        gif_extension(0xFF, b"XMP DataXMP", SECRET),
        gif_extension(0xFF, SECRET),
        gif_extension(0xFF, b"NETSCAPE2.0", SECRET),
        gif_extension(0xFF, b"NETSCAPE2.0", b"\2" + SECRET[:2]),
        gif_extension(0xFF),
        gif_extension(0xF9, b"\0\0\0\0") + gif_extension(0x01, bytes(12), SECRET),
        gif_extension(0x77, SECRET),
    ],
)
def test_a_block_that_draws_nothing_carries_nothing_out(block: bytes) -> None:
    assert inspect_and_clean(gif_with(block), LIMITS).data == PLAIN


def test_the_loop_count_is_kept_once_and_alone() -> None:
    dirty = gif_extension(0xFF, b"NETSCAPE2.0", b"\1\3\0", SECRET)
    assert inspect_and_clean(gif_with(dirty, LOOP), LIMITS).data == gif_with(LOOP)


def test_an_animation_keeps_frames_and_timing() -> None:
    data = pictures.animation("GIF", comment=SECRET, loop=0)
    clean = inspect_and_clean(data, LIMITS)
    assert SECRET not in clean.data
    assert pictures.frames_of(clean.data) == pictures.frames_of(data)


def test_a_hundred_thousand_frames_are_refused_at_the_limit() -> None:
    assert refusal(HEAD + FRAME * 100_000 + b";") == "media_too_large"


def test_small_frames_on_a_large_canvas_count_as_the_canvas() -> None:
    limits = MediaLimits(max_total_pixels=48 * 32 * 5)
    assert refusal(HEAD + FRAME * 6 + b";", limits) == "media_too_large"


@pytest.mark.parametrize(
    "data",
    [
        HEAD + b";",
        HEAD + b"?",
        HEAD + gif_extension(0xF9, b"\0\0\0") + FRAME + b";",
        HEAD + gif_extension(0xF9) + FRAME + b";",
        HEAD + FRAME.replace(b"\x2c\0\0\0", b"\x2c\0\0\1", 1) + b";",
        HEAD + FRAME.replace(b"\x2c\0\0", b"\x2c\1\0", 1) + b";",
        HEAD + FRAME[:5] + b"\0\0" + FRAME[7:] + b";",
        HEAD + FRAME[:10] + b"\x0c" + FRAME[11:] + b";",
        HEAD + FRAME,
        HEAD[:9],
    ],
)
def test_a_structure_that_makes_no_picture_is_refused(data: bytes) -> None:
    assert refusal(data) == "media_unreadable"
