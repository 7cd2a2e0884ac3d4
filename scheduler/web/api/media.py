"""Pictures: sent as they are, stored clean, known by the SHA-256 of the clean bytes."""

import asyncio
from typing import Final

from scheduler.errors import NotFoundError
from scheduler.media.errors import (
    MediaBombError,
    MediaCorruptError,
    MediaDecoderError,
    MediaMetadataLeftError,
    MediaMislabelledError,
    MediaMissingError,
    MediaTooLargeError,
    MediaTypeUnsupportedError,
    MediaUnreadableError,
    StorageFullError,
)
from scheduler.media.model import ImageType, MediaLimits
from scheduler.services import media
from scheduler.web.api.fields import Code
from scheduler.web.parsing import Input
from scheduler.web.routing import Answer, Errand, Raw, Route, Unit, get, post


class UploadQuery(Input):
    mission: Code


class MediaAnswer(Answer):
    sha256: str
    mime: str
    length: int
    width: int
    height: int


async def upload_media(errand: Errand, query: UploadQuery) -> MediaAnswer:
    """Decode a picture, remove what is not the picture, and store it; the same picture twice is one."""
    app = errand.app
    stored = await media.upload(
        app.open_uow, app.kit, errand.actor, query.mission, errand.data, errand.content_type
    )
    return MediaAnswer(
        sha256=stored.sha256,
        mime=stored.mime,
        length=stored.length,
        width=stored.width,
        height=stored.height,
    )


async def download_media(errand: Errand) -> Raw:
    """The clean bytes, as an attachment."""
    app, sha256 = errand.app, errand.sha256()
    async with app.open_uow.read() as uow:
        found = await media.get(uow, errand.actor, sha256)
    data = await asyncio.to_thread(app.kit.media.read, sha256)
    name = f'attachment; filename="{sha256[:16]}.{found.mime.partition("/")[2]}"'
    return Raw(data=data, content_type=found.mime, headers={"Content-Disposition": name})


ROUTES: Final[tuple[Route, ...]] = (
    post(
        "/media",
        upload_media,
        "write, at the mission",
        unit=Unit.OWN,
        status=201,
        raw_types=tuple(ImageType),
        max_bytes=MediaLimits().max_bytes,
        errors=(
            NotFoundError,
            MediaUnreadableError,
            MediaMislabelledError,
            MediaTooLargeError,
            MediaTypeUnsupportedError,
            MediaBombError,
            MediaMetadataLeftError,
            MediaDecoderError,
            StorageFullError,
        ),
    ),
    get(
        "/media/{sha256}",
        download_media,
        "to see the mission it belongs to",
        unit=Unit.OWN,
        answer_types=tuple(ImageType),
        errors=(NotFoundError, MediaMissingError, MediaCorruptError),
    ),
)
