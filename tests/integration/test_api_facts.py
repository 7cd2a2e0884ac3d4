"""What authors declare for the policy's rules, over HTTP."""

from typing import Any

import pytest

from tests.integration.api_fixtures import Api, api_fixture, site_fixture  # noqa: F401 - fixtures go by name


async def test_declared_facts_are_part_of_what_is_approved(api: Api) -> None:
    facts = {"topic": "rail", "case.impact": 7, "alert.fields": ["place", "phone"]}
    post = await api.submitted(facts=facts)
    assert post["facts"] == facts
    review = (await api.as_("zorc").get(f"/approvals/{post['id']}")).of(200)
    assert review["facts"] == facts
    (await api.approve(post)).of(200)
    officer, etag = api.as_("hocevar"), f'"{post["revision"]}"'
    changed = await officer.with_headers(If_Match=etag).patch(
        f"/posts/{post['id']}", {"facts": {**facts, "topic": "roads"}}
    )
    assert (changed.of(200)["state"], changed.of(200)["digest"]) == ("draft", None)
    again = (await api.submit(changed.of(200))).of(200)
    assert again["digest"] != post["digest"]


@pytest.mark.parametrize(
    "facts",
    [
        {"clearances": ["desk_officer.east"]},  # not the author's to say
        {"colour": "red"},
        {"topic": 5},
        {"case.impact": "high"},
        {"valid_until": "tomorrow"},
        {"event_public": "yes"},
        {"topic": "rail\u202e"},
    ],
)
async def test_a_fact_that_is_none_is_refused(api: Api, facts: dict[str, Any]) -> None:
    body = {"mission": "krv.hq", "texts": {"en": [{"text": "Good morning"}]}, "facts": facts}
    assert (await api.as_("hocevar").post("/posts", body)).code in {"fact_invalid", "text_bidi"}
    assert (await api.as_("hocevar").get("/posts")).of(200)["items"] == []
