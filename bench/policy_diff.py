"""What trying a new policy on an archive costs: `python -m bench.policy_diff`, with 100,000 posts on SQLite.

The posts are those of the practice scenario, over and over, each on one account; the policy in force is a ministry's 52
rules, and the new one has a rule and a list more. Everything runs in this process on one core: reading the posts,
judging each by both policies, and comparing. The ratio is to judging by both alone, without a database.
"""

import asyncio
import json
import resource
import tempfile
import time
from collections.abc import Iterator
from datetime import timedelta
from itertools import cycle, islice
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import click
from sqlalchemy import insert, inspect

from adapters.registry import build
from scheduler.app import App, application
from scheduler.db import missions, persons
from scheduler.db.engine import build_engine
from scheduler.db.migrate import upgrade
from scheduler.db.tables import Account, Base, Delivery, Post, PostText
from scheduler.db.uow import UnitOfWork
from scheduler.ids import new_id
from scheduler.logs import configure_logs
from scheduler.policy.bundle import open_policy, pack
from scheduler.policy.evaluation import evaluate
from scheduler.policy.facts import PostFacts
from scheduler.policy.rules import Policy
from scheduler.policy.scenario import read_scenario
from scheduler.policy.shipped import read_shipped
from scheduler.practice.scenario import DEFAULT_FILE
from scheduler.services import installation, trials
from scheduler.services.installation import NewAdmin
from scheduler.services.people import NewMission
from scheduler.settings import Settings
from scheduler.vault.keyfile import KeyRing

_BATCH: Final = 2_000
_STRETCH: Final = 500
_SAMPLE: Final = 2_000
_MORE: Final = """
lists: {bench_words: [night train, vlak, bridge]}
rules:
  - {id: bench.words, title: Words, effect: warn, when: {text: {has: [$bench_words]}}, message: Found.}
"""


def _texts() -> Iterator[tuple[str, str, str]]:
    """Language, class and text of posts without end."""
    posts = read_scenario(DEFAULT_FILE.name, DEFAULT_FILE.read_text()).posts
    return cycle([(str(each["lang"]), str(each["cls"]), str(each["text"])) for each in posts])


async def _found(uow: UnitOfWork, policy: bytes) -> None:
    await installation.install(
        uow,
        mission=NewMission(
            code="krv.hq", name="Karvenia", kind="headquarters", zone="UTC", languages=("en",)
        ),
        admins=(NewAdmin(code="bizjak", name="Rok Bizjak"), NewAdmin(code="oblak", name="Oblak")),
        policy=policy,
        public_keys={},
    )


async def _fill(uow: UnitOfWork, count: int) -> None:
    """Posts that are closed, with one text and one delivery each."""
    root = await missions.find_root(uow)
    person = await persons.get_by_code(uow, "bizjak")
    if root is None:
        raise RuntimeError("nothing is installed")
    account = Account(
        mission_id=root.id,
        code="hq.webhook",
        platform="webhook",
        base_url="http://127.0.0.1",
        external_id="archive",
        handle="archive",
        display_name="Archive",
        url="http://127.0.0.1",
        software="webhook",
        language="en",
        limits={},
        created_at=uow.now,
        checked_at=uow.now,
    )
    uow.session.add(account)
    await uow.session.flush()
    texts = _texts()
    for start in range(0, count, _BATCH):
        batch = list(islice(texts, min(_BATCH, count - start)))
        found = [
            _rows(uow, (root.id, person.id, account.id), start + n, each)
            for n, each in enumerate(batch)
        ]
        for place, table in enumerate((Post, PostText, Delivery)):
            await uow.session.execute(insert(table), [each[place] for each in found])


def _rows(
    uow: UnitOfWork, of: tuple[UUID, UUID, UUID], number: int, text: tuple[str, str, str]
) -> tuple[dict[str, Any], ...]:
    post_id, due = new_id(), uow.now - timedelta(minutes=number)
    post = Post(
        id=post_id,
        mission_id=of[0],
        author_id=of[1],
        post_class=text[1],
        state="closed",
        zone="UTC",
        due_at=due,
        late_minutes=15,
        digest="sha256:0",
        created_at=due,
        updated_at=due,
    )
    body = PostText(post_id=post_id, language=text[0], segments=[{"text": text[2], "media": []}])
    delivery = Delivery(
        post_id=post_id,
        account_id=of[2],
        language=text[0],
        state="cancelled",
        payload=b"[]",
        progress={},
        created_at=due,
        updated_at=due,
    )
    return _plain(post), _plain(body), _plain(delivery)


def _plain(row: Base) -> dict[str, Any]:
    return {each.key: getattr(row, each.key) for each in inspect(type(row)).columns}


async def _try(app: App, proposed: Policy) -> tuple[int, int]:
    """How many posts were judged, and on how many the policies differ."""
    async with app.open_uow.read() as uow:
        person = await persons.get_by_code(uow, "bizjak")
        actor = await persons.load_actor(uow, person, via="bench")
    after, judged, differing = None, 0, 0
    while True:
        async with app.open_uow.read() as uow:
            part = await trials.try_on_posts(uow, actor, proposed, after=after, limit=_STRETCH)
        judged += part.posts
        differing += len(part.differences)
        after = part.last
        if after is None:
            return judged, differing


def _judge_alone(policies: tuple[Policy, ...]) -> float:
    """Microseconds of CPU a post."""
    posts = [PostFacts.of(each[1], {each[0]: each[2]}) for each in islice(_texts(), _SAMPLE)]
    began = time.process_time()
    for facts in posts:
        for policy in policies:
            evaluate(policy, facts)
    return (time.process_time() - began) / len(posts) * 1e6


async def measure(folder: Path, count: int) -> None:
    settings = Settings(
        database_url=f"sqlite:///{folder}/chancery.db",
        data_dir=folder,
        key_file=folder / "keys.json",
    )
    KeyRing.create(settings.key_file, origin="audit.karvenia.example/bench")
    engine = build_engine(settings.sqlalchemy_url)
    await upgrade(engine)
    await engine.dispose()
    files = read_shipped("ministry")
    active, proposed = pack(files), open_policy(pack({**files, "bench.yaml": _MORE}))
    async with application(settings, service="bench", platforms=build, ringing=False) as app:
        async with app.open_uow() as uow:
            await _found(uow, active)
        async with app.open_uow() as uow:
            await _fill(uow, count)
        before_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        began, used = time.perf_counter(), time.process_time()
        judged, differing = await _try(app, proposed)
        took, used = time.perf_counter() - began, time.process_time() - used
    after_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    each_us = used / judged * 1e6
    line = {
        "name": "policy.diff",
        "value": round(took, 1),
        "unit": "s",
        "posts": judged,
        "differing": differing,
        "cpu_us": round(each_us),
        "ratio": round(each_us / _judge_alone((open_policy(active), proposed)), 2),
        "memory_mb": round(after_mb),
        "growth_mb": round(after_mb - before_mb),
    }
    print(json.dumps(line))


@click.command()
@click.option("--posts", "count", type=int, default=100_000, show_default=True)
def main(count: int) -> None:
    """Print how long a new policy takes on so many posts, and what it needs."""
    configure_logs("WARNING")
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(measure(Path(folder), count))


if __name__ == "__main__":
    main()
