"""A history written by hand: the same product, clock and model, and exactly the acts that are named."""

from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from random import Random
from typing import Any
from uuid import UUID

from scheduler.domain.people import Role
from scheduler.errors import ChanceryError
from scheduler.services import approvals, people, policies, posts, tokens
from scheduler.services.people import NewGrant
from scheduler.services.writing import When, Writing
from tests.simulation.histories import acts
from tests.simulation.histories.history import History, Script
from tests.simulation.histories.model import Approval, Grant, Hand, Post
from tests.simulation.histories.posts import read_parts
from tests.simulation.histories.rows import BY_NAME
from tests.simulation.histories.town import HQ, POLICIES, Town


class Scene(History):
    def __init__(self, town: Town) -> None:
        super().__init__(town, Script(0, (), "bizjak"))

    def unfold(self, what: Callable[[], None]) -> list[str]:
        """The rules that it breaks; an act that is refused is the end of it."""

        def as_far_as_it_goes() -> None:
            with suppress(ChanceryError):
                what()

        return self.play(as_far_as_it_goes).broken

    def own(self, person: str) -> Hand:
        """The person with the sign-in of their own."""
        return next(
            each for each in self.model.hands if (each.human, each.person) == (person, person)
        )

    def grant(self, by: Hand, person: str, role: Role) -> UUID:
        async def propose() -> UUID:
            async with self.by(by) as (uow, actor):
                new = NewGrant(person=person, mission=HQ, role=role)
                return (await people.propose_grant(uow, actor, new)).id

        key = self.run(propose())
        self.model.grants[key] = Grant(person, role, HQ, proposed=self.act(by))
        return key

    def confirm(self, by: Hand, key: UUID) -> None:
        async def confirm() -> None:
            async with self.by(by) as (uow, actor):
                await people.confirm_grant(uow, actor, key)

        self.run(confirm())
        self.model.grants[key].confirmed = self.act(by)

    def enrol(self, by: Hand, person: str) -> Hand:
        """Whoever issues the code keeps it, and redeems it at once."""

        async def enrol() -> str:
            async with self.by(by) as (uow, actor):
                code = (await people.enrol_person(uow, actor, person)).code
            async with self.open_uow() as uow:
                return (await tokens.redeem(uow, code)).token

        hand = Hand(by.human, person, self.run(enrol()), self.now())
        self.model.hands.append(hand)
        return hand

    def write(self, by: Hand, text: str, **fields: Any) -> Post:
        """Draft and submit it."""
        values = {"texts": {"en": [{"text": text, "media": []}]}, "targets": ("hq.main",)}
        writing = Writing(**{**values, "when": When(local=None), **fields})

        async def draft() -> UUID:
            async with self.by(by) as (uow, actor):
                return (await posts.draft(uow, actor, HQ, writing)).id

        post = Post(self.run(draft()), HQ, ("hq.main",), writers=[self.act(by)])
        self.model.posts[post.id] = post
        self.submit(by, post, 1)
        return post

    def submit(self, by: Hand, post: Post, revision: int) -> None:
        async def submit() -> None:
            async with self.by(by) as (uow, actor):
                await posts.submit(uow, self.kit, actor, post.id, revision=revision)

        self.run(submit())

    def edit(self, by: Hand, post: Post, text: str) -> None:
        """Write it anew, and submit it."""
        writing = Writing(texts={"en": [{"text": text, "media": []}]})

        async def edit() -> None:
            async with self.by(by) as (uow, actor):
                await posts.edit(uow, actor, post.id, writing, revision=post.version)

        self.run(edit())
        post.writers.append(self.act(by))
        post.version += 1
        self.submit(by, post, post.version)

    def approve(self, by: Hand, post: Post) -> None:
        [(digest,)] = self.rows("SELECT digest FROM post WHERE id = ?", post.id.hex)
        read = read_parts(self, post)

        async def approve() -> None:
            async with self.by(by) as (uow, actor):
                await approvals.decide(uow, actor, post.id, digest=digest)

        self.run(approve())
        post.approvals.append(Approval(self.act(by), post.version, read, None, "routine"))

    def schedule(self, by: Hand, post: Post) -> None:
        async def schedule() -> None:
            async with self.by(by) as (uow, actor):
                await approvals.schedule(uow, actor, post.id)

        self.run(schedule())

    def activate(self, number: int) -> None:
        async def activate() -> None:
            for admin in ("bizjak", "oblak"):
                async with self.by(self.own(admin)) as (uow, actor):
                    await policies.activate(uow, actor, POLICIES[number - 1])

        self.run(activate())
        self.model.policy = POLICIES[number - 1]
        self.wait(timedelta(seconds=1))

    def tamper(self, name: str) -> None:
        assert not acts.by_hand(self, Random(1), BY_NAME[name]).endswith(" 0 rows")

    def publish(self) -> None:
        self.run(self.dispatch())
        self.settle()
