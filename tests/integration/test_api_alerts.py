"""Alerts over HTTP: who sees which, and what became of each."""

from typing import Any
from uuid import uuid4

from scheduler.audit.actions import Action
from tests.integration.alert_fixtures import hold, send_once, webhook_to
from tests.integration.api_fixtures import Api, api_fixture, site_fixture  # noqa: F401 - fixtures go by name
from tests.support.receivers import Receiver


async def _pause(api: Api, account: str) -> None:
    async with api.world.app.open_uow() as uow:
        subject = {"t": "account", "id": str(api.world.accounts[account])}
        uow.record(Action.ACCOUNT_PAUSE, subject, detail={"reason": "test"})


async def _stop(api: Api) -> None:
    async with api.world.app.open_uow() as uow:
        uow.record(Action.POSTURE_STOP, {"t": "posture", "id": str(uuid4())}, detail={})


def _kinds(items: list[Any]) -> list[tuple[str, str]]:
    return [(each["kind"], each["account"]) for each in items]


async def test_everybody_sees_the_alerts_of_missions_in_sight_and_of_the_installation(
    api: Api,
) -> None:
    await _pause(api, "hq.mastodon")
    await _pause(api, "kyi.bluesky")
    await _stop(api)
    headquarters = (await api.as_("zorc").get("/alerts")).of(200)["items"]
    assert _kinds(headquarters) == [
        ("stopped", ""),
        ("account_paused", "kyi.bluesky"),
        ("account_paused", "hq.mastodon"),
    ]
    embassy = (await api.as_("olena").get("/alerts")).of(200)["items"]
    assert _kinds(embassy) == [("stopped", ""), ("account_paused", "kyi.bluesky")]
    other = (await api.as_("sato").get("/alerts")).of(200)["items"]
    assert _kinds(other) == [("stopped", "")]
    assert (await api.with_token(None).get("/alerts")).code == "token_missing"


async def test_alerts_come_in_pages_and_by_kind(api: Api) -> None:
    for _n in range(3):
        await _pause(api, "hq.mastodon")
    await _stop(api)
    reader = api.as_("mlakar")
    first = (await reader.get("/alerts?kind=account_paused&limit=2")).of(200)
    second = (await reader.get(f"/alerts?kind=account_paused&limit=2&cursor={first['next']}")).of(
        200
    )
    assert [len(first["items"]), len(second["items"]), second["next"]] == [2, 1, None]
    assert len({each["id"] for each in first["items"] + second["items"]}) == 3
    both = (await reader.get("/alerts?kind=stopped&kind=held")).of(200)["items"]
    assert _kinds(both) == [("stopped", "")]
    assert (await reader.get("/alerts?kind=lost")).code == "query_invalid"


async def test_an_alert_says_what_who_and_where_and_what_became_of_its_messages(api: Api) -> None:
    await hold(api.world, title="Forum", code="stopped")
    async with Receiver([500]) as receiver, webhook_to(api.world, receiver) as webhook:
        [unsent] = (await api.as_("hocevar").get("/alerts")).of(200)["items"]
        await send_once(api.world, webhook)
        [shown] = (await api.as_("hocevar").get("/alerts")).of(200)["items"]
    assert unsent["sends"] == []
    [send] = shown.pop("sends")
    assert send.pop("next_at") is not None
    assert send == {
        "target": "webhook", "state": "pending", "attempts": 1, "error": "answered 500",
    }  # fmt: skip
    assert shown["public"] == "no"
    assert shown["what"] == "It is held; a person releases or ends it. (stopped; by a test)"
    assert shown["who"] == "a supervisor of krv.hq"
    page = shown["page"].removeprefix("/api/v1")
    assert (await api.as_("hocevar").get(page)).of(200)["post"] == shown["post"]
    assert shown["command"] == f"chancery delivery show {shown['subject']}"
