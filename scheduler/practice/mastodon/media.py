"""Media uploads, https://docs.joinmastodon.org/methods/media/."""

import io
import warnings
from typing import Final

from PIL import Image, UnidentifiedImageError

from scheduler.practice.mastodon import entities
from scheduler.practice.mastodon.refusals import fields, invalid, not_found, require, unprocessable
from scheduler.practice.model import Account, Effect, Kind, Media, Platform
from scheduler.practice.wire import Answer, Call, File, Form, json_answer
from scheduler.practice.world import World

_NS_PER_MS: Final = 1_000_000
_VIDEO_PROCESSING_MS: Final = 1000
_FORMATS: Final = {
    "JPEG": "image/jpeg",
    "PNG": "image/png",
    "GIF": "image/gif",
    "WEBP": "image/webp",
}


class MediaUploads:
    def __init__(self, world: World) -> None:
        self._world = world
        self._book = world.books[Platform.MASTODON]

    def upload(self, call: Call) -> Answer:
        """Answer 200 with a ready file, or 202 without a url while it is processed."""
        account = require(call.account)
        form = fields(call)
        alt = _alt(form)
        file = form.files.get("file")
        if file is None or not file.data:
            raise invalid("File can't be blank")
        mime, width, height = _examined(file)
        delay_ms = call.fault.processing_ms
        if delay_ms is None:
            delay_ms = _VIDEO_PROCESSING_MS if mime in entities.VIDEO_TYPES else 0
        effect = self._world.commit(
            Effect(
                platform=Platform.MASTODON,
                kind=Kind.MEDIA,
                at_ns=call.received_ns,
                account=account.handle,
                remote_id=self._world.next_id(Platform.MASTODON),
                request_sha256=call.sha256,
                media=(self._world.keep_media(file.data),),
                alt=(alt,),
                extra={
                    "mime": mime,
                    "length": len(file.data),
                    "width": width,
                    "height": height,
                    "ready_ns": self._world.now_ns() + delay_ms * _NS_PER_MS if delay_ms else 0,
                },
            )
        )
        media = self._book.media[account.id, effect.remote_id]
        return self._answer(call, media, unready=202)

    def get(self, call: Call) -> Answer:
        return self._answer(call, self._own(call), unready=206)

    def edit(self, call: Call) -> Answer:
        """Change the description of a file that is not posted yet."""
        media = self._unattached(call)
        alt = _alt(fields(call))
        self._commit(call, Kind.MEDIA_EDIT, media, alt)
        return self._answer(call, self._own(call), unready=206)

    def delete(self, call: Call) -> Answer:
        self._commit(call, Kind.MEDIA_DELETE, self._unattached(call), "")
        return json_answer({})

    def _commit(self, call: Call, kind: Kind, media: Media, alt: str) -> None:
        self._world.commit(
            Effect(
                platform=Platform.MASTODON,
                kind=kind,
                at_ns=call.received_ns,
                account=require(call.account).handle,
                remote_id=media.id,
                request_sha256=call.sha256,
                media=(media.sha256,),
                alt=(alt,),
            )
        )

    def _own(self, call: Call) -> Media:
        account: Account = require(call.account)
        media = self._book.media.get((account.id, call.params["id"]))
        if media is None:
            raise not_found()
        return media

    def _unattached(self, call: Call) -> Media:
        media = self._own(call)
        if (media.account_id, media.id) in self._book.attached:
            raise not_found()
        return media

    def _answer(self, call: Call, media: Media, *, unready: int) -> Answer:
        is_ready = media.ready_ns <= self._world.now_ns()
        entity = entities.media(media, call.origin, is_ready=is_ready)
        return json_answer(entity, status=200 if is_ready else unready)


def _alt(form: Form) -> str:
    alt = form.get("description")
    if len(alt) > entities.MAX_ALT:
        raise invalid(f"Description is too long (maximum is {entities.MAX_ALT} characters)")
    return alt


def _examined(file: File) -> tuple[str, int, int]:
    """MIME type by content, width and height (0 for video)."""
    if file.data[4:8] == b"ftyp":
        if len(file.data) > entities.VIDEO_BYTES:
            raise invalid("File must be less than 99 MB")
        return "video/mp4", 0, 0
    if len(file.data) > entities.IMAGE_BYTES:
        raise invalid("File must be less than 16 MB")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(file.data), formats=tuple(_FORMATS)) as image:
                mime, (width, height) = _FORMATS[str(image.format)], image.size
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        raise invalid("File content type is invalid", "File is invalid") from None
    if width * height > entities.IMAGE_PIXELS:
        raise unprocessable(f"{width}x{height} images are not supported")
    return mime, width, height
