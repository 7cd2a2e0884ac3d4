"""Posts: write, edit, submit, withdraw, cancel, schedule, and see what stands in the way."""

from typing import Final

from scheduler.db import posts as rows
from scheduler.db.posts import StaleStateError
from scheduler.db.rules import PolicyChangedError
from scheduler.domain.calendar import (
    LocalTimeFoldError,
    LocalTimeGapError,
    TimeInvalidError,
    TimeOutOfRangeError,
    TimeZoneUnknownError,
)
from scheduler.domain.post_flow import IllegalMoveError, PostState
from scheduler.domain.text import TextBidiError, TextControlError, TextTagError
from scheduler.errors import NotFoundError
from scheduler.policy.evaluation import Outcome
from scheduler.policy.rules import Effect
from scheduler.services import approvals, explaining, posts
from scheduler.services.campaigns import CampaignClosedError, CampaignUnknownError
from scheduler.services.judging import (
    AcceptanceMissingError,
    NothingToAcceptError,
    PolicyBlockedError,
)
from scheduler.services.posts import DeliveryStartedError, RevisionStaleError, TargetsMissingError
from scheduler.services.rendering import ContentUnfitError, MediaUnknownError, TextMissingError
from scheduler.services.writing import (
    AccountUnknownError,
    TargetDeniedError,
    TargetsTooManyError,
    TimeMissingError,
    TimePastError,
)
from scheduler.web.api.persons import NoBody
from scheduler.web.api.post_answers import (
    PostAnswer,
    PostLine,
    ProblemAnswer,
    build_lines,
    build_post,
)
from scheduler.web.api.post_forms import DraftBody, SubmitBody, WritingBody
from scheduler.web.paging import Page, Paging, cut
from scheduler.web.routing import Answer, Route, Step, get, patch, post


class PostsQuery(Paging):
    state: PostState | None = None


class RuleLine(Answer):
    """One rule of the policy in force, and why it applied or not."""

    rule: str
    version: str
    effect: Effect
    outcome: Outcome
    why: str


class HindranceAnswer(Answer):
    account: str | None
    code: str
    message: str


class ExplainAnswer(Answer):
    findings: list[RuleLine]
    problems: list[ProblemAnswer]
    obstacles: list[HindranceAnswer]


async def list_posts(step: Step, query: PostsQuery) -> Page[PostLine]:
    """The posts in sight, newest first."""
    found = await rows.find_page(
        step.uow, step.actor, state=query.state, before=query.cursor, limit=query.limit + 1
    )
    shown, cursor = cut(found, query.limit, lambda each: each.id)
    return Page(items=await build_lines(step.uow, shown), next=cursor)


async def draft_post(step: Step, body: DraftBody) -> PostAnswer:
    """Write a new post; nothing has to be complete before it is submitted."""
    drafted = await posts.draft(step.uow, step.actor, body.mission, body.as_writing())
    return await build_post(step.uow, step.app.kit, step.actor, drafted.id)


async def show_post(step: Step) -> PostAnswer:
    """A post with everything that would be public, and all that is wrong with it."""
    return await build_post(step.uow, step.app.kit, step.actor, step.uuid("post_id"))


async def edit_post(step: Step, body: WritingBody) -> PostAnswer:
    """Change a post, which makes every approval of it void."""
    post_id = step.uuid("post_id")
    writing = body.as_writing()
    await posts.edit(step.uow, step.actor, post_id, writing, revision=step.revision)
    return await build_post(step.uow, step.app.kit, step.actor, post_id)


async def submit_post(step: Step, body: SubmitBody) -> PostAnswer:
    """Render every payload, check everything, and put the digest before those who decide."""
    post_id = step.uuid("post_id")
    await posts.submit(
        step.uow,
        step.app.kit,
        step.actor,
        post_id,
        revision=step.revision,
        accepted=body.accept,
    )
    return await build_post(step.uow, step.app.kit, step.actor, post_id)


async def withdraw_post(step: Step, body: NoBody) -> PostAnswer:  # noqa: ARG001 - an empty body is checked
    """Take a post back to draft before anything of it has left."""
    post_id = step.uuid("post_id")
    await posts.withdraw(step.uow, step.actor, post_id, revision=step.revision)
    return await build_post(step.uow, step.app.kit, step.actor, post_id)


async def cancel_post(step: Step, body: NoBody) -> PostAnswer:  # noqa: ARG001 - an empty body is checked
    """End a post; what is public stays public."""
    post_id = step.uuid("post_id")
    await posts.cancel(step.uow, step.actor, post_id, revision=step.revision)
    return await build_post(step.uow, step.app.kit, step.actor, post_id)


async def schedule_post(step: Step, body: NoBody) -> PostAnswer:  # noqa: ARG001 - an empty body is checked
    """Let an approved post go at its time."""
    post_id = step.uuid("post_id")
    await approvals.schedule(step.uow, step.actor, post_id, revision=step.revision)
    return await build_post(step.uow, step.app.kit, step.actor, post_id)


async def explain_post(step: Step) -> ExplainAnswer:
    """Every rule with its reason, and what stands between the post and publication now."""
    post_id = step.uuid("post_id")
    found = await explaining.explain_post(step.uow, step.app.kit, step.actor, post_id)
    return ExplainAnswer(
        findings=[
            RuleLine(
                rule=row.rule,
                version=row.version,
                effect=row.effect,
                outcome=row.outcome,
                why=row.why,
            )
            for row in found.rows
        ],
        problems=[ProblemAnswer.of(flaw) for flaw in found.flaws],
        obstacles=[
            HindranceAnswer(account=each.account, code=each.code, message=each.message)
            for each in found.hindrances
        ],
    )


_NEEDS: Final = "write, at the post's mission"
_WRITING: Final = (
    NotFoundError,
    TextControlError,
    TextBidiError,
    TextTagError,
    AccountUnknownError,
    TargetsTooManyError,
    CampaignUnknownError,
    CampaignClosedError,
    TimeInvalidError,
    TimePastError,
    LocalTimeGapError,
    LocalTimeFoldError,
    TimeZoneUnknownError,
    TimeOutOfRangeError,
)
_MOVING: Final = (NotFoundError, IllegalMoveError, StaleStateError, RevisionStaleError)
ROUTES: Final[tuple[Route, ...]] = (
    get("/posts", list_posts),
    post("/posts", draft_post, "write, at the mission", status=201, errors=_WRITING),
    get("/posts/{post_id}", show_post, errors=(NotFoundError,)),
    patch(
        "/posts/{post_id}",
        edit_post,
        _NEEDS,
        if_match=True,
        errors=(
            *_WRITING,
            IllegalMoveError,
            RevisionStaleError,
            DeliveryStartedError,
            TargetDeniedError,
        ),
    ),
    post(
        "/posts/{post_id}/submit",
        submit_post,
        _NEEDS,
        if_match=True,
        errors=(
            *_MOVING,
            TargetDeniedError,
            TargetsMissingError,
            TimeMissingError,
            TimePastError,
            TextMissingError,
            MediaUnknownError,
            ContentUnfitError,
            PolicyBlockedError,
            AcceptanceMissingError,
            NothingToAcceptError,
            PolicyChangedError,
        ),
    ),
    post(
        "/posts/{post_id}/withdraw",
        withdraw_post,
        _NEEDS,
        if_match=True,
        errors=(*_MOVING, DeliveryStartedError),
    ),
    post(
        "/posts/{post_id}/cancel",
        cancel_post,
        _NEEDS,
        if_match=True,
        errors=(*_MOVING, DeliveryStartedError),
    ),
    post(
        "/posts/{post_id}/schedule",
        schedule_post,
        _NEEDS,
        if_match=True,
        errors=(*_MOVING, TimePastError),
    ),
    get("/posts/{post_id}/explain", explain_post, errors=(NotFoundError, PolicyChangedError)),
)
