"""Every act of a history with how often it is drawn; and those of the clock, the engine and whoever has the database."""

from collections.abc import Callable, Coroutine, Mapping
from dataclasses import replace
from datetime import timedelta
from random import Random
from typing import Any, Final

from scheduler.clock import iso
from scheduler.domain.people import Role
from scheduler.doorbell import ForgedJobError
from tests.simulation.histories import posts, rights
from tests.simulation.histories.choosing import pick_post
from tests.simulation.histories.focus import ANYWHERE, Focus
from tests.simulation.histories.history import History, Script, Step
from tests.simulation.histories.rows import BY_NAME, TAMPERINGS, Tampering, tamper
from tests.simulation.histories.town import ROLES, Town

LENGTH: Final = 40
#: In so many of the histories somebody changes rows by hand.
_TAMPERED: Final = 0.4
_WAITS: Final = (0.5, 0.5, 2, 5, 30, 60, 900, 3600, 6 * 3600, 86_340, 86_400, 90_000)


async def wait(history: History, rng: Random) -> str:
    history.pause = timedelta(seconds=rng.choice(_WAITS))
    return f"{history.pause}"


async def dispatch(history: History, rng: Random) -> str:
    await history.dispatch()
    return ""


async def ring(history: History, rng: Random) -> str:
    """Jobs come doubled, late and forged: none of them decides anything."""
    for _ in range(rng.choice((1, 3, 6))):
        job = rng.choice(history.jobs) if history.jobs else b"x" * 40
        if rng.random() < 0.3:
            job = rng.randbytes(32) + job[32:]
        try:
            history.signed.load(job)
        except ForgedJobError:
            continue
        await history.dispatch()
    return ""


async def change_rows(history: History, rng: Random) -> str:
    chosen = [BY_NAME[each] for each in history.script.tamperings] or TAMPERINGS
    return by_hand(history, rng, rng.choice(chosen))


def by_hand(history: History, rng: Random, what: Tampering) -> str:
    """Somebody changes rows in the database; the model does not, because nothing lawful has happened."""
    post = pick_post(history, rng)
    keys = {code: key.hex for key, code in history.town.people.items()}
    [(policy,)] = history.rows("SELECT digest FROM policy_version ORDER BY id DESC LIMIT 1")
    now = history.now()
    person = rng.choice((history.script.schemer, *ROLES))
    values = {
        "post": post.id.hex,
        "person": keys[person],
        "admin": keys["bizjak"],
        "account": rng.choice(list(history.town.accounts.values())).hex,
        "policy": policy,
        "now": iso(now),
        "later": iso(now + timedelta(days=2)),
        "then": iso(now - timedelta(days=2)),
    }
    changed = tamper(history.town.store.monitor, what, values)
    history.tampered = history.tampered or bool(changed)
    if changed and ":person" in "".join(what.statements):
        history.helped.add(person)
    return f"{what.name} on {changed} rows"


WEIGHTS: Final[Mapping[Callable[[History, Random], Coroutine[Any, Any, str]], float]] = {
    posts.push_through: 16,
    posts.carry_on: 16,
    posts.draft: 6,
    posts.edit: 3,
    posts.submit: 3,
    posts.approve: 4,
    posts.send_back: 1,
    posts.withdraw: 1.5,
    posts.cancel: 0.5,
    posts.schedule: 2,
    posts.release: 3,
    rights.propose: 4,
    rights.confirm: 4,
    rights.revoke: 1,
    rights.enrol: 5,
    rights.redeem: 1,
    rights.deactivate: 0.3,
    rights.activate: 1.5,
    rights.stop: 1.5,
    rights.resume: 1,
    wait: 9,
    dispatch: 7,
    ring: 2,
}
ACTS: Final = {each.__name__: each for each in (*WEIGHTS, change_rows)}


def draw(seed: int, *, length: int = LENGTH, focus: Focus = ANYWHERE) -> Script:
    """The history of this seed; in some of them rows are changed by hand as well."""
    rng = Random(f"history {seed}")
    weights = {act.__name__: weight for act, weight in WEIGHTS.items()}
    if rng.random() < _TAMPERED:
        weights["change_rows"] = 8
    weights |= focus.weights
    admins = [each for each, roles in ROLES.items() if any(role is Role.ADMIN for role, _ in roles)]
    schemer = rng.choice(admins if rng.random() < 0.6 else [each for each in ROLES if ROLES[each]])
    names = rng.choices(list(weights), list(weights.values()), k=length)
    steps = tuple(Step(name, rng.getrandbits(32)) for name in names)
    return Script(seed, steps, schemer, focus.tamperings, length, focus.rule)


def shrink(town: Town, script: Script, ablated: str | None = None) -> Script:
    """A shorter history that breaks the same rule: without what came after, and without each step it does not need."""
    first = History(town, script, ablated).execute()
    if not first.broken:
        return script
    left = list(script.steps[: first.steps])
    size = len(left)
    while size := size // 2:
        place = 0
        while place < len(left):
            fewer = replace(script, steps=tuple(left[:place] + left[place + size :]))
            if History(town, fewer, ablated).execute().broken[:1] == first.broken[:1]:
                left = list(fewer.steps)
            else:
                place += size
    return replace(script, steps=tuple(left))
