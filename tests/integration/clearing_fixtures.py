"""A ministry whose posts are cleared by offices, and what people do in it."""

import json
from datetime import timedelta
from typing import Any

from sqlmodel import col, select

from scheduler.db import missions, persons
from scheduler.db import posts as rows
from scheduler.db.tables import AuditOutbox, Delivery, Grant, Post
from scheduler.domain.people import Role
from scheduler.policy.bundle import pack
from scheduler.policy.clearance import Mode
from scheduler.services import approvals, judging, people, posts, release
from scheduler.services.approvals import Awaiting
from scheduler.services.clearing import Standing
from scheduler.services.people import NewGrant
from scheduler.services.release import Clearance, Obstacle
from tests.integration.services_fixtures import later
from tests.support.world import World

POLICY = """format: 2
version: clearing-1
rules:
  - {id: rail, title: The railway is a matter of its desk, effect: require, approver: desk + protocol,
     when: {text: {has: [railway]}}, message: The railway is mentioned., fix: Ask the desk.}
  - {id: name, title: The old name, effect: block, override: protocol,
     when: {text: {has: [Old Bridge]}}, message: The old name., fix: Write New Bridge.}
  - {id: tone, title: The tone, effect: warn, when: {text: {has: [alas]}}, message: Gloomy., fix: Cheer up.}
  - {id: never, title: Never, effect: block, when: {text: {has: [secret]}}, message: No., fix: Leave it out.}
  - {id: ours, title: Ours, effect: block, override: author, when: {text: {has: [folks]}}, message: Hm., fix: Citizens.}
workflows:
  - id: statement
    title: Statements
    when: {class: [statement]}
    steps:
      - {clear: desk, within: 60, late: proceed}
      - {approve: press, within: 90, deputies: [duty]}
      - {approve: minister}
    inform: [ambassador]
break_glass: {by: press, quota: 1, days: 30}
"""
OFFICES = {
    "pogacnik": (Role.CLEARER, "desk.east"),
    "furlan": (Role.CLEARER, "protocol"),
    "hribernik": (Role.SUPERVISOR, "press"),
    "dolinar": (Role.SUPERVISOR, "minister"),
    "kralj": (Role.SUPERVISOR, "duty"),
}


async def staff(world: World, policy: str = POLICY) -> None:
    """The policy in force, and a person in each office."""
    await world.activate(pack({"policy.yaml": policy}))
    for code, (role, office) in OFFICES.items():
        await appoint(world, code, role, office)


async def appoint(world: World, code: str, role: Role, office: str, at: str = "krv.hq") -> None:
    async with world.as_("bizjak") as (uow, admin):
        person = await persons.find_by_code(uow, code)
        person = person or await people.insert_person(uow, code, code.title(), (), None)
        mission = await missions.get_by_code(uow, admin, at)
        new = NewGrant(person=code, mission=at, role=role, office=office)
        await people.insert_bootstrap_grant(uow, person, mission, new)


async def draft(world: World, body: str, **fields: Any) -> Post:
    return await world.draft(texts={"en": [{"text": body, "media": []}]}, **fields)


async def send(world: World, post: Post, **accepted: str) -> Post:
    async with world.as_("hocevar") as (uow, actor):
        return await posts.submit(
            uow, world.app.kit, actor, post.id, revision=post.revision, accepted=accepted
        )


async def submit(world: World, body: str, **fields: Any) -> Post:
    accepted = fields.pop("accepted", {})
    return await send(world, await draft(world, body, **fields), **accepted)


async def decide(
    world: World,
    post: Post,
    by: str,
    mode: Mode = Mode.APPROVE,
    *,
    after: timedelta = timedelta(0),
    reason: str = "",
) -> Post:
    async with later(world, by, after) as (uow, actor):
        return await approvals.decide(
            uow, actor, post.id, digest=str(post.digest), mode=mode, reason=reason
        )


async def list_awaiting(world: World, code: str) -> list[Awaiting]:
    async with world.as_(code) as (uow, actor):
        return list(await approvals.find_awaiting(uow, actor))


async def judge_delivery(world: World, post: Post) -> Clearance | Obstacle:
    async with world.app.open_uow() as uow:
        query = select(Delivery).where(col(Delivery.post_id) == post.id)
        return await release.clear(uow, (await uow.session.scalars(query)).one())


async def find_standing(world: World, post: Post) -> Standing:
    async with world.app.open_uow.read() as uow:
        parts = await rows.load_parts(uow, await uow.session.get_one(Post, post.id))
        judgement = await judging.judge_now(uow, parts)
        return (await approvals.find_standings(uow, [parts], [judgement]))[0]


async def read_last_detail(world: World, action: str) -> dict[str, Any]:
    async with world.app.open_uow.read() as uow:
        query = select(AuditOutbox).order_by(col(AuditOutbox.id).desc())
        records = [json.loads(each.body) for each in await uow.session.scalars(query)]
    return next(each["d"] for each in records if each["act"] == action)


async def revoke(world: World, code: str) -> None:
    async with world.as_("bizjak") as (uow, actor):
        person = await persons.get_by_code(uow, code)
        query = select(Grant).where(col(Grant.person_id) == person.id)
        [grant] = await uow.session.scalars(query)
        await people.revoke_grant(uow, actor, grant.id)
