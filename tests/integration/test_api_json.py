"""Bodies that are not what they should be: a clear refusal, never a fault of ours, and nothing done."""

import asyncio
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.errors import ChanceryError
from scheduler.web.parsing import load_json
from tests.integration.api_fixtures import Api, api_fixture, site_fixture  # noqa: F401 - fixtures go by name

DRAFT = b'{"mission": "krv.hq"}'


@pytest.fixture
def database() -> str:
    """No rule of these depends on the database."""
    return "sqlite"


async def test_a_body_that_not_every_reader_understands_alike_is_refused(api: Api) -> None:
    officer = api.as_("hocevar")
    for body, status, code in (
        (b'{"mission": "krv.hq", "mission": "krv.kyi"}', 400, "json_duplicate_key"),
        (
            b'{"mission": "krv.hq", "when": {"local": null, "local": null}}',
            400,
            "json_duplicate_key",
        ),
        (b"[" * 100_000, 400, "json_too_deep"),
        (b'{"mission":' * 20_000, 400, "json_too_deep"),
        (b"[" * 17 + b"]" * 17, 400, "json_too_deep"),
        (b'{"mission": NaN}', 400, "json_number"),
        (b'{"mission": -Infinity}', 400, "json_number"),
        (b'{"mission": 1e400}', 400, "json_number"),
        (b'{"mission": 9007199254740992}', 400, "json_number"),
        (b'{"mission": ' + b"9" * 5000 + b"}", 400, "json_number"),
        (b'{"mission": 1e30}', 400, "json_number"),
        (b"\xef\xbb\xbf" + DRAFT, 400, "json_invalid"),
        (DRAFT.decode().encode("utf-16"), 400, "json_invalid"),
        (b'{"mission": "\xff"}', 400, "json_invalid"),
        (b"{'mission': 'krv.hq'}", 400, "json_invalid"),
        (DRAFT[:-1], 400, "json_invalid"),
        (DRAFT + b"x", 400, "json_invalid"),
        (b"mission=krv.hq", 400, "json_invalid"),
        (b'{"mission": "krv.hq\\u0000"}', 422, "text_control"),
        (b'{"mission\\u0000": 1}', 422, "text_control"),
        (b'{"title": "\\ud83d", "mission": "krv.hq"}', 422, "text_surrogate"),
        (b"[]", 422, "body_invalid"),
        (b'"krv.hq"', 422, "body_invalid"),
        (b"null", 422, "body_invalid"),
        (b"", 422, "body_invalid"),
        (b'{"mission": "krv.hq", "color": "red"}', 422, "field_unknown"),
        (b'{"mission": "krv.hq", "when": {"local": null, "at": 1}}', 422, "field_unknown"),
        (b'{"mission": "krv.hq", "post_class": "routine"}', 422, "field_unknown"),
        (b'{"mission": 7}', 422, "body_invalid"),
        (b'{"mission": "krv.hq", "schedule_on_approval": "yes"}', 422, "body_invalid"),
        (
            b'{"mission": "krv.hq", "when": {"local": null, "late_minutes": 1.5}}',
            422,
            "body_invalid",
        ),
        (
            b'{"mission": "krv.hq", "when": {"local": null, "late_minutes": -1}}',
            422,
            "body_invalid",
        ),
    ):
        refused = await officer.send_raw("POST", "/posts", body, content_type="application/json")
        assert (refused.status, refused.code) == (status, code), body[:60]
    assert (await officer.get("/posts")).of(200)["items"] == []


async def test_a_whole_number_is_an_integer_however_it_is_written(api: Api) -> None:
    body = b'{"mission": "krv.hq", "when": {"local": null, "late_minutes": 45.0}}'
    reply = await api.as_("hocevar").send_raw(
        "POST", "/posts", body, content_type="application/json"
    )
    assert reply.of(201)["when"]["late_minutes"] == 45


async def test_a_refusal_names_every_field_and_repeats_no_value(api: Api) -> None:
    body = {
        "code": "a.b",
        "mission": "KRV",
        "platform": "x",
        "base_url": "hunter2",
        "language": "en",
        "secret": ["hunter3"],
    }
    refused = await api.as_("bizjak").post("/accounts", body)
    assert {each["field"] for each in refused.json["errors"]} == {"mission", "base_url", "secret"}
    assert b"hunter" not in refused.body


async def test_only_json_in_utf8_without_compression_is_read(api: Api) -> None:
    officer = api.as_("hocevar")
    for content_type in (
        "text/plain",
        "application/x-www-form-urlencoded",
        "application/json; charset=latin-1",
        None,
    ):
        refused = await officer.send_raw("POST", "/posts", DRAFT, content_type=content_type)
        assert (refused.status, refused.code) == (415, "content_type_unsupported"), content_type
    accepted = await officer.send_raw(
        "POST", "/posts", DRAFT, content_type="application/json; charset=UTF-8"
    )
    assert accepted.status == 201
    for encoding in ("gzip", "deflate", "br"):
        refused = await officer.with_headers(Content_Encoding=encoding).post(
            "/posts", {"mission": "krv.hq"}
        )
        assert (refused.status, refused.code) == (415, "content_encoding_unsupported")


async def test_at_most_a_mebibyte_is_read(api: Api) -> None:
    officer = api.as_("hocevar")
    large = json.dumps({"mission": "krv.hq", "title": "x" * (1 << 20)}).encode()
    refused = await officer.send_raw("POST", "/posts", large, content_type="application/json")
    assert (refused.status, refused.code) == (413, "body_too_large")

    async def pieces():  # noqa: ANN202
        for start in range(0, len(large), 65_536):
            yield large[start : start + 65_536]

    headers = {"Authorization": f"Bearer {officer.token}", "Content-Type": "application/json"}
    async with officer.session.post(
        f"{api.base}/api/v1/posts", data=pieces(), headers=headers
    ) as answer:
        assert (answer.status, (await answer.json(content_type=None))["code"]) == (
            413,
            "body_too_large",
        )
    fits = {"mission": "krv.hq", "texts": {"en": [{"text": "x" * 90_000}] * 11}}
    assert (await officer.post("/posts", fits)).status == 201


async def test_a_million_combining_marks_cost_nothing_much(api: Api) -> None:
    body = {"mission": "krv.hq", "texts": {"en": [{"text": "e" + "\u0301" * 99_999}]}}
    async with asyncio.timeout(5):
        assert (await api.as_("hocevar").post("/posts", body)).status == 201
        body["texts"] = {"en": [{"text": "e" + "\u0301" * 100_001}]}
        assert (await api.as_("hocevar").post("/posts", body)).code == "body_invalid"


@given(
    st.binary(max_size=200)
    | st.text(max_size=200).map(lambda text: text.encode("utf-8", "surrogatepass"))
)
def test_any_bytes_are_json_or_a_refusal(data: bytes) -> None:
    try:
        value = load_json(data)
    except ChanceryError:
        return
    assert value == json.loads(data)


_LEAVES = st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\x00")
)  # fmt: skip


@given(
    st.recursive(
        _LEAVES,
        lambda inner: (
            st.lists(inner, max_size=4)
            | st.dictionaries(
                st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00")),
                inner,
                max_size=4,
            )
        ),
        max_leaves=20,
    )
)
def test_what_every_reader_understands_is_read_unchanged(value: object) -> None:
    def depth(item: object) -> int:
        if isinstance(item, list | dict):
            return 1 + max(map(depth, item.values() if isinstance(item, dict) else item), default=0)
        return 0

    if depth(value) <= 16:
        assert load_json(json.dumps(value).encode()) == value
        assert load_json(json.dumps(value, ensure_ascii=False).encode()) == value
