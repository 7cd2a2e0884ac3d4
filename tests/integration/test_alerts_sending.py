"""Alerts against a real receiver that fails, stalls and repeats, and a real SMTP server; never in the way of publishing."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import delete, update
from sqlmodel import col

from adapters.egress import EgressPolicy
from adapters.http import PlatformHttp
from scheduler.alerting.errors import NotArrivedError
from scheduler.db.engine import build_engine
from scheduler.db.tables import Delivery
from scheduler.db.uow import UnitOfWorkFactory
from scheduler.services import alerts
from tests.integration.alert_fixtures import (
    DUTY,
    age,
    dispatching,
    events,
    hold,
    hurry,
    mail_through,
    mail_to,
    pause_and_resume,
    send_once,
    sends,
    webhook_to,
)
from tests.integration.fault_fixtures import until
from tests.integration.services_fixtures import (
    founder_fixture,  # noqa: F401 - fixtures go by name
    own_fixture,  # noqa: F401 - fixtures go by name
)
from tests.support.receivers import STALL, Certificate, MailServer, Receiver
from tests.support.world import World

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_a_receiver_that_fails_and_stalls_gets_the_same_again_until_it_answers(
    own: World,
) -> None:
    await hold(own, title="Forum in Lipovec")
    async with (
        Receiver([500, STALL, 302, 404]) as receiver,
        webhook_to(own, receiver, timeout_s=0.5) as webhook,
    ):
        pauses = []
        for _ in range(5):
            assert await send_once(own, webhook) == 1
            assert await send_once(own, webhook) == 0  # not before its pause is over
            pauses += await hurry(own)
        assert await send_once(own, webhook) == 0
    [event] = await events(own)
    assert receiver.ids == [str(event.id)] * 5
    assert len({body for _, body in receiver.seen}) == 1
    assert receiver.bodies[0]["data"]["title"] == "Forum in Lipovec"
    expected = alerts.PAUSES[:4]
    assert all(
        0 < (want - got).total_seconds() < 3 for want, got in zip(expected, pauses, strict=True)
    )
    [send] = await sends(own)
    assert (send.state, send.attempts, send.error, send.wake_at) == ("sent", 5, "", None)


async def test_what_failed_says_why(own: World) -> None:
    await hold(own)
    async with (
        Receiver([500, STALL, 302]) as receiver,
        webhook_to(own, receiver, timeout_s=0.3) as webhook,
    ):
        said = []
        for _ in range(3):
            await send_once(own, webhook)
            said += [each.error for each in await sends(own)]
            await hurry(own)
    assert said == [
        "answered 500",
        "no_answer: no whole answer came back",
        "answered 302",
    ]


async def test_after_a_day_it_is_given_up_and_says_so(own: World) -> None:
    await hold(own)
    async with Receiver([500] * 20) as receiver, webhook_to(own, receiver) as webhook:
        await send_once(own, webhook)
        total = sum(alerts.PAUSES, timedelta(0))
        assert timedelta(hours=23) < total <= timedelta(hours=24)
        await age(own, timedelta(hours=24))
        await hurry(own)
        await send_once(own, webhook)
        await hurry(own)
        assert await send_once(own, webhook) == 0
    [send] = await sends(own)
    assert (send.state, send.attempts, send.error) == ("failed", 2, "answered 500")
    assert send.ended_at is not None


async def test_a_receiver_that_is_gone_is_left_alone_until_a_test_arrives_or_it_moves(
    own: World,
) -> None:
    await pause_and_resume(own, 3)
    async with Receiver([410]) as receiver, webhook_to(own, receiver) as webhook:
        taken = await alerts.take(own.app.open_uow, webhook.way, limit=1)
        with pytest.raises(NotArrivedError) as caught:
            await webhook.send(taken[0])
        assert caught.value.gone
        async with own.app.open_uow() as uow:
            await alerts.record_gone(uow, webhook.way, taken[0], error=str(caught.value))
        assert {each.state for each in await sends(own)} == {"gone"}
        await pause_and_resume(own, 1)
        assert await send_once(own, webhook) == 0
        moved = replace(webhook, way=replace(webhook.way, receiver="another"))
        assert len(await alerts.take(own.app.open_uow, moved.way, limit=9)) == 1
        await pause_and_resume(own, 1)
        await hurry(own, state="gone", receiver=webhook.way.receiver)
        async with own.app.open_uow() as uow:
            tests = await alerts.begin_test(uow, [webhook.way])
        test = tests[webhook.way.target]
        await webhook.send(test)
        async with own.app.open_uow() as uow:
            await alerts.end_test(uow, webhook.way, test, error="")
        assert await send_once(own, webhook) == 1


async def test_a_webhook_passes_the_egress_guard(own: World) -> None:
    await hold(own)
    async with Receiver() as receiver, webhook_to(own, receiver) as webhook:
        async with PlatformHttp(EgressPolicy()) as strict:
            await send_once(own, replace(webhook, http=strict))
        [send] = await sends(own)
        assert (send.state, receiver.seen) == ("pending", [])
        assert send.error.startswith("egress_refused")
        await hurry(own)
        await send_once(own, webhook)
        assert len(receiver.seen) == 1


async def test_two_dispatchers_at_once_send_each_alert_once(own: World) -> None:
    await pause_and_resume(own, 60)
    factory = own.app.open_uow
    other = UnitOfWorkFactory(
        engine=build_engine(own.app.settings.sqlalchemy_url),
        instance=factory.instance,
        service="other",
        version=factory.version,
        seals=factory.seals,
    )
    second = World(replace(own.app, open_uow=other), own.practice, own.accounts)
    async with Receiver() as receiver, webhook_to(own, receiver) as webhook, MailServer() as server:
        channels = (webhook, mail_through(own, server))

        async def arrived() -> bool:
            return {each.state for each in await sends(own)} == {"sent"} and len(
                await sends(own)
            ) == 120

        async with dispatching(own, channels), dispatching(second, channels):
            # one more round of packing for the mails beyond the first fifty
            await until(lambda: _packed(own, 110), "the first fifty in one mail")
            await age(own, alerts.GATHER)
            await until(arrived, "all sent")
    await other.engine.dispose()
    assert sorted(receiver.ids) == sorted(str(each.id) for each in await events(own))
    assert len(server.messages) == 2
    text = "".join(message.get_content() for message in server.messages)
    assert text.count("Alert id:") == 60


async def _packed(world: World, count: int) -> bool:
    return len(await sends(world)) >= count


async def test_whoever_lost_its_claim_writes_nothing(own: World) -> None:
    await hold(own)
    async with Receiver() as receiver, webhook_to(own, receiver) as webhook:
        [slow] = await alerts.take(own.app.open_uow, webhook.way, limit=9)
        assert await alerts.take(own.app.open_uow, webhook.way, limit=9) == []
        [left] = await hurry(own)
        assert timedelta(seconds=50) < left <= alerts.LEASE
        [quick] = await alerts.take(own.app.open_uow, webhook.way, limit=9)
        assert (quick.id, quick.body, quick.attempt) == (slow.id, slow.body, slow.attempt + 1)
        async with own.app.open_uow() as uow:
            await alerts.record_sent(uow, webhook.way, slow)
            await alerts.record_gone(uow, webhook.way, slow, error="gone")
        assert (await sends(own))[0].state == "pending"
        async with own.app.open_uow() as uow:
            await alerts.record_sent(uow, webhook.way, quick)
        async with own.app.open_uow() as uow:
            await alerts.record_failed(uow, webhook.way, quick, error="late news")
        assert [(each.state, each.error) for each in await sends(own)] == [("sent", "")]


async def test_a_dead_mail_server_and_a_stalled_receiver_hold_up_no_delivery(own: World) -> None:
    await pause_and_resume(own, 30)
    async with (
        Receiver([STALL] * 99) as receiver,
        webhook_to(own, receiver) as webhook,
        MailServer(plan=[STALL] * 9) as server,
    ):
        mail = mail_through(own, server, timeout_s=30)
        async with dispatching(own, (webhook, mail), sweep_s=0.2), own.working():
            await until(lambda: _stalled(receiver, 4), "the receiver stalls")
            posts = [await own.scheduled(title=f"{n}") for n in range(6)]
            lateness = []
            for post in posts:
                [delivery] = await own.settle(post, lambda each: each.state == "verified")
                assert delivery.sent_at is not None
                assert delivery.due_at is not None
                lateness.append((delivery.sent_at - delivery.due_at).total_seconds())
            assert len(receiver.seen) == 4  # still the same four, no more at once
            receiver.release()
    # one account publishes one after the other; all had left before the first time-out of an alert was over
    assert max(lateness) < 10, lateness


async def _stalled(receiver: Receiver, count: int) -> bool:
    return len(receiver.seen) >= count


async def test_a_shutdown_does_not_wait_for_a_stalled_receiver(own: World) -> None:
    await hold(own)
    async with Receiver([STALL]) as receiver, webhook_to(own, receiver) as webhook:
        async with asyncio.timeout(12), dispatching(own, (webhook,)):
            await until(lambda: _stalled(receiver, 1), "the receiver stalls")
        assert [each.state for each in await sends(own)] == ["pending"]
        await hurry(own)
        receiver.release()
        await send_once(own, webhook)
    assert len(set(receiver.ids)) == 1
    assert [each.state for each in await sends(own)] == ["sent"]


@pytest.mark.parametrize("scheme", ["smtp", "smtps"])
async def test_a_mail_goes_encrypted_and_signed_in(
    own: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scheme: str
) -> None:
    await hold(own)
    certificate = Certificate.make(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate.file))
    login = ("chancery", "p/:@ssword")
    async with MailServer(certificate, implicit=scheme == "smtps", login=login) as server:
        url = f"{scheme}://chancery:p%2F%3A%40ssword@127.0.0.1:{server.port}"
        await send_once(
            own, mail_to(own, url + {"smtp": "?starttls=required", "smtps": ""}[scheme])
        )
        assert [each.error for each in await sends(own)] == [""]
    assert server.encrypted == [True]
    assert server.envelopes == [("chancery@karvenia.example", list(DUTY))]
    assert len(server.messages) == 1


async def test_what_a_mail_says(own: World) -> None:
    await hold(own, title="Forum\nBcc: all@example.org", code="stopped")
    async with MailServer() as server:
        assert await send_once(own, mail_through(own, server)) == 1
    [message], [event] = server.messages, await events(own)
    assert message["Subject"] == "[Chancery] Held: “Forum Bcc: all@example.org” on hq.mastodon"
    assert message["Bcc"] is None
    assert message["Message-ID"] == f"<{event.id}.alert@karvenia.example>"
    assert message["Auto-Submitted"] == "auto-generated"
    assert message["To"] == ", ".join(DUTY)
    text = message.get_content().replace("\r\n", "\n")
    assert "Public:      no\n" in text
    assert "(stopped; by a test)" in text
    assert "Who may act: a supervisor of krv.hq\n" in text
    assert f"Next:        chancery delivery show {event.subject_id}\n" in text
    assert f"Page:        http://localhost:8700/api/v1/deliveries/{event.subject_id}\n" in text


async def test_a_repeated_mail_is_the_same_bytes(own: World) -> None:
    await hold(own)
    async with MailServer(plan=["451 not now", "250 taken"]) as server:
        mail = mail_through(own, server)
        await send_once(own, mail)
        [send] = await sends(own)
        assert (send.state, send.error) == ("pending", "the server refuses (451): not now")
        await hurry(own)
        await send_once(own, mail)
    assert len(server.raw) == 2
    assert len(set(server.raw)) == 1
    assert [each.state for each in await sends(own)] == ["sent"]


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("password", "the server refuses the sign-in (535)"),
        ("untrusted", "no trusted encryption: CERTIFICATE_VERIFY_FAILED"),
        ("no starttls", "the connection failed: SMTP STARTTLS extension not supported by server."),
        (
            "nobody",
            "the server refuses every recipient: duty@karvenia.example, night@karvenia.example",
        ),
        ("closed", "the connection failed: Error connecting to 127.0.0.1"),
        ("stalled", "the server does not answer in time"),
        ("refused", "the server refuses (554): go away"),
    ],
)
async def test_a_mail_that_does_not_go_says_why_and_never_falls_back(
    own: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str, said: str
) -> None:
    await hold(own)
    certificate = Certificate.make(tmp_path)
    if fault != "untrusted":
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate.file))
    server = MailServer(
        None if fault == "no starttls" else certificate,
        login=("chancery", "right") if fault == "password" else None,
        refuse=frozenset(DUTY) if fault == "nobody" else frozenset(),
        plan={"stalled": [STALL], "refused": ["554 go away"]}.get(fault, []),
    )
    async with server:
        port = server.port
        if fault == "closed":
            assert server._server is not None
            server._server.close()
        name = "chancery:wrong@" if fault == "password" else ""
        url = f"smtp://{name}127.0.0.1:{port}?starttls=required"
        await send_once(own, mail_to(own, url, timeout_s=1.5))
        [send] = await sends(own)
    assert send.error.startswith(said)
    assert send.state == "pending"
    assert "wrong" not in send.error
    assert fault in {"refused", "stalled"} or server.messages == []


async def test_a_recipient_who_is_refused_does_not_keep_it_from_the_others(own: World) -> None:
    await hold(own)
    async with MailServer(refuse=frozenset({DUTY[0]})) as server:
        await send_once(own, mail_through(own, server))
    [send] = await sends(own)
    assert (send.state, send.error) == ("sent", f"refused for {DUTY[0]}")
    assert server.envelopes[0][1] == [DUTY[1]]


async def test_the_first_mail_goes_at_once_and_the_next_ones_gather(own: World) -> None:
    await pause_and_resume(own, 1)
    async with MailServer() as server:
        mail = mail_through(own, server)
        assert await send_once(own, mail) == 1
        await pause_and_resume(own, 5)
        assert await send_once(own, mail) == 0
        await age(own, alerts.GATHER)
        assert await send_once(own, mail) == 1
        assert await send_once(own, mail) == 0
    assert [each["Subject"] for each in server.messages] == [
        "[Chancery] Account paused: hq.mastodon",
        "[Chancery] 5 alerts: 5 × Account paused",
    ]
    assert {each.state for each in await sends(own)} == {"sent"}
    assert len({each.carrier for each in await sends(own)}) == 2


async def test_what_is_older_than_a_day_is_told_to_nobody(own: World) -> None:
    await pause_and_resume(own, 1)
    await age(own, timedelta(days=1))
    async with Receiver() as receiver, webhook_to(own, receiver) as webhook:
        assert await send_once(own, webhook) == 0
    assert await sends(own) == []


async def test_a_thread_that_is_public_in_part_is_told_as_public(own: World) -> None:
    await hold(own)
    async with own.app.open_uow() as uow:
        await uow.session.execute(
            update(Delivery).where(col(Delivery.state) == "held").values(progress={"parts": [{}]})
        )
    async with Receiver() as receiver, webhook_to(own, receiver) as webhook:
        await send_once(own, webhook)
    assert receiver.bodies[0]["data"]["public"] == "yes"


async def test_a_delivery_that_is_gone_meanwhile_is_told_with_what_is_left(own: World) -> None:
    await hold(own)
    async with own.app.open_uow() as uow:
        await uow.session.execute(delete(Delivery))
    async with Receiver() as receiver, webhook_to(own, receiver) as webhook:
        await send_once(own, webhook)
    data = receiver.bodies[0]["data"]
    assert (data["title"], data["account"], data["mission"]) == ("Forum", "", "krv.hq")
