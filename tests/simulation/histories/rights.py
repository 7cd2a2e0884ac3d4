"""What people do with rights and with what holds for all; whoever issues a code may keep it."""

from datetime import timedelta
from random import Random

from scheduler.domain.people import Role
from scheduler.services import people, policies, postures, tokens
from scheduler.services.people import NewGrant
from scheduler.services.postures import NewPosture
from tests.simulation.histories.choosing import CLASSES, pick_approvals, pick_hand
from tests.simulation.histories.history import History, NobodyError
from tests.simulation.histories.model import Grant, Hand, Posture
from tests.simulation.histories.town import ACCOUNTS, HQ, POLICIES, ROLES, TREE, WORDS


async def propose(history: History, rng: Random) -> str:
    mission = rng.choice(list(TREE))
    hand = pick_hand(history, rng, (Role.ADMIN,), (mission,))
    role = rng.choice((Role.SUPERVISOR, Role.SUPERVISOR, Role.OFFICER, Role.ADMIN))
    person = rng.choice([*ROLES, "novak", "pirc", "novak", "pirc"])
    ends = history.now() + timedelta(hours=30) if rng.random() < 0.1 else None
    new = NewGrant(person=person, mission=mission, role=role, not_after=ends)
    async with history.by(hand) as (uow, actor):
        row = await people.propose_grant(uow, actor, new)
    grant = Grant(person, role, mission, proposed=history.act(hand), not_after=ends)
    history.model.grants[row.id] = grant
    _help(history, grant)
    return f"{hand.human} as {hand.person}: {person} {role} {mission}"


async def confirm(history: History, rng: Random) -> str:
    grants = history.model.grants
    waiting = [each for each, grant in grants.items() if grant.proposed and not grant.confirmed]
    if not waiting:
        raise NobodyError
    key = rng.choice(waiting[-3:])
    hand = pick_hand(history, rng, (Role.ADMIN,), (grants[key].mission,), _involved(grants[key]))
    async with history.by(hand) as (uow, actor):
        await people.confirm_grant(uow, actor, key)
    grants[key].confirmed = history.act(hand)
    _help(history, grants[key])
    return f"{hand.human} as {hand.person}: {grants[key].person} {grants[key].role}"


def _help(history: History, grant: Grant) -> None:
    """Whoever is to become a supervisor soon tries to approve."""
    if grant.role is Role.SUPERVISOR:
        history.helped.add(grant.person)


def _involved(grant: Grant) -> set[str]:
    return {grant.person, *((grant.proposed.hand.person,) if grant.proposed else ())}


async def revoke(history: History, rng: Random) -> str:
    grants = history.model.grants
    deciding = {each.act.hand.person for each in pick_approvals(history)}
    chosen = [each for each, grant in grants.items() if grant.person in deciding]
    key = rng.choice(chosen if chosen and rng.random() < 0.5 else list(grants))
    grant = grants[key]
    hand = pick_hand(history, rng, (Role.ADMIN,), (grant.mission,))
    async with history.by(hand) as (uow, actor):
        await people.revoke_grant(uow, actor, key)
    grant.revoked = True
    return f"{hand.human} as {hand.person}: {grant.person} {grant.role}"


async def enrol(history: History, rng: Random) -> str:
    """A code is issued; it is handed over, or whoever issued it keeps it."""
    hand = pick_hand(history, rng, (Role.ADMIN,), (HQ,))
    waiting = {each.person for each in history.model.grants.values()} - history.model.enrolled
    person = rng.choice(sorted(waiting) if waiting and rng.random() < 0.6 else list(ROLES))
    model, again = history.model, person in history.model.enrolled
    async with history.by(hand) as (uow, actor):
        issued = await people.enrol_person(uow, actor, person)
    model.hands = [each for each in model.hands if each.person != person]
    if again or model.may(person, Role.ADMIN, HQ, history.now()):
        model.suspended.setdefault(person, []).append(history.now())
    schemes = hand.human == history.script.schemer
    keeper = hand.human if rng.random() < (0.8 if schemes else 0.1) else person
    history.codes.append((issued.code, person, history.now(), keeper))
    told = f"{hand.human} as {hand.person}: {person}, the code is {keeper}'s"
    return told if rng.random() < 0.2 else f"{told}; {await _redeem(history)}"


async def redeem(history: History, rng: Random) -> str:
    if not history.codes:
        raise NobodyError
    return await _redeem(history)


async def _redeem(history: History) -> str:
    code, person, issued, keeper = history.codes.pop()
    async with history.open_uow() as uow:
        token = (await tokens.redeem(uow, code)).token
    since = None if keeper == person else issued
    history.model.hands.append(Hand(keeper, person, token, since))
    history.model.enrolled.add(person)
    return f"{keeper} redeems"


async def deactivate(history: History, rng: Random) -> str:
    hand = pick_hand(history, rng, (Role.ADMIN,), (HQ,))
    person = rng.choice(list(ROLES))
    async with history.by(hand) as (uow, actor):
        await people.deactivate_person(uow, actor, person)
    model = history.model
    model.gone.add(person)
    model.hands = [each for each in model.hands if each.person != person] or model.hands
    return f"{hand.human} as {hand.person}: {person}"


async def activate(history: History, rng: Random) -> str:
    hand = pick_hand(history, rng, (Role.ADMIN,), (HQ,))
    body = rng.choice(POLICIES)
    texts = [
        text for each in pick_approvals(history) for part in each.read.values() for text in part
    ]
    hit = [each for each, word in zip(POLICIES, WORDS, strict=True) if word in " ".join(texts)]
    if hit and rng.random() < 0.5:
        body = rng.choice(hit)
    async with history.by(hand) as (uow, actor):
        done = await policies.activate(uow, actor, body)
    if done.active is not None:
        history.model.policy = body
    return f"{hand.human} as {hand.person}: policy {POLICIES.index(body) + 1}"


async def stop(history: History, rng: Random) -> str:
    mission = rng.choice((None, *TREE))
    account = rng.choice(list(ACCOUNTS)) if mission is None and rng.random() < 0.3 else None
    spares = rng.choice(("", "", *CLASSES))
    begins = history.now() + timedelta(seconds=rng.choice((0, 0, 60)))
    ends = begins + timedelta(hours=1) if rng.random() < 0.7 else None
    hand = pick_hand(history, rng, (Role.SUPERVISOR, Role.ADMIN), (mission or HQ,))
    new = NewPosture(
        mission=mission,
        account=account,
        allowed_classes=(spares,) if spares else (),
        starts_at=begins,
        ends_at=ends,
    )
    async with history.by(hand) as (uow, actor):
        row = (await postures.stop(uow, actor, reason="mourning", new=new)).posture
    posture = Posture(hand.person, mission, account, spares, begins, ends)
    history.model.postures[row.id] = posture
    return f"{hand.person}: {mission} {account} {spares} {ends}"


async def resume(history: History, rng: Random) -> str:
    there = [key for key, each in history.model.postures.items() if not each.over]
    if not there:
        raise NobodyError
    key = rng.choice(there)
    hand = pick_hand(history, rng, (Role.SUPERVISOR, Role.ADMIN), (HQ,))
    async with history.by(hand) as (uow, actor):
        row = await postures.resume(uow, actor, reason="over", posture_id=key)
        history.model.postures[key].over = row.ended_at is not None
    return hand.person
