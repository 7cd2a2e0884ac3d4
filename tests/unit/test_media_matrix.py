"""Pictures as telephones, cameras and editors make them, through the real decoding process and into the store."""

import struct
import sys
from io import BytesIO
from pathlib import Path
from typing import Any, Final

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from PIL.TiffImagePlugin import IFDRational

from scheduler.media.errors import MediaDecoderError, MediaUnreadableError
from scheduler.media.intake import MediaIntake
from scheduler.media.model import CleanImage
from scheduler.media.store import MediaStore
from tests.support import pictures
from tests.support.pictures import SECRET

LATITUDE: Final = ((46, 1), (3, 1), (4321, 100))
LONGITUDE: Final = ((14, 1), (30, 1), (2987, 100))
TURNED: Final = ("JPEG", "PNG", "WEBP")
PROFILES: Final = [(space, version) for space in pictures.SPACES for version in (2, 4)]
XMP: Final = b"<?xpacket begin=''?><x:xmpmeta>" + SECRET + b"</x:xmpmeta>"
IPTC: Final = b"Photoshop 3.0\0" + b"8BIM\4\4\0\0" + len(SECRET).to_bytes(4) + SECRET


def exif(orientation: int, endian: str = "<") -> bytes:
    """What a telephone writes: the place, the author, the serial number."""
    tags = Image.Exif()
    tags.endian = endian
    tags[0x0112] = orientation
    tags[0x013B] = SECRET.decode()
    tags[0xA431] = "serial 1234"
    place = tags.get_ifd(0x8825)
    place[1], place[2] = "N", tuple(IFDRational(*part) for part in LATITUDE)
    place[3], place[4] = "E", tuple(IFDRational(*part) for part in LONGITUDE)
    return tags.tobytes()


def traces_of_the_place(endian: str) -> list[bytes]:
    """The coordinates as EXIF stores them, and the tag that leads to them."""
    return [
        *(
            b"".join(struct.pack(f"{endian}II", *part) for part in parts)
            for parts in (LATITUDE, LONGITUDE)
        ),
        struct.pack(f"{endian}HHI", 0x8825, 4, 1),
    ]


def telephone(kind: str, orientation: int, profile: bytes, endian: str = "<") -> bytes:
    options: dict[str, Any] = {"exif": exif(orientation, endian), "icc_profile": profile}
    match kind:
        case "JPEG":
            data = pictures.picture(kind, comment=SECRET, xmp=XMP, progressive=True, **options)
            return data[:2] + pictures.segment(0xED, IPTC) + data[2:]
        case "PNG":
            words = PngInfo()
            words.add_text("Author", SECRET.decode())
            words.add_itxt("XML:com.adobe.xmp", XMP.decode())
            return pictures.picture(kind, pnginfo=words, **options)
        case _:
            return pictures.picture(kind, xmp=XMP, **options)


async def keep(folder: Path, data: bytes, kind: str) -> tuple[CleanImage, bytes]:
    """Through the decoding process, and the bytes as they lie in the store."""
    clean = await MediaIntake().clean(data, f"image/{kind.lower()}")
    store = MediaStore(folder)
    store.put(clean.data)
    return clean, store.read(clean.sha256)


@pytest.mark.parametrize("kind", TURNED)
@pytest.mark.parametrize("orientation", range(1, 9))
async def test_a_telephones_picture_is_stored_turned_and_without_its_history(
    tmp_path: Path, kind: str, orientation: int
) -> None:
    profile = pictures.profile_of(*PROFILES[orientation % len(PROFILES)])
    data = telephone(kind, orientation, profile)
    clean, stored = await keep(tmp_path, data, kind)
    assert SECRET in data
    assert SECRET not in stored
    assert pictures.frames_of(stored) == pictures.frames_of(data)
    assert (clean.width, clean.height) == ((32, 48) if orientation >= 5 else (48, 32))
    with Image.open(BytesIO(stored)) as image:
        assert dict(image.getexif()) == ({0x0112: orientation} if orientation > 1 else {})
        assert image.info["icc_profile"]


@pytest.mark.parametrize("kind", TURNED)
@pytest.mark.parametrize("endian", ["<", ">"])
async def test_the_place_where_a_picture_was_taken_is_gone_from_the_stored_bytes(
    tmp_path: Path, kind: str, endian: str
) -> None:
    data = telephone(kind, 6, pictures.profile(), endian)
    _, stored = await keep(tmp_path, data, kind)
    for trace in traces_of_the_place(endian):
        assert trace in data
        assert trace not in stored
    with Image.open(BytesIO(stored)) as image:
        assert 0x8825 not in image.getexif()


@pytest.mark.parametrize("kind", TURNED)
@pytest.mark.parametrize(("space", "version"), PROFILES)
async def test_a_picture_keeps_the_colours_of_its_profile(
    tmp_path: Path, kind: str, space: str, version: int
) -> None:
    data = pictures.picture(kind, icc_profile=pictures.profile_of(space, version))
    _, stored = await keep(tmp_path, data, kind)
    with Image.open(BytesIO(stored)) as image:
        kept = image.info["icc_profile"]
    assert pictures.tags_of(kept)[b"rXYZ"] == pictures.tags_of(pictures.profile_of(space))[b"rXYZ"]
    assert SECRET not in kept


@pytest.mark.parametrize(
    ("kind", "mode", "options"),
    [
        ("JPEG", "L", {}),
        ("JPEG", "CMYK", {}),
        ("JPEG", "RGB", {"progressive": True, "dpi": (300, 300)}),
        ("JPEG", "RGB", {"subsampling": 0, "optimize": True}),
        ("PNG", "1", {}),
        ("PNG", "L", {}),
        ("PNG", "LA", {}),
        ("PNG", "P", {}),
        ("PNG", "RGBA", {"dpi": (72, 72)}),
        ("PNG", "I;16", {}),
        ("WEBP", "L", {}),
        ("WEBP", "RGBA", {"lossless": True}),
        ("GIF", "L", {}),
        ("GIF", "P", {"transparency": 3}),
        ("GIF", "RGBA", {}),
    ],
)
async def test_every_kind_of_pixel_comes_through_as_it_is(
    tmp_path: Path, kind: str, mode: str, options: dict[str, Any]
) -> None:
    scene = pictures.scene()
    drawn = Image.new("I;16", (9, 7), 40_000) if mode == "I;16" else scene.convert(mode)
    data = pictures.save(drawn, kind, **options)
    _, stored = await keep(tmp_path, data, kind)
    assert pictures.frames_of(stored) == pictures.frames_of(data)


@pytest.mark.parametrize("kind", ["GIF", "WEBP"])
async def test_an_animation_comes_through_the_process_whole(tmp_path: Path, kind: str) -> None:
    data = pictures.animation(kind)
    _, stored = await keep(tmp_path, data, kind)
    assert pictures.frames_of(stored) == pictures.frames_of(data)


def without_tables(jpeg: bytes) -> bytes:
    """A JPEG whose pixels nobody can read: its quantisation tables are gone."""
    while (at := jpeg.find(b"\xff\xdb")) >= 0:
        jpeg = jpeg[:at] + jpeg[at + 2 + int.from_bytes(jpeg[at + 2 : at + 4]) :]
    return jpeg


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        ("JPEG", without_tables(pictures.picture("JPEG"))),
        ("WEBP", pictures.riff(pictures.riff_chunk(b"VP8 ", b"\x30\x01\0\x9d\1\x2a\x10\0\x10\0" * 9))),
        ("WEBP", pictures.riff(pictures.riff_chunk(b"VP8L", b"\x2f\x0f\xc0\x03\0" + bytes(40)))),
    ],
)  # fmt: skip
async def test_what_is_said_of_a_broken_picture_are_words_of_ours(kind: str, data: bytes) -> None:
    with pytest.raises(MediaUnreadableError) as refused:
        await MediaIntake().clean(data, f"image/{kind.lower()}")
    assert str(refused.value) == "the picture does not decode; save it anew"


async def test_a_decoder_that_lacks_a_file_says_nothing_of_the_picture(tmp_path: Path) -> None:
    """A module that was not loaded in time is our fault: 503, try again, and no path in the words."""
    program = tmp_path / "python"
    program.write_text(
        f'#!/bin/sh\nexec {sys.executable} -c "\n'
        "import sys\n"
        "from scheduler.media import cleaning, sandbox\n"
        "cleaning._look = lambda image, stripped: __import__('this')\n"
        'sandbox.main(sys.argv[-1])\n" "$@"\n'
    )
    program.chmod(0o700)
    with pytest.raises(MediaDecoderError) as refused:
        await MediaIntake(python=str(program)).clean(pictures.picture("PNG"), "image/png")
    assert str(tmp_path) not in str(refused.value)
    assert "Errno" not in str(refused.value)
