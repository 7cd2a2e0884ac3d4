"""The document is made from what validates, so whatever it allows is answered as it says."""

import asyncio
import json
import shutil
import threading
from collections.abc import Iterator, MutableMapping
from concurrent.futures import Future
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import requests
import schemathesis
from aiohttp import web
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import load_all_checks
from schemathesis.specs.openapi import checks as conformance

from adapters.registry import build
from scheduler.app import application
from scheduler.db import missions, persons
from scheduler.domain.people import Role
from scheduler.practice.network import PracticeNetwork
from scheduler.services import people, sequencing, series
from scheduler.services.people import NewGrant
from scheduler.services.series import Repeat
from scheduler.settings import Settings
from scheduler.vault.keyfile import KeyRing
from scheduler.web.api.table import ROUTES
from scheduler.web.app import build_runner
from scheduler.web.openapi import build_document, find_errors
from scheduler.web.routing import Route
from tests.integration.api_fixtures import issue_tokens
from tests.support.world import POLICY_TEXT, World, found_world

load_all_checks()
DOCUMENT = build_document(ROUTES, version="1", server="http://localhost")
CHECKS = [
    conformance.status_code_conformance,
    conformance.content_type_conformance,
    conformance.response_schema_conformance,
    conformance.response_headers_conformance,
    conformance.negative_data_rejection,
]
#: The statuses of a refusal: schemathesis leaves out the ones of a stale condition and of a body that is too large.
REFUSED_WITH = [400, 401, 403, 404, 406, 409, 412, 413, 415, 422, 428, 429]
REFUSALS = schemathesis.Config.from_dict(
    {"checks": {"negative_data_rejection": {"expected-statuses": REFUSED_WITH}}}
)
#: They would end the token that asks, or wait for the whole log again and again.
LEFT_OUT = frozenset({"revoke_current_token", "verify_log"})
#: The tests of accounts, people, seals, media and vault provoke them; a race that only a worker can win does the last.
NOT_PROVOKED_HERE = frozenset(
    {
        "account_profile_changed",
        "grant_too_young",
        "policy_changed",
        "media_bomb",
        "media_decoder_unavailable",
        "media_metadata_left",
        "media_too_large",
        "storage_full",
        "state_changed",
    }
)
OPERATIONS = sorted(route.name for route in ROUTES if route.name not in LEFT_OUT)
TAKING_SOMETHING = sorted(
    route.name
    for route in ROUTES
    if route.name not in LEFT_OUT and (route.body or route.query or "_id}" in route.path)
)


@dataclass(frozen=True, slots=True)
class Live:
    """A site in a thread of its own, and what there is in it to ask for."""

    url: str
    token: str
    known: dict[str, list[str]]  #: values of parameters, headers and fields, by name


@pytest.fixture(scope="module")
def live(empty_sqlite: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    folder = tmp_path_factory.mktemp("live")
    (folder / "data").mkdir()
    shutil.copy(empty_sqlite, folder / "data" / "chancery.db")
    ready: Future[Live] = Future()
    loop, stopping = asyncio.new_event_loop(), asyncio.Event()
    thread = threading.Thread(
        target=loop.run_until_complete, args=(_serve(folder, ready, stopping),)
    )
    thread.start()
    yield ready.result(30)
    loop.call_soon_threadsafe(stopping.set)
    thread.join(30)
    loop.close()


async def _serve(folder: Path, ready: "Future[Live]", stopping: asyncio.Event) -> None:
    try:
        async with AsyncExitStack() as stack:
            practice = await stack.enter_async_context(
                PracticeNetwork(folder / "practice", limits=False)
            )
            KeyRing.create(folder / "keys" / "keys.json", origin="audit.karvenia.example/log1")
            hosts = (practice.mastodon_url, practice.bluesky_url)
            configured = Settings(
                data_dir=folder / "data",
                key_file=folder / "keys" / "keys.json",
                egress_allow=frozenset(address.split("//")[1] for address in hosts),
            )
            app = await stack.enter_async_context(
                application(configured, service="test", platforms=build, ringing=False)
            )
            world = await found_world(app, practice)
            await _grant_everything(world)
            runner = build_runner(app)
            await runner.setup()
            stack.push_async_callback(runner.cleanup)
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            host, port = runner.addresses[0][:2]
            tokens = await issue_tokens(world)
            known = await _known(world)
            ready.set_result(Live(url=f"http://{host}:{port}", token=tokens["zorc"], known=known))
            await stopping.wait()
    except BaseException as exc:
        if not ready.done():
            ready.set_exception(exc)
        raise


async def _grant_everything(world: World) -> None:
    """The one who asks may do all there is to do."""
    async with world.app.open_uow() as uow:
        root = await missions.find_root(uow)
        assert root is not None
        person = await persons.get_by_code(uow, "zorc")
        for role in (Role.ADMIN, Role.AUDITOR):
            grant = NewGrant(person="zorc", mission=root.code, role=role)
            await people.insert_bootstrap_grant(uow, person, root, grant)


async def _known(world: World) -> dict[str, list[str]]:
    async with world.app.open_uow() as uow:
        await sequencing.seal(uow, world.app.log_keys, owner="test")
    draft, waiting = await world.draft(), await world.submit(await world.draft())
    scheduled = await world.scheduled()
    posts = [str(post.id) for post in (draft, waiting, scheduled)]
    async with world.as_("hocevar") as (uow, actor):
        repeat = Repeat(rule="weekly MO 09:00", starts_on=date(2090, 6, 1), count=2)
        made = await series.repeat(uow, actor, draft.id, repeat)
    async with world.app.open_uow.read() as uow:
        grants = [
            str(grant.id)
            for grant, _, person in await persons.find_grants(uow)
            if person.code == "sato"
        ]
    return {
        "post_id": posts,
        "delivery_id": [str(each.id) for each in await world.deliveries(scheduled)],
        "account_id": [str(each) for each in world.accounts.values()],
        "grant_id": grants,
        "series_id": [str(made.id)],
        "rule": ["weekly MO 09:00", "monthly lastFR 02:30"],
        "code": ["sato"],
        "seq": ["0", "7"],
        "mission": ["krv.hq", "krv.kyi"],
        "parent": ["krv.hq"],
        "person": ["sato"],
        "zone": ["Europe/Ljubljana"],
        "digest": [str(waiting.digest)],
        "If-Match": ['"1"'],
        "files": [{"policy.yaml": POLICY_TEXT}],
        "facts": [{"topic": "rail", "alert.fields": ["place"]}],
        "from": ["2027-03-22"],
        "to": ["2027-03-29"],
    }


def _fuzz(live: Live, name: str, examples: int, mode: GenerationMode) -> None:
    schema = schemathesis.openapi.from_dict(DOCUMENT, config=REFUSALS)
    operation = schema.find_operation_by_id(name)

    @given(case=operation.as_strategy(generation_mode=mode), data=st.data())
    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    def ask(case: Any, data: st.DataObject) -> None:
        if mode is GenerationMode.POSITIVE:
            _use_what_is_there(live, case, data)
        if name == "connect_account" and isinstance(case.body, dict) and "base_url" in case.body:
            case.body["base_url"] = "http://127.0.0.1:9"  # no address of the world is asked
        authorized = {"Authorization": f"Bearer {live.token}"}
        response = case.call(base_url=live.url, headers=authorized, timeout=20)
        if response.status_code >= 500:
            assert response.json()["code"] == "platform_unavailable", response.text
        case.validate_response(response, checks=CHECKS)

    ask()


def _use_what_is_there(live: Live, case: Any, data: st.DataObject) -> None:
    """Ask for things that exist about half of the time, so that more than `not found` is answered."""
    for container in (case.path_parameters, case.query, case.headers, case.body):
        if isinstance(container, MutableMapping):
            for key in container.keys() & live.known.keys():
                if data.draw(st.booleans()):
                    container[key] = data.draw(st.sampled_from(live.known[key]))


@pytest.mark.parametrize("name", OPERATIONS)
def test_every_answer_is_one_that_the_document_names(live: Live, name: str) -> None:
    _fuzz(live, name, 14, GenerationMode.POSITIVE)


@pytest.mark.parametrize("name", TAKING_SOMETHING)
def test_what_the_document_does_not_allow_is_refused(live: Live, name: str) -> None:
    _fuzz(live, name, 8, GenerationMode.NEGATIVE)


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", OPERATIONS)
def test_every_answer_is_one_that_the_document_names_at_length(live: Live, name: str) -> None:
    _fuzz(live, name, 400, GenerationMode.POSITIVE)
    if name in TAKING_SOMETHING:
        _fuzz(live, name, 200, GenerationMode.NEGATIVE)


def test_the_document_is_served_and_is_openapi(live: Live) -> None:
    served = requests.get(f"{live.url}/api/v1/openapi.json", timeout=10).json()
    assert served["openapi"] == "3.1.0"
    assert served["paths"].keys() == DOCUMENT["paths"].keys()
    schemathesis.openapi.from_dict(served).validate()


def test_every_operation_has_a_name_of_its_own_a_summary_and_a_need() -> None:
    operations = [each for path in DOCUMENT["paths"].values() for each in path.values()]
    assert len({each["operationId"] for each in operations}) == len(operations) == len(ROUTES)
    for each in operations:
        assert each["summary"].endswith("."), each["operationId"]
        assert each["description"] != "Needs: ."
        assert min(map(int, each["responses"])) in {200, 201, 204}


def test_only_redeeming_a_code_needs_no_token() -> None:
    operations = [each for path in DOCUMENT["paths"].values() for each in path.values()]
    assert [each["operationId"] for each in operations if each.get("security") == []] == [
        "redeem_enrolment"
    ]


def test_every_reference_leads_somewhere() -> None:
    schemas = DOCUMENT["components"]["schemas"]
    text = json.dumps(DOCUMENT)
    found = {part.split('"')[0] for part in text.split('"$ref": "#/components/schemas/')[1:]}
    assert found <= schemas.keys()


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.name)
def test_a_route_that_changes_something_declares_how_it_is_kept_apart(route: Route) -> None:
    codes = {error.code for error in find_errors(route)}
    assert ("idempotency_key_reused" in codes) == route.is_repeatable
    assert ("if_match_missing" in codes) == route.if_match
    assert ("token_missing" in codes) == (route.name != "redeem_enrolment")


def test_every_refusal_that_the_document_names_is_provoked_by_a_test() -> None:
    named = {error.code for route in ROUTES for error in find_errors(route)}
    tests = "".join(path.read_text() for path in Path(__file__).parent.glob("test_api_*.py"))
    assert {code for code in named if f'"{code}"' not in tests} <= NOT_PROVOKED_HERE
