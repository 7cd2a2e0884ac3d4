"""What a picture may cost, and what is known of a clean one."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from scheduler.media.errors import MediaTooLargeError, MediaUnreadableError


class ImageType(StrEnum):
    """The value is the media type."""

    JPEG = "image/jpeg"
    PNG = "image/png"
    WEBP = "image/webp"
    GIF = "image/gif"


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaLimits:
    max_bytes: int = 20 * 1024 * 1024
    max_side: int = 16_383  #: what WebP can hold; more helps no platform
    max_pixels: int = 40_000_000
    max_frames: int = 350
    max_total_pixels: int = 300_000_000  #: width x height x frames

    def check_length(self, length: int) -> None:
        """Refuse a file by its length in bytes.

        Raises:
            MediaTooLargeError: longer than allowed.
        """
        if length > self.max_bytes:
            raise MediaTooLargeError(
                f"the file has {length} bytes, at most {self.max_bytes} are allowed; make it smaller",
                found=length,
                allowed=self.max_bytes,
            )

    def check_size(self, width: int, height: int, frames: int = 1) -> None:
        """Refuse a picture by what its headers say, before anything is decoded.

        Raises:
            MediaUnreadableError: a side is zero, or there is no frame.
            MediaTooLargeError: over a limit; the message names it.
        """
        if 0 in {width, height, frames}:
            raise MediaUnreadableError("the picture is empty")
        for found, allowed, what in (
            (max(width, height), self.max_side, "pixels on the longer side"),
            (width * height, self.max_pixels, "pixels"),
            (frames, self.max_frames, "frames"),
            (width * height * frames, self.max_total_pixels, "pixels over all frames"),
        ):
            if found > allowed:
                raise MediaTooLargeError(
                    f"the picture has {found} {what}, at most {allowed} are allowed; make it smaller",
                    found=found,
                    allowed=allowed,
                )


@dataclass(frozen=True, slots=True, kw_only=True)
class Stripped:
    """The same pixels without metadata, as the file's own structure says; not decoded yet."""

    data: bytes
    width: int  #: as stored, before the orientation is applied
    height: int
    frames: int = 1
    orientation: int = 1  #: EXIF 0x0112, 1 to 8


Strip = Callable[[bytes, MediaLimits], Stripped]


@dataclass(frozen=True, slots=True, kw_only=True)
class CleanImage:
    data: bytes
    sha256: str  #: hexadecimal, of `data`
    mime: str
    width: int  #: as people see it, with the orientation applied
    height: int
