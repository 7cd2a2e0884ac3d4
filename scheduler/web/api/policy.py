"""The policy: read the one in force, check and try another, put it in force."""

import asyncio
from datetime import datetime
from typing import Annotated, Final, Literal
from uuid import UUID

from pydantic import Field, StringConstraints

from scheduler.db.posts import count_left_and_queued
from scheduler.db.rules import PROPOSAL_LIFETIME, PolicyChangedError
from scheduler.db.tables import PolicyVersion
from scheduler.domain.post_flow import PostState
from scheduler.domain.text import MAX_TEXT_LENGTH
from scheduler.errors import NotFoundError
from scheduler.policy.bundle import open_policy, pack, unpack
from scheduler.policy.declaring import read_facts
from scheduler.policy.evaluation import Row, evaluate, explain
from scheduler.policy.rules import MAX_FILES, Effect, Policy
from scheduler.policy.source import PolicyInvalidError, node_of
from scheduler.services import policies, trials
from scheduler.services.people import SecondAdminError
from scheduler.services.policies import PolicyUnchangedError
from scheduler.services.trials import Difference, Found
from scheduler.web.api.fields import Language, PostClass
from scheduler.web.api.post_answers import FindingAnswer
from scheduler.web.api.post_forms import Fact, FactValue
from scheduler.web.api.posts import RuleLine
from scheduler.web.paging import Page, Paging, page_of
from scheduler.web.parsing import MAX_JSON_BYTES, Input
from scheduler.web.routing import Answer, Route, Step, Unit, get, post

FileName = Annotated[str, StringConstraints(min_length=1, max_length=110)]
#: The texts of a policy's files, by name.
Files = Annotated[
    dict[FileName, Annotated[str, StringConstraints(max_length=MAX_JSON_BYTES)]],
    Field(min_length=1, max_length=MAX_FILES),
]


class PolicyBody(Input):
    files: Files


class TryBody(Input):
    """A text to be judged, by the policy in force or by the one in `files`."""

    files: Files | None = None
    text: Annotated[str, StringConstraints(min_length=1, max_length=MAX_TEXT_LENGTH)]
    language: Language
    post_class: Annotated[PostClass, Field(alias="class")] = "routine"
    facts: Annotated[dict[Fact, FactValue], Field(max_length=60, default_factory=dict)]


class CompareBody(Input):
    """A proposed policy, and after which post to go on."""

    files: Files
    cursor: UUID | None = None
    limit: Annotated[int, Field(ge=1, le=1_000)] = 500


class RuleEffect(Answer):
    rule: str
    effect: Effect


class DifferenceAnswer(Answer):
    """A post that the proposed policy judges in another way than the one in force."""

    post: UUID
    title: str
    state: PostState
    gained: list[RuleEffect]
    lost: list[RuleEffect]


class CompareAnswer(Answer):
    version: str
    digest: str
    posts: int  #: judged in this answer
    total: int  #: judged when the last answer is there
    items: list[DifferenceAnswer]
    next: UUID | None


class PolicyAnswer(Answer):
    version: str
    digest: str
    activated_at: datetime
    files: dict[str, str]


class ProposalAnswer(Answer):
    """A policy that waits for a second admin."""

    id: UUID
    version: str
    digest: str
    proposed_by: str
    proposed_at: datetime
    until: datetime


class ProposedFiles(Answer):
    version: str
    digest: str
    files: dict[str, str]


class VacancyAnswer(Answer):
    """Offices of which nobody holds any: what they are asked about waits."""

    offices: list[str]
    asked_by: str


class ActivationAnswer(Answer):
    """Whether the policy is in force, or waits for a second admin to ask for the same."""

    state: Literal["active", "proposed"]
    version: str
    digest: str
    since: datetime
    reopened: list[UUID]
    vacancies: list[VacancyAnswer]


class CheckAnswer(Answer):
    ok: bool
    version: str
    digest: str
    rules: int
    examples: int


class TryAnswer(Answer):
    version: str
    digest: str
    findings: list[FindingAnswer]
    rules: list[RuleLine]


async def show_policy(step: Step) -> PolicyAnswer:
    """The policy in force, as it was written."""
    return _answer(await policies.get_active(step.uow))


async def check_policy(step: Step, body: PolicyBody) -> CheckAnswer:  # noqa: ARG001 - anybody may check
    """Read a policy's files strictly, without putting them in force."""
    policy = await asyncio.to_thread(Policy.load, body.files)
    return CheckAnswer(
        ok=True,
        version=policy.version,
        digest=policy.digest,
        rules=len(policy.rules),
        examples=sum(len(rule.examples) for rule in policy.rules),
    )


async def activate_policy(step: Step, body: PolicyBody) -> ActivationAnswer:
    """Propose a policy, or put in force what another admin has proposed.

    What it forbids of the posts already approved will be held; what cites a line-to-take that has changed is a draft
    again (`reopened`).
    """
    packed = await asyncio.to_thread(pack, body.files)
    done = await policies.activate(step.uow, step.actor, packed)
    active, proposal = done.active, done.proposal
    return ActivationAnswer(
        state="proposed" if active is None else "active",
        version=proposal.version,
        digest=proposal.digest,
        since=proposal.proposed_at if active is None else active.activated_at,
        reopened=[post.id for post in done.reopened],
        vacancies=[
            VacancyAnswer(offices=list(each.offices), asked_by=each.asked_by)
            for each in done.vacancies
        ],
    )


async def list_policy_proposals(step: Step, query: Paging) -> Page[ProposalAnswer]:
    """The policies that wait for a second admin, oldest first."""
    found = await policies.find_proposals(step.uow)
    shown, cursor = page_of(found, query, lambda each: each[0].id)
    items = [
        ProposalAnswer(
            id=each.id,
            version=each.version,
            digest=each.digest,
            proposed_by=name,
            proposed_at=each.proposed_at,
            until=each.proposed_at + PROPOSAL_LIFETIME,
        )
        for each, name in shown
    ]
    return Page(items=items, next=cursor)


async def show_policy_proposal(step: Step) -> ProposedFiles:
    """A policy that waits for a second admin, as it was written."""
    found = await policies.get_proposal(step.uow, step.uuid("proposal_id"))
    return ProposedFiles(
        version=found.version, digest=found.digest, files=unpack(bytes(found.body))
    )


async def try_policy(step: Step, body: TryBody) -> TryAnswer:
    """What a policy says of a text, rule by rule."""
    active = await policies.get_active(step.uow)
    if body.files is None:
        policy = open_policy(active.body)
    else:  # it takes a second or more when it is large; others are answered meanwhile
        policy = await asyncio.to_thread(Policy.load, body.files)
    facts = read_facts(
        node_of(
            {
                "publish_at": step.uow.now.isoformat(),
                **body.facts,
                "text": body.text,
                "language": body.language,
                "class": body.post_class,
            },
            "facts",
        )
    )
    return TryAnswer(
        version=policy.version,
        digest=policy.digest,
        findings=[FindingAnswer.of(finding) for finding in evaluate(policy, facts)],
        rules=[build_rule_line(row) for row in explain(policy, facts)],
    )


async def compare_policy(step: Step, body: CompareBody) -> CompareAnswer:
    """Judge what went out and what waits by a proposed policy and by the one in force: some posts an answer."""
    packed = await asyncio.to_thread(pack, body.files)
    proposed = open_policy(packed)
    stretch = await trials.try_on_posts(
        step.uow, step.actor, proposed, after=body.cursor, limit=body.limit
    )
    return CompareAnswer(
        version=proposed.version,
        digest=proposed.digest,
        posts=stretch.posts,
        total=await count_left_and_queued(step.uow),
        items=[_difference(each) for each in stretch.differences],
        next=stretch.last,
    )


def _difference(found: Difference) -> DifferenceAnswer:
    return DifferenceAnswer(
        post=found.post.id,
        title=found.post.title,
        state=PostState(found.post.state),
        gained=_effects(found.gained),
        lost=_effects(found.lost),
    )


def _effects(found: Found) -> list[RuleEffect]:
    return [RuleEffect(rule=rule, effect=effect) for rule, effect in sorted(found)]


def build_rule_line(row: Row) -> RuleLine:
    return RuleLine(
        rule=row.rule, version=row.version, effect=row.effect, outcome=row.outcome, why=row.why
    )


def _answer(row: PolicyVersion) -> PolicyAnswer:
    return PolicyAnswer(
        version=row.version,
        digest=row.digest,
        activated_at=row.activated_at,
        files=unpack(bytes(row.body)),
    )


ROUTES: Final[tuple[Route, ...]] = (
    get("/policy", show_policy, "any token", errors=(PolicyChangedError,)),
    post("/policy/check", check_policy, "any token", unit=Unit.READ, errors=(PolicyInvalidError,)),
    post(
        "/policy",
        activate_policy,
        "manage, at the headquarters",
        errors=(NotFoundError, PolicyInvalidError, PolicyUnchangedError, SecondAdminError),
    ),
    get("/policy/proposals", list_policy_proposals, "any token"),
    get(
        "/policy/proposals/{proposal_id}",
        show_policy_proposal,
        "any token",
        errors=(NotFoundError,),
    ),
    post(
        "/policy/compare",
        compare_policy,
        "read, at the headquarters",
        unit=Unit.READ,
        errors=(NotFoundError, PolicyInvalidError, PolicyChangedError),
    ),
    post(
        "/policy/test",
        try_policy,
        "any token",
        unit=Unit.READ,
        errors=(PolicyInvalidError, PolicyChangedError),
    ),
)
