"""`If-Match`: nobody changes, moves or ends another revision of a post than the one they read."""

import pytest

from tests.integration.api_fixtures import Api, api_fixture, site_fixture  # noqa: F401 - fixtures go by name


@pytest.mark.parametrize("act", ["submit", "withdraw", "schedule", "cancel"])
async def test_nobody_ends_or_moves_another_revision_than_the_one_they_read(
    api: Api, act: str
) -> None:
    post = await api.draft()
    officer = api.as_("hocevar").with_headers(If_Match='"1"')
    (await officer.patch(f"/posts/{post['id']}", {"title": "Another"})).of(200)
    stale = await api.act(post, act)
    assert (stale.status, stale.code) == (412, "revision_stale")
    blind = await api.as_("hocevar").post(f"/posts/{post['id']}/{act}")
    assert (blind.status, blind.code) == (428, "if_match_missing")
    assert (await officer.get(f"/posts/{post['id']}")).of(200)["state"] == "draft"
