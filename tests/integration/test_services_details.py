"""Details that were wrong once: each of these has failed."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import inspect, text, update
from sqlalchemy.exc import IntegrityError
from sqlmodel import col

from scheduler.db.tables import Approval, Base
from scheduler.db.uow import DatabaseUnavailableError
from scheduler.domain.people import Role
from scheduler.services import (
    accounts,
    deliveries,
    media,
    people,
    tokens,
)
from scheduler.services.deliveries import Resolution
from scheduler.services.people import NewGrant
from scheduler.services.writing import When
from tests.integration.services_fixtures import (  # noqa: F401
    founder_fixture,
    own_fixture,
    recording,
    refused,
    shared_fixture,
)
from tests.integration.test_unit_of_work import _copy
from tests.support.pictures import picture
from tests.support.world import World

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_checks_have_the_names_of_the_tables(shared: World) -> None:
    said = {
        str(c.name)
        for t in Base.metadata.sorted_tables
        for c in t.constraints
        if str(c.name).startswith("ck_")
    }

    def read(connection: Any) -> Any:
        seen = inspect(connection)
        return {
            str(c["name"]) for t in seen.get_table_names() for c in seen.get_check_constraints(t)
        }

    async with shared.app.open_uow.engine.connect() as connection:
        assert await connection.run_sync(read) == said


async def test_no_column_takes_a_value_from_a_sequence_that_the_tables_do_not_say(
    shared: World,
) -> None:
    def read(connection: Any) -> Any:
        return [
            c["default"] for c in inspect(connection).get_columns("audit_head") if c["name"] == "id"
        ]

    async with shared.app.open_uow.engine.connect() as connection:
        assert await connection.run_sync(read) == [None]


async def test_a_reader_is_told_that_the_database_is_away(shared: World, tmp_path: Path) -> None:
    away = _copy(shared.app.open_uow, f"postgresql+asyncpg://chancery@/chancery?host={tmp_path}")
    with pytest.raises(DatabaseUnavailableError):
        async with away.read():
            pytest.fail("nobody is there")
    await away.engine.dispose()


async def test_a_database_that_was_dropped_is_unavailable(shared: World) -> None:
    url = shared.app.open_uow.engine.url
    if url.get_backend_name() == "sqlite":
        return
    away = _copy(
        shared.app.open_uow, url.set(database="gone").render_as_string(hide_password=False)
    )
    with pytest.raises(DatabaseUnavailableError):
        async with away():
            pytest.fail("nobody is there")
    await away.engine.dispose()


async def test_an_approval_is_not_handed_to_the_author_afterwards(shared: World) -> None:
    post = await shared.scheduled(when=When(local="2090-06-01T09:00"))
    with pytest.raises(IntegrityError, match="approval_by_editor"):
        async with shared.app.open_uow() as uow:
            await uow.session.execute(
                update(Approval)
                .where(col(Approval.post_id) == post.id)
                .values(person_id=post.author_id)
            )


async def test_only_a_held_or_refused_delivery_is_resolved(shared: World) -> None:
    post = await shared.draft()
    [delivery] = await shared.deliveries(post)
    async with refused(shared, "move_not_allowed"), shared.as_("zorc") as (uow, actor):
        await deliveries.resolve(
            uow, actor, delivery.id, reason="x", resolution=Resolution.CANCELLED
        )


async def test_an_unreadable_payload_is_changed_content(shared: World) -> None:
    post = await shared.submit(await shared.draft())
    async with shared.app.open_uow() as uow:
        if uow.session.get_bind().dialect.name == "sqlite":
            await uow.session.execute(
                text("UPDATE delivery SET payload = '[]' WHERE post_id = :id"), {"id": post.id.hex}
            )
        else:
            await uow.session.execute(
                text("UPDATE post_text SET segments = '[1.5]' WHERE post_id = :id"), {"id": post.id}
            )
    async with refused(shared, "content_changed"):
        await shared.approve(post)


async def test_a_picture_of_two_missions_is_seen_by_both(shared: World) -> None:
    data = picture("PNG", compress_level=1)
    for who, mission in (("hocevar", "krv.hq"), ("olena", "krv.kyi")):
        actor = await shared.actor(who)
        found = await media.upload(
            shared.app.open_uow, shared.app.kit, actor, mission, data, "image/png"
        )
        async with shared.app.open_uow.read() as uow:
            await media.get(uow, actor, found.sha256)


async def test_a_zone_that_does_not_exist_is_refused_without_a_time_too(shared: World) -> None:
    async with refused(shared, "time_zone_unknown"):
        await shared.draft(when=When(local=None, zone="Mars/Olympus"))


async def test_a_post_for_a_removed_account_is_not_submitted(own: World) -> None:
    post = await own.draft()
    async with own.as_("bizjak") as (uow, actor):
        await accounts.remove(uow, actor, own.accounts["hq.mastodon"], reason="closed")
    async with refused(own, "account_unknown"):
        await own.submit(post)


async def test_a_grant_that_ends_before_it_begins_is_refused(shared: World) -> None:
    async with refused(shared, "grant_dates_invalid"), shared.as_("bizjak") as (uow, actor):
        await people.propose_grant(
            uow,
            actor,
            NewGrant(
                person="hocevar",
                mission="krv.hq",
                role=Role.OFFICER,
                not_after=uow.now - timedelta(days=1),
            ),
        )


async def test_without_a_token_there_is_nothing_to_log_out_of(shared: World) -> None:
    async with refused(shared, "token_rejected"), shared.as_("hocevar") as (uow, actor):
        await tokens.log_out(uow, actor)


async def test_a_deactivated_person_is_not_enrolled(shared: World) -> None:
    async with shared.as_("bizjak") as (uow, actor):
        await people.add_person(uow, actor, "gone", "Gone", ())
        await people.deactivate_person(uow, actor, "gone")
    async with refused(shared, "person_inactive"), shared.as_("bizjak") as (uow, actor):
        await people.enrol_person(uow, actor, "gone")
