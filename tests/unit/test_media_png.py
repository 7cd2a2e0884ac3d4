import zlib

import pytest
from PIL import Image

from scheduler.errors import InvalidError
from scheduler.media import png
from scheduler.media.cleaning import inspect_and_clean
from scheduler.media.model import MediaLimits
from tests.support import pictures
from tests.support.pictures import SECRET, chunk, png_header, png_of, png_with

LIMITS = MediaLimits()
END = chunk(b"IEND")
PIXELS = zlib.compress(bytes(4 * 5))  # four rows of four grey pixels, with a filter byte each


def refusal(data: bytes) -> str:
    with pytest.raises(InvalidError) as caught:
        png.strip(data, LIMITS)
    return caught.value.code


def kinds(data: bytes) -> list[bytes]:
    return [kind for kind, _ in png._chunks(data)]


@pytest.mark.parametrize(
    "kind",
    [b"tEXt", b"zTXt", b"iTXt", b"eXIf", b"tIME", b"hIST", b"sPLT", b"oFFs", b"dSIG", b"caBX",
     b"prVt", b"iCCP"],
)  # fmt: skip
def test_a_chunk_that_draws_nothing_carries_nothing_out(kind: bytes) -> None:
    clean = inspect_and_clean(png_with(chunk(kind, SECRET)), LIMITS)
    assert clean.data == pictures.picture("PNG")


def test_density_transparency_and_colours_are_kept() -> None:
    image = pictures.scene().convert("P")
    data = pictures.save(image, "PNG", transparency=3, dpi=(72, 72), icc_profile=pictures.profile())
    clean = inspect_and_clean(data, LIMITS)
    assert kinds(clean.data) == [b"IHDR", b"iCCP", b"PLTE", b"tRNS", b"pHYs", b"IDAT"]
    assert pictures.frames_of(clean.data) == pictures.frames_of(data)


def test_only_the_first_of_two_equal_chunks_is_kept() -> None:
    gamma = chunk(b"gAMA", (45455).to_bytes(4))
    clean = inspect_and_clean(png_with(gamma, gamma), LIMITS)
    assert kinds(clean.data).count(b"gAMA") == 1


def test_a_text_bomb_is_dropped_without_being_inflated() -> None:
    bomb = chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(50_000_000), 9))
    assert inspect_and_clean(png_with(bomb), LIMITS).data == pictures.picture("PNG")


def test_a_profile_that_inflates_beyond_any_profile_is_a_bomb() -> None:
    assert (
        refusal(png_with(chunk(b"iCCP", b"p\0\0" + zlib.compress(bytes(5_000_000)))))
        == "media_bomb"
    )


def test_a_profile_that_does_not_inflate_is_left_out() -> None:
    clean = inspect_and_clean(png_with(chunk(b"iCCP", b"p\0\0" + SECRET)), LIMITS)
    assert clean.data == pictures.picture("PNG")


def test_pixels_that_inflate_beyond_the_header_are_a_bomb() -> None:
    bomb = zlib.compress(bytes(30_000_000), 9)
    assert refusal(png_of(png_header(), chunk(b"IDAT", bomb), END)) == "media_bomb"


def test_ten_thousands_of_empty_chunks_are_a_bomb() -> None:
    assert refusal(png_of(png_header(), chunk(b"IDAT") * 20_001, END)) == "media_bomb"


@pytest.mark.parametrize("split", [0, 1, len(PIXELS) - 1, len(PIXELS)])
def test_the_pixels_may_lie_in_several_chunks(split: int) -> None:
    data = png_of(png_header(), chunk(b"IDAT", PIXELS[:split]), chunk(b"IDAT", PIXELS[split:]), END)
    assert inspect_and_clean(data, LIMITS).width == 4


def test_pixels_longer_than_a_block_are_counted_whole() -> None:
    data = pictures.save(Image.new("RGB", (1500, 1000)), "PNG")
    assert inspect_and_clean(data, LIMITS).data == data


@pytest.mark.parametrize(
    "extra", [chunk(b"IDAT", PIXELS + SECRET), chunk(b"IDAT", PIXELS) + chunk(b"IDAT", SECRET)]
)
def test_bytes_behind_the_pixels_are_refused(extra: bytes) -> None:
    assert refusal(png_of(png_header(), extra, END)) == "media_metadata_left"


def test_an_animated_png_is_refused() -> None:
    assert refusal(pictures.animation("PNG")) == "media_type_unsupported"


@pytest.mark.parametrize("size", [(1, 1), (3, 5), (8, 8), (33, 17)])
@pytest.mark.parametrize(
    ("mode", "depth", "colour"), [("L", 8, 0), ("RGB", 8, 2), ("RGBA", 8, 6), ("1", 1, 0)]
)
def test_an_interlaced_picture_has_the_length_that_its_passes_have(
    size: tuple[int, int], mode: str, depth: int, colour: int
) -> None:
    """Every pass is made here row by row, without the closed formula of the code."""
    width, height = size
    bits = depth * len(Image.new(mode, (1, 1)).getbands())
    raw = bytearray()
    for x, y, dx, dy in (
        (0, 0, 8, 8),
        (4, 0, 8, 8),
        (0, 4, 4, 8),
        (2, 0, 4, 4),
        (0, 2, 2, 4),
        (1, 0, 2, 2),
        (0, 1, 1, 2),
    ):
        columns = len(range(x, width, dx))
        for _ in range(y, height, dy):
            if columns:
                raw += bytes(1 + (columns * bits + 7) // 8)
    header = png_header(width, height, depth, colour, interlace=1)
    data = png_of(header, chunk(b"IDAT", zlib.compress(bytes(raw))), END)
    assert inspect_and_clean(data, LIMITS).data == data


@pytest.mark.parametrize(
    "data",
    [
        png_of(),
        png_of(END),
        png_of(chunk(b"IDAT", PIXELS), END),
        png_of(chunk(b"IHDR", b"short"), END),
        png_of(png_header(0, 4), END),
        png_of(png_header(depth=3), END),
        png_of(png_header(colour=5), END),
        png_of(png_header(interlace=2), END),
        png_of(png_header(), END),
        png_of(png_header(), chunk(b"IDAT", b"not zlib"), END),
        png_of(png_header(), chunk(b"IDAT", PIXELS[:-5]), END),
        png_of(png_header(), chunk(b"IDAT", zlib.compress(bytes(19))), END),
        png_of(png_header(), chunk(b"gAMA", b"abc"), chunk(b"IDAT", PIXELS), END),
        png_of(png_header(), png_header(), chunk(b"IDAT", PIXELS), END),
        png_of(png_header(), chunk(b"CgBI", b""), chunk(b"IDAT", PIXELS), END),
        png_of(png_header(), chunk(b"IDAT", PIXELS)[:-1] + b"x", END),
    ],
)
def test_a_structure_that_makes_no_picture_is_refused(data: bytes) -> None:
    assert refusal(data) == "media_unreadable"
