"""Rows that are only read, and one statement for many, on both databases."""

import pytest
from sqlmodel import col

from scheduler.db import bulk, deliveries, moves, rows
from scheduler.db.bulk import Update
from scheduler.db.posts import StaleStateError
from scheduler.db.tables import Account, Delivery
from scheduler.domain.delivery_flow import DeliveryMove
from scheduler.ids import new_id
from tests.integration.services_fixtures import (
    founder_fixture,  # noqa: F401 - fixtures go by name
    shared_fixture,  # noqa: F401 - fixtures go by name
)
from tests.support.world import World

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_a_row_says_what_the_object_says_and_cannot_be_changed(shared: World) -> None:
    async with shared.app.open_uow.read() as uow:
        known = shared.accounts["hq.mastodon"]
        [row] = await rows.find(uow, Account, rows.among(col(Account.id), [known, new_id()]))
        account = await uow.session.get_one(Account, known)
        assert {name: getattr(row, name) for name in Account.model_fields} == account.model_dump()
        assert await rows.find(uow, Account, rows.among(col(Account.id), [])) == []
        with pytest.raises(AttributeError):
            row.state = "paused"


async def test_an_update_answers_the_rows_that_were_not_as_they_had_to_be(shared: World) -> None:
    [delivery] = await shared.deliveries(await shared.scheduled())
    right = {"state": delivery.state, "fence": delivery.fence}
    there, away = (
        Update(id=key, only_if=right, values={"worker": "w"}) for key in (delivery.id, new_id())
    )
    later = Update(id=delivery.id, only_if={"fence": delivery.fence + 1}, values={"worker": "x"})
    async with shared.app.open_uow() as uow:
        assert await bulk.update(uow.session, Delivery, [there, away, later]) == [away, later]
    async with shared.app.open_uow.read() as uow:
        assert (await uow.session.get_one(Delivery, delivery.id)).worker == "w"


async def test_a_move_of_a_row_that_has_passed_on_is_stale(shared: World) -> None:
    [delivery] = await shared.deliveries(await shared.scheduled())
    with pytest.raises(StaleStateError, match="other hands"):
        async with shared.app.open_uow() as uow:
            held = await deliveries.lock_all(uow, {delivery.id: delivery.fence})
            other = Update(id=delivery.id, only_if={}, values={"fence": delivery.fence + 1})
            await bulk.update(uow.session, Delivery, [other])
            hold = moves.plan(uow, held[delivery.id], DeliveryMove.HOLD, wake_at=None)
            await moves.write(uow, [hold])
    async with shared.app.open_uow.read() as uow:
        assert (await uow.session.get_one(Delivery, delivery.id)).state == delivery.state


async def test_a_row_is_not_changed_as_an_object_and_as_a_row_at_once(shared: World) -> None:
    [delivery] = await shared.deliveries(await shared.scheduled())
    with pytest.raises(RuntimeError, match="as an object and as a row"):
        async with shared.app.open_uow() as uow:
            [row] = await rows.find(uow, Delivery, col(Delivery.id) == delivery.id)
            held = await deliveries.lock(uow, delivery.id, delivery.fence)
            await deliveries.move(uow, held, DeliveryMove.HOLD, wake_at=None, attempts=1)
            uow.note(Delivery, row, {"attempts": 2})
