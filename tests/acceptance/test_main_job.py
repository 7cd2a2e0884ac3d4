"""The main job as a tutorial: an officer drafts, a supervisor approves, the worker publishes, the record proves it."""

from scheduler.audit.export import ExportRequest
from scheduler.clock import utc_now
from scheduler.services import evidence
from tests.support.world import World


async def test_an_approved_post_becomes_public_once_on_every_target_and_the_record_proves_it(
    world: World,
) -> None:
    post = await world.scheduled(targets=("hq.mastodon", "hq.bluesky"))
    async with world.working():
        found = await world.settle(post, lambda delivery: delivery.state == "verified")

    assert [delivery.attempts for delivery in found] == [1, 1]
    public = world.practice.posts()
    assert [each["text"] for each in public] == ["Good morning from Lipovec!"] * 2
    async with world.app.open_uow.read() as uow:
        verdict = await evidence.verify(
            uow,
            trust=world.app.trust,
            request=ExportRequest(requested_by="mlakar", reason="test", at=utc_now()),
        )
    assert verdict.ok, verdict
