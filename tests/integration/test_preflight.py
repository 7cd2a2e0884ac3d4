"""What is due soon is checked ahead: told once, in time, and never in the way of what leaves."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import text, update
from sqlmodel import select

from adapters.base import Credentials, Profile, Quota
from scheduler.clock import utc_now
from scheduler.commands.checks import run_checks
from scheduler.commands.root import chancery
from scheduler.db import preflights
from scheduler.db.tables import Account, Delivery, Post, SignIn
from scheduler.practice.admin import Turn
from scheduler.practice.knobs import Reach
from scheduler.practice.model import Platform
from scheduler.services import accounts, media, posts, postures, sign_ins
from scheduler.services.preflight import NEXT
from scheduler.services.writing import Writing
from tests.integration.api_fixtures import Api, api_fixture, site_fixture  # noqa: F401 - fixtures go by name
from tests.integration.preflight_fixtures import (
    AHEAD,
    Asked,
    asking,
    checked,
    checking,
    due_in,
    records,
    results,
    until_checked,
)
from tests.support.pictures import picture
from tests.support.world import POLICY, World


async def test_what_is_due_within_ten_minutes_is_checked_once_and_what_is_later_waits(
    world: World,
) -> None:
    soon = await world.scheduled(when=due_in(9), targets=("hq.mastodon", "hq.bluesky"))
    later = await world.scheduled(when=due_in(12))
    async with checking(world):
        found = await until_checked(world, 2)
        await asyncio.sleep(0.3)  # some passes more
    assert [each.ok for each in await results(world)] == [True, True], found[0].problems
    assert {each.delivery_id for each in found} == {
        each.id for each in await world.deliveries(soon)
    }
    told = await records(world)
    assert [each.action for each in told] == ["delivery.preflight"] * 2
    assert {each.detail["result"] for each in told} == {"ok"}
    [waiting] = await world.deliveries(later)
    assert waiting.id not in {each.delivery_id for each in await results(world)}


async def test_an_edited_post_is_checked_again_in_its_new_revision(world: World) -> None:
    post = await world.scheduled(when=due_in(8))
    await checked(world)
    async with world.as_("hocevar") as (uow, actor):
        writing = Writing(texts={"en": [{"text": "Good evening!", "media": []}]})
        post = await posts.edit(uow, actor, post.id, writing, revision=post.revision)
    await world.approve(await world.submit(post))
    first, second = await checked(world, count=2)
    assert (first.delivery_id, second.revision) == (second.delivery_id, first.revision + 1)
    assert len(await records(world)) == 2


async def test_two_workers_put_one_result_on_record(world: World) -> None:
    world.practice.turn(Platform.MASTODON, Turn(latency_ms=200, only=Reach.ALL))
    await world.scheduled(when=due_in(5))
    async with checking(world), checking(world):
        await until_checked(world)
        await asyncio.sleep(0.5)  # the slower one ends, too
    assert len(await records(world)) == 1


async def test_an_account_is_asked_once_for_all_of_its_deliveries(world: World) -> None:
    for minutes in (3, 4, 5):
        await world.scheduled(when=due_in(minutes))
    kit, asked = asking(world)
    await checked(world, kit, count=3)
    assert len(asked) == 1


async def _stop(world: World, _: Post) -> None:
    async with world.as_("zorc") as (uow, actor):
        await postures.stop(uow, actor, reason="a mourning day")


async def _pause(world: World, _: Post) -> None:
    async with world.as_("bizjak") as (uow, actor):
        await accounts.pause(uow, actor, world.accounts["hq.mastodon"], reason="the server moves")


async def _revoke(world: World, _: Post) -> None:
    world.practice.turn(Platform.MASTODON, Turn(revoke="hq"))


async def _break_down(world: World, _: Post) -> None:
    world.practice.turn(Platform.MASTODON, Turn(only=Reach.ALL, status=503))


async def _forbid(world: World, _: Post) -> None:
    stricter = POLICY.replace(b"karvenia-test-1", b"two").replace(b"[Kiev]", b"[Lipovec]")
    await world.activate(stricter)


async def _change(world: World, _: Post) -> None:
    async with world.app.open_uow() as uow:
        await uow.session.execute(text("UPDATE delivery SET payload = '[]'"))


async def _garble(world: World, _: Post) -> None:
    async with world.app.open_uow() as uow:
        await uow.session.execute(text("UPDATE post_text SET segments = '[{}]'"))


async def _unapprove(world: World, _: Post) -> None:
    async with world.app.open_uow() as uow:
        await uow.session.execute(text("DELETE FROM approval"))


async def _unseal(world: World, _: Post) -> None:
    async with world.app.open_uow() as uow:
        await uow.session.execute(text("UPDATE sealed_token SET generation = generation + 1"))


PROBLEMS = {
    "stopped": _stop,
    "account_out_of_service": _pause,
    "sign_in_refused": _revoke,
    "platform_unavailable": _break_down,
    "policy_blocked": _forbid,
    "content_changed": _change,
    "approval_lost": _unapprove,
    "token_unavailable": _unseal,
}


async def test_rows_that_nobody_can_read_are_told_as_changed_content(world: World) -> None:
    await _garble(world, await world.scheduled(when=due_in(5)))
    [found] = await checked(world)
    assert [each["code"] for each in found.problems] == ["content_changed"]


@pytest.mark.parametrize("code", PROBLEMS)
async def test_what_would_keep_it_from_leaving_is_told_with_the_next_command(
    world: World, code: str
) -> None:
    post = await world.scheduled(when=due_in(5))
    await PROBLEMS[code](world, post)
    [found] = await checked(world)
    assert not found.ok
    assert [each["code"] for each in found.problems] == [code]
    assert found.problems[0]["next"].startswith("chancery ")
    [record] = await records(world)
    assert record.action == "delivery.preflight_failed"
    assert (record.detail["result"], record.detail["problems"][0]["code"]) == ("failed", code)
    [delivery] = await world.deliveries(post)
    assert delivery.state == "ready"  # the check of the intent decides


def test_every_next_command_exists() -> None:
    for command in NEXT.values():
        _, group, *rest = command.split()
        found = chancery.get_command(None, group)  # type: ignore[arg-type]
        assert found is not None
        if commands := getattr(found, "commands", None):
            assert rest[0] in commands


@pytest.mark.parametrize("damage", ["gone", "changed"])
async def test_a_picture_that_is_gone_or_changed_is_found_ahead(world: World, damage: str) -> None:
    officer = await world.actor("hocevar")
    stored = await media.upload(
        world.app.open_uow, world.app.kit, officer, "krv.hq", picture("PNG"), "image/png"
    )
    segment = {"text": "The bridge", "media": [{"sha256": stored.sha256, "alt": "A bridge"}]}
    await world.scheduled(when=due_in(5), texts={"en": [segment]})
    path = world.app.settings.data_dir / "media" / stored.sha256[:2] / stored.sha256[2:4]
    if damage == "gone":
        (path / stored.sha256).unlink()
    else:
        (path / stored.sha256).write_bytes(b"another picture")
    [found] = await checked(world)
    code = "media_missing" if damage == "gone" else "media_corrupt"
    assert [each["code"] for each in found.problems] == [code]


async def _age_limits(world: World) -> None:
    async with world.app.open_uow() as uow:
        await uow.session.execute(update(Account).values(checked_at=uow.now - timedelta(hours=25)))


async def test_limits_older_than_a_day_are_read_again_and_the_post_has_to_fit_them(
    world: World,
) -> None:
    await world.scheduled(when=due_in(5))
    kit, _ = asking(world, limits={"max_length": 5})
    await _age_limits(world)
    [found] = await checked(world, kit)
    assert [each["code"] for each in found.problems] == ["content_unfit"]
    async with world.app.open_uow.read() as uow:
        account = await uow.session.get_one(Account, world.accounts["hq.mastodon"])
    assert account.limits == {"max_length": 5}
    assert account.checked_at > utc_now() - timedelta(minutes=1)


async def test_young_limits_stay_as_they_are(world: World) -> None:
    await world.scheduled(when=due_in(5))
    kit, _ = asking(world, limits={"max_length": 5})
    [found] = await checked(world, kit)
    assert found.ok


async def test_a_sign_in_that_belongs_to_another_profile_is_found_ahead(world: World) -> None:
    await world.scheduled(when=due_in(5))
    kit, _ = asking(world, external_id="999", limits={"max_length": 5})
    await _age_limits(world)
    [found] = await checked(world, kit)
    assert [each["code"] for each in found.problems] == ["account_profile_changed"]
    async with world.app.open_uow.read() as uow:
        account = await uow.session.get_one(Account, world.accounts["hq.mastodon"])
    assert account.limits != {"max_length": 5}


async def test_an_end_of_the_sign_in_that_the_platform_tells_is_kept(world: World) -> None:
    await world.scheduled(when=due_in(5))
    ends = utc_now().replace(microsecond=0) + timedelta(days=6)
    kit, _ = asking(world, ends_at=ends)
    await checked(world, kit)
    async with world.app.open_uow.read() as uow:
        row = await uow.session.get_one(SignIn, world.accounts["hq.mastodon"])
    assert row.ends_at == ends


async def test_more_posts_than_the_platform_takes_are_told_ahead(world: World) -> None:
    for minutes in (3, 4, 5):
        await world.scheduled(when=due_in(minutes))
    quota = Quota(limit=3, per=timedelta(hours=3))  # one of them is kept for alerts
    kit, _ = asking(world, quotas=(quota,))
    found = await checked(world, kit, count=3)
    codes = [[each["code"] for each in row.problems] for row in found]
    assert sorted(codes) == [[], [], ["quota_short"]]


async def test_an_ended_session_is_renewed_and_the_check_goes_on(world: World) -> None:
    world.practice.turn(Platform.BLUESKY, Turn(expire_sessions=True))
    await world.scheduled(when=due_in(5), targets=("hq.bluesky",))
    [found] = await checked(world)
    assert found.ok, found.problems


async def test_a_dead_platform_delays_neither_the_other_checks_nor_what_leaves(
    world: World,
) -> None:
    """Every account of Bluesky hangs; Mastodon's is checked, and a post leaves there meanwhile."""
    world.practice.turn(Platform.BLUESKY, Turn(latency_ms=50_000, only=Reach.ALL))
    await world.scheduled(when=due_in(4), targets=("hq.bluesky",))
    alive = await world.scheduled(when=due_in(5))
    async with checking(world, answer_s=50):
        [found] = await until_checked(world)
        assert (found.delivery_id, found.ok) == ((await world.deliveries(alive))[0].id, True)
        public = await world.scheduled()
        async with world.working():
            await world.settle(public, lambda each: each.state == "verified")
        assert len(await results(world)) == 1


async def test_a_platform_that_does_not_answer_in_time_is_told_as_such(world: World) -> None:
    world.practice.turn(Platform.BLUESKY, Turn(latency_ms=50_000, only=Reach.ALL))
    await world.scheduled(when=due_in(4), targets=("hq.bluesky",))
    async with checking(world, answer_s=0.5):
        [dead] = await until_checked(world)
    assert [each["code"] for each in dead.problems] == ["platform_unavailable"]
    assert "no answer within" in dead.problems[0]["message"]


async def test_a_result_that_comes_when_the_delivery_has_gone_on_is_dropped(world: World) -> None:
    post = await world.scheduled(when=due_in(5))

    class Late(Asked):
        async def verify(self, credentials: Credentials) -> Profile:
            async with world.as_("hocevar") as (uow, actor):
                await posts.cancel(uow, actor, post.id)
            return await super().verify(credentials)

    kit, asked = asking(world)
    platforms = {
        name: Late(each.real, asked, {})  # type: ignore[attr-defined]
        for name, each in kit.platforms.items()
    }
    async with checking(world, replace(kit, platforms=platforms)):
        while not asked:
            await asyncio.sleep(0.02)
        await asyncio.sleep(0.3)
    assert (await results(world), await records(world)) == ([], [])


async def test_a_bug_in_a_check_ends_no_other(world: World) -> None:
    await world.scheduled(when=due_in(4), targets=("hq.bluesky",))
    await world.scheduled(when=due_in(5))
    kit, _ = asking(world)

    class Broken(Asked):
        async def verify(self, credentials: Credentials) -> Profile:
            raise RuntimeError("broken")

    real = world.app.kit.platforms["bluesky"]
    platforms = {**kit.platforms, "bluesky": Broken(real, [], {})}
    [found] = await checked(world, replace(kit, platforms=platforms))
    assert found.ok


async def test_a_stop_of_the_worker_drops_what_is_under_way(world: World) -> None:
    world.practice.turn(Platform.MASTODON, Turn(latency_ms=20_000, only=Reach.ALL))
    await world.scheduled(when=due_in(5))
    kit, asked = asking(world)
    async with asyncio.timeout(5):
        async with checking(world, kit):
            while not asked:
                await asyncio.sleep(0.02)
    assert await results(world) == []


async def test_the_result_is_shown_with_the_delivery_in_the_calendar_and_by_the_doctor(
    api: Api,
) -> None:
    world = api.world
    post = await world.scheduled(when=due_in(5))
    person = api.as_("zorc")
    day = utc_now().date()
    span = f"from={day - timedelta(days=1)}&to={day + timedelta(days=2)}"
    assert (await person.get("/deliveries")).of(200)["items"][0]["preflight"] is None
    assert (await person.get(f"/calendar?{span}")).of(200)["items"][0]["preflight"] == ""
    await _revoke(world, post)
    await checked(world)
    [line] = (await person.get("/deliveries")).of(200)["items"]
    [problem] = line["preflight"]["problems"]
    assert (line["preflight"]["ok"], problem["code"]) == (False, "sign_in_refused")
    assert problem["next"] == "chancery account check hq.mastodon"
    whole = (await person.get(f"/deliveries/{line['id']}")).of(200)
    assert whole["preflight"] == line["preflight"]
    assert (await person.get(f"/calendar?{span}")).of(200)["items"][0]["preflight"] == "failed"
    checks = {
        each.name: each
        for each in await run_checks(world.app.settings, lambda _: world.app.kit.platforms)
    }
    assert checks["pre-flight"].code == "preflight_failed"
    assert "sign_in_refused" in checks["pre-flight"].message
    assert checks["sign-ins"].result == "ok"


async def test_the_doctor_names_sign_ins_that_end_soon(world: World) -> None:
    async with world.as_("bizjak") as (uow, actor):
        ends = uow.now + timedelta(days=3)
        await sign_ins.set_end(uow, actor, world.accounts["hq.mastodon"], ends)
    checks = await run_checks(world.app.settings, lambda _: world.app.kit.platforms)
    [check] = [each for each in checks if each.name == "sign-ins"]
    assert (check.code, "hq.mastodon" in check.message) == ("sign_ins_ending", True)


async def test_a_delivery_that_is_due_already_is_the_publishings_own(world: World) -> None:
    await world.scheduled()
    async with world.app.open_uow.read() as uow:
        due = await preflights.find_due(uow, uow.now + AHEAD, but=(), limit=9)
        ready = list(await uow.session.scalars(select(Delivery.state)))
    assert (list(due), ready) == ([], ["ready"])
