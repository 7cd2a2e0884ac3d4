"""A picture comes in, the same picture without its history goes out, or it is refused.

The structure is filtered first and without loss; then the result is decoded whole and looked at again.
"""

import hashlib
import warnings
from io import BytesIO
from typing import Final

from PIL import GifImagePlugin, Image, JpegImagePlugin, PngImagePlugin, WebPImagePlugin

from scheduler.errors import InvalidError
from scheduler.media import exif, gif, jpeg, png, webp
from scheduler.media.errors import (
    MediaBombError,
    MediaMetadataLeftError,
    MediaMislabelledError,
    MediaTypeUnsupportedError,
    MediaUnreadableError,
)
from scheduler.media.model import CleanImage, ImageType, MediaLimits, Strip, Stripped

#: Named here so that they are loaded before the sandbox forbids opening files.
DECODERS: Final = {
    ImageType.JPEG: JpegImagePlugin.JpegImageFile,
    ImageType.PNG: PngImagePlugin.PngImageFile,
    ImageType.WEBP: WebPImagePlugin.WebPImageFile,
    ImageType.GIF: GifImagePlugin.GifImageFile,
}
_STRIPS: Final[dict[ImageType, Strip]] = {
    ImageType.JPEG: jpeg.strip,
    ImageType.PNG: png.strip,
    ImageType.WEBP: webp.strip,
    ImageType.GIF: gif.strip,
}
_SPELLINGS: Final = {"image/jpg": ImageType.JPEG, "image/pjpeg": ImageType.JPEG}
#: What the decoder may still report about a clean file; a comment, a text, XMP or IPTC has another key.
_HARMLESS: Final = frozenset(
    (
        "jfif", "jfif_version", "jfif_unit", "jfif_density", "dpi", "aspect", "interlace",
        "adobe", "adobe_transform", "progressive", "progression", "icc_profile", "exif",
        "gamma", "srgb", "chromaticity", "transparency", "background",
        "loop", "timestamp", "duration", "version", "extension",
    )
)  # fmt: skip
#: Marks of metadata and of other formats, wherever they stand; each is too long to occur by chance.
_TRACES: Final = (
    b"Exif\0\0", b"http://ns.adobe.com/", b"<x:xmpmeta", b"<?xpacket", b"Photoshop 3.0", b"GPSLatitude",
    b"%PDF-1.", b"<script", b"<html", b"<!DOCTYPE", b"<?php", b"META-INF/",
)  # fmt: skip


def inspect_and_clean(
    data: bytes, limits: MediaLimits, *, declared_mime: str | None = None
) -> CleanImage:
    """Decide the type by decoding, remove what is not the picture, and prove it gone.

    Call it in the sandbox (`MediaIntake`): decoders have been broken into before.

    Raises:
        InvalidError: one of its subclasses in `scheduler.media.errors`.
    """
    limits.check_length(len(data))
    kind = _type_of(data)
    if declared_mime is not None and _declared(declared_mime) != kind:
        raise MediaMislabelledError(f"the file is {kind}, but was declared as {declared_mime!r}")
    stripped = _STRIPS[kind](data, limits)
    prove_clean(stripped, kind, limits)
    turned = stripped.orientation in exif.SIDEWAYS
    return CleanImage(
        data=stripped.data,
        sha256=hashlib.sha256(stripped.data).hexdigest(),
        mime=kind.value,
        width=stripped.height if turned else stripped.width,
        height=stripped.width if turned else stripped.height,
    )


def _type_of(data: bytes) -> ImageType:
    """Guess by the signature; the guess holds only when the structure and the decoder agree."""
    if not data:
        raise MediaUnreadableError("the file is empty")
    if data.startswith(jpeg.SIGNATURE):
        return ImageType.JPEG
    if data.startswith(png.SIGNATURE):
        return ImageType.PNG
    if data.startswith(webp.SIGNATURE) and data[8:12] == b"WEBP":
        return ImageType.WEBP
    if data.startswith(gif.SIGNATURES):
        return ImageType.GIF
    raise MediaTypeUnsupportedError("only JPEG, PNG, WebP and GIF pictures are accepted")


def _declared(mime: str) -> str:
    essence = mime.partition(";")[0].strip().lower()
    return _SPELLINGS.get(essence, essence)


def prove_clean(stripped: Stripped, kind: ImageType, limits: MediaLimits) -> None:
    """Look again with other eyes: the decoder's, a second pass over the structure, and a search of the bytes.

    Raises:
        MediaMetadataLeftError: one of them sees more than a picture.
        MediaUnreadableError: it does not decode, or not to what its structure says.
        MediaBombError: it needs too much memory to decode.
    """
    _decode(stripped, kind)
    if _STRIPS[kind](stripped.data, limits) != stripped:
        raise MediaMetadataLeftError("cleaning the picture twice gives something else")
    _refuse_traces(stripped)


def _decode(stripped: Stripped, kind: ImageType) -> None:
    """Decode every frame of the cleaned file."""
    try:
        with (
            warnings.catch_warnings(action="error"),
            Image.open(BytesIO(stripped.data), formats=(DECODERS[kind].format or "",)) as image,
        ):
            _look(image, stripped)
    except InvalidError:
        raise
    except (MemoryError, Image.DecompressionBombError, Image.DecompressionBombWarning) as exc:
        raise MediaBombError("the picture needs too much memory to decode") from exc
    except Exception as exc:  # on broken pictures the decoder raises nearly anything
        if _is_ours(exc):
            raise
        raise MediaUnreadableError("the picture does not decode; save it anew") from exc


def _is_ours(exc: Exception) -> bool:
    """Whether the decoder lacks a file it should have loaded, which says nothing of the picture."""
    return isinstance(exc, ImportError) or (isinstance(exc, OSError) and exc.errno is not None)


def _look(image: Image.Image, stripped: Stripped) -> None:
    frames = getattr(image, "n_frames", 1)
    if image.size != (stripped.width, stripped.height) or frames != stripped.frames:
        raise MediaUnreadableError("the picture's parts contradict each other")
    for frame in range(frames):
        image.seek(frame)
        image.load()
        if strange := sorted(str(key) for key in image.info if key not in _HARMLESS):
            raise MediaMetadataLeftError(f"the picture still carries {', '.join(strange)}")
    upright = stripped.orientation == exif.UPRIGHT
    expected = {} if upright else {exif.ORIENTATION_TAG: stripped.orientation}
    if dict(image.getexif()) != expected:
        raise MediaMetadataLeftError("the picture still carries EXIF data")


def _refuse_traces(stripped: Stripped) -> None:
    own = b"Exif\0\0" + exif.orientation_only(stripped.orientation)
    rest = stripped.data.replace(own, b"", 1)
    for trace in _TRACES:
        if trace in rest:
            raise MediaMetadataLeftError(f"the picture has {trace!r} among its pixels")
