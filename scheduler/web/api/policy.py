"""The policy: read the one in force, check and try another, put it in force."""

import asyncio
from datetime import datetime
from typing import Annotated, Final

from pydantic import Field, StringConstraints

from scheduler.db.rules import PolicyChangedError
from scheduler.db.tables import PolicyVersion
from scheduler.domain.text import MAX_TEXT_LENGTH
from scheduler.errors import NotFoundError
from scheduler.policy.bundle import open_policy, pack, unpack
from scheduler.policy.declaring import read_facts
from scheduler.policy.evaluation import Row, evaluate, explain
from scheduler.policy.rules import MAX_FILES, Policy
from scheduler.policy.source import PolicyInvalidError, node_of
from scheduler.services import policies
from scheduler.services.policies import PolicyUnchangedError
from scheduler.web.api.fields import Language, PostClass
from scheduler.web.api.post_answers import FindingAnswer
from scheduler.web.api.post_forms import Fact, FactValue
from scheduler.web.api.posts import RuleLine
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


class PolicyAnswer(Answer):
    version: str
    digest: str
    activated_at: datetime
    files: dict[str, str]


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


async def activate_policy(step: Step, body: PolicyBody) -> PolicyAnswer:
    """Put a policy in force; what it forbids of the posts already approved will be held."""
    packed = await asyncio.to_thread(pack, body.files)
    return _answer(await policies.activate(step.uow, step.actor, packed))


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
        errors=(NotFoundError, PolicyInvalidError, PolicyUnchangedError),
    ),
    post(
        "/policy/test",
        try_policy,
        "any token",
        unit=Unit.READ,
        errors=(PolicyInvalidError, PolicyChangedError),
    ),
)
