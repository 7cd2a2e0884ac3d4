"""Many posts at once, from a list that somebody keeps elsewhere."""

from typing import Annotated, Final
from uuid import UUID

from pydantic import Field

from scheduler.db.rules import PolicyChangedError
from scheduler.services import importing
from scheduler.services.importing import Brought, Fate, Row
from scheduler.web.api.fields import Name
from scheduler.web.api.post_answers import FindingAnswer, ProblemAnswer
from scheduler.web.api.post_forms import DraftBody
from scheduler.web.parsing import Input
from scheduler.web.routing import Answer, Route, Step, post

MOST_ROWS: Final = 50


class ImportRow(DraftBody):
    """`ref`: what the list calls the row; the same name of the same mission is the same post."""

    ref: Annotated[Name, Field(max_length=100)]


class ImportBody(Input):
    """`only_try`: report on every row as if it were drafted, and write nothing."""

    posts: Annotated[list[ImportRow], Field(min_length=1, max_length=MOST_ROWS)]
    only_try: bool = False


class RefusalAnswer(Answer):
    code: str
    message: str


class ImportLine(Answer):
    """What became of a row; what a `drafted` one lacks or a policy says of it is mended in the draft."""

    ref: str
    fate: Fate
    post: UUID | None  #: null: refused, or only tried
    refusal: RefusalAnswer | None
    problems: list[ProblemAnswer]
    findings: list[FindingAnswer]

    @classmethod
    def of(cls, brought: Brought) -> "ImportLine":
        refusal = brought.refusal
        return cls(
            ref=brought.ref,
            fate=brought.fate,
            post=brought.post_id,
            refusal=refusal and RefusalAnswer(code=refusal.code, message=str(refusal)),
            problems=[ProblemAnswer.of(flaw) for flaw in brought.flaws],
            findings=[FindingAnswer.of(finding) for finding in brought.findings],
        )


class ImportAnswer(Answer):
    items: list[ImportLine]  #: in the order of the rows


async def import_posts(step: Step, body: ImportBody) -> ImportAnswer:
    """Draft each row that is not there yet, and say of every one what stands in its way."""
    rows = [
        Row(ref=each.ref, mission=each.mission, writing=each.as_writing()) for each in body.posts
    ]
    brought = await importing.bring_in(
        step.uow, step.app.kit, step.actor, rows, only_try=body.only_try
    )
    return ImportAnswer(items=[ImportLine.of(each) for each in brought])


ROUTES: Final[tuple[Route, ...]] = (
    post("/imports", import_posts, "write, at each row's mission", errors=(PolicyChangedError,)),
)
