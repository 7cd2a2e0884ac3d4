"""Pictures: cleaned and proved clean before they are stored, known by their bytes."""

import asyncio

from scheduler.audit.actions import Action
from scheduler.db import missions
from scheduler.db.tables import Media
from scheduler.db.uow import UnitOfWork, UnitOfWorkFactory
from scheduler.domain.people import Actor, Permission
from scheduler.errors import NotFoundError
from scheduler.services.kit import Kit


async def upload(
    open_uow: UnitOfWorkFactory,
    kit: Kit,
    actor: Actor,
    mission_code: str,
    data: bytes,
    declared_mime: str,
) -> Media:
    """Decode, clean and store a picture; the same bytes twice are one picture."""
    async with open_uow.read() as uow:
        mission = await missions.get_by_code(uow, actor, mission_code)
        actor.require(Permission.WRITE, mission.path, now=uow.now)
    clean = await kit.intake.clean(data, declared_mime)
    await asyncio.to_thread(kit.media.put, clean.data)
    async with open_uow() as uow:
        found = await uow.session.get(Media, clean.sha256)
        if found is not None:
            return found
        media = Media(
            sha256=clean.sha256,
            mission_id=mission.id,
            mime=clean.mime,
            length=len(clean.data),
            width=clean.width,
            height=clean.height,
            uploaded_by=actor.person_id,
            created_at=uow.now,
        )
        uow.session.add(media)
        uow.record(
            Action.MEDIA_ADD,
            {"t": "media", "id": clean.sha256},
            actor=actor,
            detail={"mime": clean.mime, "length": len(clean.data), "mission": str(mission.id)},
        )
    return media


async def get(uow: UnitOfWork, actor: Actor, sha256: str) -> Media:
    """A picture, for whoever may read anything here and can name it by its bytes.

    Missions share pictures: the same bytes are one picture, and only who has seen them knows their hash.
    """
    media = await uow.session.get(Media, sha256)
    if media is None or not actor.paths(Permission.READ):
        raise NotFoundError(f"no picture {sha256}")
    return media
