"""Clearance by office: who decides in which order, what is passed over, and what is asked again at sending."""

import asyncio
from datetime import timedelta

import pytest
from sqlmodel import col, select

from scheduler.db.tables import Approval, Post
from scheduler.domain.people import Role
from scheduler.policy.bundle import pack
from scheduler.policy.clearance import Mode
from scheduler.services import critical_path, people, policies, posts
from scheduler.services.people import NewGrant
from scheduler.services.release import Clearance, Obstacle
from tests.integration.clearing_fixtures import (
    OFFICES,
    POLICY,
    appoint,
    decide,
    find_standing,
    judge_delivery,
    list_awaiting,
    read_last_detail,
    revoke,
    send,
    staff,
    submit,
)
from tests.integration.services_fixtures import (
    founder_fixture,  # noqa: F401 - fixtures go by name
    own_fixture,  # noqa: F401 - fixtures go by name
    recording,
    refused,
)
from tests.support.world import World

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_offices_clear_then_every_approver_approves_and_all_of_it_is_recorded(
    own: World,
) -> None:
    await staff(own)
    post = await submit(own, "Good morning from Lipovec!", post_class="statement")
    async with refused(own, "clearance_missing"):
        await decide(own, post, "hribernik")
    async with recording(own) as actions:
        await decide(own, post, "pogacnik", Mode.CLEAR)
        first = await decide(own, post, "hribernik")
        assert first.state == "in_review"
        last = await decide(own, post, "dolinar")
    assert last.state == "scheduled"
    assert actions == [
        *["post.decide"] * 2,
        *["post.approve", "post.schedule", "delivery.ready"],
    ]
    cleared = await judge_delivery(own, post)
    assert isinstance(cleared, Clearance)
    async with own.app.open_uow.read() as uow:
        found = (await uow.session.scalars(select(Approval).order_by(col(Approval.id)))).all()
    assert [each.mode for each in found] == ["clear", "approve", "approve"]
    assert cleared.approval_id == found[-1].id


async def test_only_who_is_asked_decides_and_each_once(own: World) -> None:
    await staff(own)
    post = await submit(own, "Good morning from Lipovec!", post_class="statement")
    async with refused(own, "not_asked"):
        await decide(own, post, "furlan", Mode.CLEAR)
    async with refused(own, "permission_denied"):
        await decide(own, post, "pogacnik")
    await decide(own, post, "pogacnik", Mode.CLEAR)
    async with refused(own, "decided_already"):
        await decide(own, post, "pogacnik", Mode.CLEAR)
    async with refused(own, "not_asked"):
        await decide(own, post, "zorc")
    await decide(own, post, "hribernik")
    async with refused(own, "not_asked"):
        await decide(own, post, "kralj")
    assert (await decide(own, post, "dolinar")).state == "scheduled"


async def test_what_awaits_whom_follows_the_steps(own: World) -> None:
    await staff(own)
    post = await submit(own, "The railway opens.", post_class="statement")

    async def turns() -> dict[str, str | None]:
        found = {}
        for code in (*OFFICES, "zorc"):
            lines = [
                each.turn for each in await list_awaiting(own, code) if each.post.id == post.id
            ]
            found[code] = lines[0] if lines else "-"
        return found

    later_ = dict.fromkeys((*OFFICES, "zorc"))
    assert await turns() == {**later_, "pogacnik": Mode.CLEAR, "furlan": Mode.CLEAR}
    await decide(own, post, "pogacnik", Mode.CLEAR)
    await decide(own, post, "furlan", Mode.CLEAR)
    done = {"pogacnik": "-", "furlan": "-"}
    assert await turns() == {
        **later_,
        **done,
        "hribernik": Mode.APPROVE,
        "dolinar": Mode.APPROVE,
    }
    await decide(own, post, "hribernik")
    assert (await turns())["dolinar"] is Mode.APPROVE
    assert await list_awaiting(own, "hocevar") == []


async def test_a_rule_that_requires_offices_adds_their_clearance(own: World) -> None:
    await staff(own)
    post = await submit(own, "The railway opens.")
    async with refused(own, "clearance_missing"):
        await decide(own, post, "zorc")
    await decide(own, post, "pogacnik", Mode.CLEAR)
    async with refused(own, "clearance_missing"):
        await decide(own, post, "zorc")
    await decide(own, post, "furlan", Mode.CLEAR)
    assert (await decide(own, post, "zorc")).state == "scheduled"
    assert isinstance(await judge_delivery(own, post), Clearance)


async def test_whoever_approves_in_the_office_that_a_rule_requires_clears_by_it(own: World) -> None:
    await staff(own, POLICY.replace("approver: desk + protocol", "approver: press"))
    post = await submit(own, "The railway opens.")
    async with refused(own, "clearance_missing"):
        await decide(own, post, "zorc")
    assert (await decide(own, post, "hribernik")).state == "scheduled"


async def test_a_rule_that_requires_nobody_by_name_asks_a_second_supervisor(own: World) -> None:
    await staff(own, POLICY.replace("approver: desk + protocol,", ""))
    post = await submit(own, "The railway opens.")
    assert (await decide(own, post, "zorc")).state == "in_review"
    assert (await decide(own, post, "vidmar")).state == "scheduled"


async def test_what_was_cleared_is_asked_again_at_sending(own: World) -> None:
    await staff(own)
    post = await submit(own, "The railway opens.")
    for code in ("pogacnik", "furlan"):
        await decide(own, post, code, Mode.CLEAR)
    await decide(own, post, "zorc")
    await revoke(own, "furlan")
    stopped = await judge_delivery(own, post)
    assert isinstance(stopped, Obstacle)
    assert stopped.code == "clearance_missing"
    assert "protocol" in stopped.message
    assert "rule rail" in stopped.message
    await appoint(own, "furlan", Role.CLEARER, "protocol")
    assert isinstance(await judge_delivery(own, post), Clearance)


async def test_a_policy_that_asks_more_holds_what_was_approved_under_another(own: World) -> None:
    await staff(own)
    post = await submit(own, "Good morning from Lipovec!")
    await decide(own, post, "zorc")
    assert isinstance(await judge_delivery(own, post), Clearance)
    stricter = POLICY.replace("clearing-1", "clearing-2").replace(
        "class: [statement]", "class: [statement, routine]"
    )
    await own.activate(pack({"policy.yaml": stricter}))
    stopped = await judge_delivery(own, post)
    assert isinstance(stopped, Obstacle)
    assert stopped.code == "clearance_missing"


async def test_a_late_office_is_passed_over_and_named_in_the_record(own: World) -> None:
    await staff(own)
    post = await submit(own, "Good morning from Lipovec!", post_class="statement")
    assert post.submitted_at is not None
    assert post.answer_by == post.submitted_at + timedelta(minutes=60)
    hour = timedelta(minutes=61)
    first = await decide(own, post, "hribernik", after=hour)
    assert first.answer_by is None
    async with recording(own) as actions:
        last = await decide(own, post, "dolinar", after=hour)
    assert last.state == "scheduled"
    assert actions[0] == "post.approve"
    detail = await read_last_detail(own, "post.approve")
    assert (detail["without"], detail["inform"]) == (["desk"], ["ambassador"])
    assert isinstance(await judge_delivery(own, post), Clearance)


async def test_whoever_makes_an_office_late_by_hand_changes_the_content(own: World) -> None:
    await staff(own)
    post = await submit(own, "Good morning from Lipovec!", post_class="statement")
    async with own.app.open_uow() as uow:
        row = await uow.session.get_one(Post, post.id)
        assert row.submitted_at is not None
        row.submitted_at -= timedelta(hours=2)
    async with refused(own, "content_changed"):
        await decide(own, post, "hribernik")


async def test_deputies_answer_for_an_office_that_is_late(own: World) -> None:
    await staff(own)
    post = await submit(own, "Good morning from Lipovec!", post_class="statement")
    await decide(own, post, "pogacnik", Mode.CLEAR)
    async with refused(own, "not_asked"):
        await decide(own, post, "kralj")
    await decide(own, post, "kralj", after=timedelta(minutes=91))
    assert (await decide(own, post, "dolinar")).state == "scheduled"


async def test_the_glass_is_broken_with_a_reason_by_whom_the_policy_names_and_seldom(
    own: World,
) -> None:
    await staff(own)
    first = await submit(own, "The railway opens.", post_class="statement")
    async with refused(own, "comment_missing"):
        await decide(own, first, "hribernik", Mode.BREAK_GLASS, reason=" ")
    async with refused(own, "break_glass_denied"):
        await decide(own, first, "dolinar", Mode.BREAK_GLASS, reason="a flood")
    await decide(own, first, "hribernik", Mode.BREAK_GLASS, reason="a flood")
    assert (await decide(own, first, "dolinar")).state == "scheduled"
    detail = await read_last_detail(own, "post.approve")
    assert detail["without"] == ["desk", "protocol"]
    assert isinstance(await judge_delivery(own, first), Clearance)
    second = await submit(own, "The railway closes.", post_class="statement")
    async with refused(own, "break_glass_denied"):
        await decide(own, second, "hribernik", Mode.BREAK_GLASS, reason="a storm")
    await appoint(own, "vidmar", Role.SUPERVISOR, "press")
    await revoke(own, "hribernik")
    stopped = await judge_delivery(own, first)
    assert isinstance(stopped, Obstacle)


async def test_two_deciding_at_once_are_both_counted(own: World) -> None:
    await staff(own)
    post = await submit(own, "The railway opens.")
    results = await asyncio.gather(
        decide(own, post, "pogacnik", Mode.CLEAR), decide(own, post, "furlan", Mode.CLEAR)
    )
    assert {each.state for each in results} == {"in_review"}
    both = await asyncio.gather(
        decide(own, post, "zorc"), decide(own, post, "vidmar"), return_exceptions=True
    )
    assert sorted(getattr(each, "code", "done") for each in both) == ["done", "move_not_allowed"]


async def test_the_path_names_who_could_act_by_when_on_their_clock(own: World) -> None:
    await staff(own)
    await appoint(own, "sato", Role.CLEARER, "protocol", at="krv.tyo")
    post = await submit(own, "The railway opens.", post_class="statement")
    await decide(own, post, "pogacnik", Mode.CLEAR)
    standing = await find_standing(own, post)
    async with own.app.open_uow.read() as uow:
        path = await critical_path.find_path(uow, standing)
    told = [
        (sorted(each.step.offices), each.missing, [one.person.code for one in each.candidates])
        for each in path
    ]
    assert told == [
        (["desk"], 0, []),
        (["protocol"], 1, ["furlan"]),
        (["desk"], 0, []),
        (["press"], 1, ["hribernik"]),
        (["minister"], 1, ["dolinar"]),
    ]
    assert [each.waits for each in path] == [False, False, False, True, True]
    assert {each.zone for one in path for each in one.candidates} == {"Europe/Ljubljana"}


async def test_a_young_office_clears_nothing_yet(own: World) -> None:
    await staff(own)
    post = await submit(own, "The railway opens.")
    async with own.as_("bizjak") as (uow, actor):
        new = NewGrant(person="mlakar", mission="krv.hq", role=Role.CLEARER, office="desk")
        grant = await people.propose_grant(uow, actor, new)
    async with own.as_("oblak") as (uow, actor):
        await people.confirm_grant(uow, actor, grant.id)
    async with refused(own, "grant_too_young"):
        await decide(own, post, "mlakar", Mode.CLEAR)
    assert (await decide(own, post, "mlakar", Mode.CLEAR, after=timedelta(hours=25))).state


async def test_an_office_without_a_deciding_role_is_refused(own: World) -> None:
    async with refused(own, "office_role"), own.as_("bizjak") as (uow, actor):
        new = NewGrant(person="olena", mission="krv.kyi", role=Role.OFFICER, office="desk")
        await people.propose_grant(uow, actor, new)


async def test_a_new_revision_is_cleared_anew(own: World) -> None:
    await staff(own)
    post = await submit(own, "The railway opens.")
    await decide(own, post, "pogacnik", Mode.CLEAR)
    assert [each.person_id for each in (await find_standing(own, post)).decisions]
    async with own.as_("hocevar") as (uow, actor):
        back = await posts.withdraw(uow, actor, post.id)
        await uow.session.refresh(back)
    assert (await find_standing(own, await send(own, back))).decisions == ()


async def test_offices_that_nobody_holds_are_named_to_both_admins(own: World) -> None:
    def name(done: policies.Activation) -> set[tuple[str, str]]:
        return {(" or ".join(each.offices), each.asked_by) for each in done.vacancies}

    body = pack({"policy.yaml": POLICY})
    async with own.as_("bizjak") as (uow, actor):
        proposed = await policies.activate(uow, actor, body)
    assert name(proposed) == {
        ("desk", "workflow statement"),
        ("duty or press", "workflow statement"),
        ("minister", "workflow statement"),
        ("desk", "rule rail"),
        ("protocol", "rule rail"),
    }
    for code, (role, office) in OFFICES.items():
        if office != "press":
            await appoint(own, code, role, office)
    await revoke(own, "furlan")
    async with own.as_("oblak") as (uow, actor):
        active = await policies.activate(uow, actor, body)
    assert active.active is not None
    assert name(active) == {("protocol", "rule rail")}


async def test_a_clearer_does_not_hold_an_office_that_has_to_approve(own: World) -> None:
    for code in ("pogacnik", "furlan"):
        await appoint(own, code, Role.CLEARER, "minister" if code == "furlan" else "desk")
    async with own.as_("bizjak") as (uow, actor):
        done = await policies.activate(uow, actor, pack({"policy.yaml": POLICY}))
    assert ("minister",) in {each.offices for each in done.vacancies}
    assert ("desk",) not in {each.offices for each in done.vacancies}
