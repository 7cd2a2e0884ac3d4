"""Alerts in a ministry: made, hurried and counted."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

from pydantic import SecretStr
from sqlalchemy import select, update
from sqlmodel import col

from adapters.egress import EgressPolicy
from adapters.http import PlatformHttp
from scheduler.alerting.dispatcher import Dispatcher, deliver
from scheduler.alerting.mail import Mail
from scheduler.alerting.ways import Channel
from scheduler.alerting.webhook import Webhook
from scheduler.audit.actions import Action
from scheduler.db import alerts as rows
from scheduler.db.tables import OutboundEvent, OutboundSend
from scheduler.db.uow import UnitOfWork
from scheduler.domain.alert_kinds import AlertKind
from scheduler.domain.alerts import Target
from scheduler.ids import new_id
from scheduler.services import alerts, holds, publishing
from scheduler.services.release import Obstacle
from tests.support.receivers import SECRET, MailServer, Receiver
from tests.support.world import World

DUTY = ("duty@karvenia.example", "night@karvenia.example")


@asynccontextmanager
async def webhook_to(
    world: World, receiver: Receiver, *, timeout_s: float = 15
) -> AsyncIterator[Webhook]:
    settings = world.app.settings.model_copy(
        update={
            "alert_webhook_url": SecretStr(receiver.url),
            "alert_webhook_secret": SecretStr(SECRET),
        }
    )
    allowed = EgressPolicy(allow=frozenset({("127.0.0.1", int(receiver.pair.split(":")[1]))}))
    async with PlatformHttp(allowed) as http:
        webhook = Webhook.from_settings(settings, http)
        assert webhook is not None
        yield replace(webhook, timeout=timedelta(seconds=timeout_s))


def mail_to(world: World, url: str, *, timeout_s: float = 15) -> Mail:
    settings = world.app.settings.model_copy(
        update={
            "smtp_url": SecretStr(url),
            "alert_from": "chancery@karvenia.example",
            "alert_to": DUTY,
        }
    )
    mail = Mail.from_settings(settings)
    assert mail is not None
    return replace(mail, timeout_s=timeout_s)


def mail_through(world: World, server: MailServer, **options: Any) -> Mail:
    return mail_to(world, f"smtp://127.0.0.1:{server.port}", **options)


async def hold(world: World, *, title: str = "Forum", code: str = "test", **more: object) -> None:
    """An approved post whose delivery is held: one alert."""
    post = await world.scheduled(title=title, **more)
    async with world.app.open_uow() as uow:
        [claimed] = await publishing.claim(uow, worker="test", ahead=timedelta(seconds=3), limit=1)
    async with world.app.open_uow() as uow:
        delivery, _ = await holds.locked(uow, claimed)
        assert delivery.post_id == post.id
        await holds.hold(uow, delivery, Obstacle(code=code, message="by a test"))


async def pause_and_resume(world: World, count: int) -> None:
    """So many alerts of one account."""
    account = {"t": "account", "id": str(world.accounts["hq.mastodon"])}
    async with world.app.open_uow() as uow:
        for number in range(count):
            uow.record(Action.ACCOUNT_PAUSE, account, detail={"reason": f"test {number}"})


async def events(world: World) -> list[OutboundEvent]:
    async with world.app.open_uow.read() as uow:
        query = select(OutboundEvent).order_by(col(OutboundEvent.id))
        return list(await uow.session.scalars(query))


async def kinds(world: World) -> list[str]:
    return [each.kind for each in await events(world)]


async def sends(world: World) -> list[OutboundSend]:
    async with world.app.open_uow.read() as uow:
        query = select(OutboundSend).order_by(col(OutboundSend.event_id), col(OutboundSend.target))
        return list(await uow.session.scalars(query))


async def send_once(world: World, *channels: Channel) -> int:
    """One round of each channel; how many messages were tried."""
    tried = 0
    for channel in channels:
        taken = await alerts.take(world.app.open_uow, channel.way, limit=50)
        await asyncio.gather(*(deliver(world.app.open_uow, channel, each) for each in taken))
        tried += len(taken)
    return tried


async def hurry(world: World, **values: object) -> list[timedelta]:
    """Let every pause be over, or set other values; answers how long the pauses still were."""
    async with world.app.open_uow() as uow:
        pending = col(OutboundSend.state) == "pending"
        found = await uow.session.scalars(select(OutboundSend).where(pending))
        left = [each.wake_at - uow.now for each in found if each.wake_at is not None]
        past = uow.now - timedelta(seconds=1)
        await uow.session.execute(
            update(OutboundSend).where(pending).values(**{"wake_at": past, **values})
        )
    return left


async def age(world: World, by: timedelta) -> None:
    """As if everything had been written so much earlier."""
    async with world.app.open_uow() as uow:
        for event in await uow.session.scalars(select(OutboundEvent)):
            event.created_at -= by
        for send in await uow.session.scalars(select(OutboundSend)):
            send.created_at -= by


async def give_sign(world: World, worker: str, *, ago: timedelta = timedelta(0)) -> Any:
    sign_id = new_id()
    async with world.app.open_uow() as uow:
        uow.now -= ago
        await rows.sign(uow, sign_id, worker)
    return sign_id


async def renew_sign(world: World, sign_id: Any, *, ago: timedelta) -> None:
    async with world.app.open_uow() as uow:
        uow.now -= ago
        await rows.sign(uow, sign_id, "")


@asynccontextmanager
async def dispatching(
    world: World, channels: Sequence[Channel], **options: Any
) -> AsyncIterator[None]:
    stopping = asyncio.Event()
    dispatcher = Dispatcher(open_uow=world.app.open_uow, channels=channels, **options)
    async with asyncio.TaskGroup() as group:
        group.create_task(dispatcher.run(stopping))
        try:
            yield
        finally:
            stopping.set()


async def told(uow: UnitOfWork, kind: AlertKind) -> list[rows.Told]:
    return [
        each
        for each in await rows.find_untold(uow, Target.WEBHOOK, limit=99)
        if each.event.kind == kind
    ]
