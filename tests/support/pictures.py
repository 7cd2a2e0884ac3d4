"""Pictures of the foreign ministry's garden, and the pieces to break them with."""

import struct
import zlib
from io import BytesIO
from typing import Any

from PIL import Image, ImageCms

SECRET = b"Lipovec 46.0512N Tina Hocevar"
FORMATS = ("JPEG", "PNG", "WEBP", "GIF")


def scene(width: int = 48, height: int = 32) -> Image.Image:
    """A gradient with no two equal rows, so that turning or cutting it shows."""
    ramp = Image.linear_gradient("L").resize((width, height))
    return Image.merge(
        "RGB", (ramp, ramp.rotate(180), ramp.transpose(Image.Transpose.FLIP_LEFT_RIGHT))
    )


def save(picture: Image.Image, kind: str, **options: Any) -> bytes:
    target = BytesIO()
    picture.save(target, kind, **options)
    return target.getvalue()


def picture(kind: str, **options: Any) -> bytes:
    return save(scene(), kind, **options)


def animation(kind: str, frames: int = 3, **options: Any) -> bytes:
    first, *others = (scene().rotate(7 * index) for index in range(frames))
    return save(first, kind, save_all=True, append_images=others, duration=100, **options)


def frames_of(data: bytes) -> list[bytes]:
    """The decoded pixels of every frame."""
    with Image.open(BytesIO(data)) as image:
        shown = []
        for index in range(getattr(image, "n_frames", 1)):
            image.seek(index)
            shown.append(image.convert("RGBA").tobytes())
        return shown


def profile() -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def profile_with(name: bytes, content: bytes, *, version: int = 4) -> bytes:
    """The sRGB profile with one more tag, and a maker's mark in its header."""
    source = profile()
    count = int.from_bytes(source[128:132])
    table = [*struct.iter_unpack(">4sII", source[132 : 132 + 12 * count])]
    moved = b"".join(struct.pack(">4sII", tag, at + 12, size) for tag, at, size in table)
    added = struct.pack(">4sII", name, len(source) + 12, len(content))
    body = source[132 + 12 * count :] + content
    header = bytearray(source[:128])
    header[:4] = (len(source) + 12 + len(content)).to_bytes(4)
    header[8] = version
    header[48:56] = b"MAKRMODL"
    return bytes(header) + (count + 1).to_bytes(4) + moved + added + body


#: Red, green and blue of two colour spaces, as a profile's XYZ numbers (D50).
SPACES = {
    "sRGB": ((0.4361, 0.2225, 0.0139), (0.3851, 0.7169, 0.0971), (0.1431, 0.0606, 0.7141)),
    "Display P3": ((0.5151, 0.2412, -0.0011), (0.2920, 0.6922, 0.0419), (0.1571, 0.0666, 0.7841)),
}


def profile_of(space: str, version: int = 4) -> bytes:
    """A whole profile with a talkative name: in version 4 in two languages, in version 2 in ASCII."""
    primaries = (
        b"XYZ \0\0\0\0" + struct.pack(">3i", *(round(each * 65536) for each in primary))
        for primary in SPACES[space]
    )
    curve = b"curv\0\0\0\0" + struct.pack(">IH", 1, 563) + b"\0\0"
    tags = {
        b"desc": _name_of(version),
        b"cprt": b"text\0\0\0\0" + SECRET + b"\0\0\0",
        b"wtpt": tags_of(profile())[b"wtpt"],
        **dict(zip((b"rXYZ", b"gXYZ", b"bXYZ"), primaries, strict=True)),
        **dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve),
    }
    table, body = b"", b""
    for name, content in tags.items():
        table += struct.pack(">4sII", name, 132 + 12 * len(tags) + len(body), len(content))
        body += content + bytes(-len(content) % 4)
    header = bytearray(profile()[:128])
    header[:4] = (132 + len(table) + len(body)).to_bytes(4)
    header[8:10] = bytes((version, 0x20))
    return bytes(header) + len(tags).to_bytes(4) + table + body


def _name_of(version: int) -> bytes:
    if version == 2:
        return struct.pack(">4s4xI", b"desc", len(SECRET) + 1) + SECRET + b"\0" + bytes(78)
    text = SECRET.decode().encode("utf-16-be")
    entries = b"".join(
        struct.pack(">4sII", tag, len(text), 16 + 24 + n * len(text))
        for n, tag in enumerate((b"enUS", b"slSI"))
    )
    return struct.pack(">4s4xII", b"mluc", 2, 12) + entries + text + text


def tags_of(profile: bytes) -> dict[bytes, bytes]:
    count = int.from_bytes(profile[128:132])
    table = struct.iter_unpack(">4sII", profile[132 : 132 + 12 * count])
    return {name: profile[at : at + size] for name, at, size in table}


def exif(orientation: int) -> bytes:
    """EXIF with a place, an author and a serial number, as `save` takes it."""
    tags = Image.Exif()
    tags[0x0112] = orientation
    tags[0x013B] = SECRET.decode()
    tags[0xA431] = "serial 1234"
    tags.get_ifd(0x8825)[1] = "N"
    return tags.tobytes()


def segment(marker: int, body: bytes) -> bytes:
    return bytes((0xFF, marker)) + (len(body) + 2).to_bytes(2) + body


def jpeg_with(*segments: bytes, **options: Any) -> bytes:
    """A JPEG with these segments after the first one."""
    data = picture("JPEG", **options)
    after = 4 + int.from_bytes(data[4:6])
    return data[:after] + b"".join(segments) + data[after:]


def chunk(kind: bytes, body: bytes = b"") -> bytes:
    return len(body).to_bytes(4) + kind + body + zlib.crc32(kind + body).to_bytes(4)


def png_of(*chunks: bytes) -> bytes:
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def png_header(
    width: int = 4, height: int = 4, depth: int = 8, colour: int = 0, *, interlace: int = 0
) -> bytes:
    return chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlace))


def png_with(*chunks: bytes) -> bytes:
    """A PNG with these chunks after its header."""
    data = picture("PNG")
    return data[:33] + b"".join(chunks) + data[33:]


def riff(*chunks: bytes) -> bytes:
    body = b"WEBP" + b"".join(chunks)
    return b"RIFF" + len(body).to_bytes(4, "little") + body


def riff_chunk(kind: bytes, body: bytes) -> bytes:
    return kind + len(body).to_bytes(4, "little") + body + bytes(len(body) % 2)


def webp_extended(width: int = 48, height: int = 32, flags: int = 0) -> bytes:
    sides = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    return riff_chunk(b"VP8X", bytes((flags, 0, 0, 0)) + sides)


def gif_with(*blocks: bytes, **options: Any) -> bytes:
    """A still GIF with these blocks before its picture."""
    data = picture("GIF", **options)
    start = 13 + (3 << (data[10] & 7) + 1)
    return data[:start] + b"".join(blocks) + data[start:]


def gif_extension(label: int, *blocks: bytes) -> bytes:
    packed = b"".join(bytes((len(block),)) + block for block in blocks)
    return bytes((0x21, label)) + packed + b"\0"
