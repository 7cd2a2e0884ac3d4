"""Forms of single values, shared by what is sent and what is answered."""

from datetime import UTC, datetime
from typing import Annotated
from uuid import UUID

from pydantic import AfterValidator, AwareDatetime, Field, StringConstraints

from scheduler.db.tables import Person
from scheduler.domain.calendar import FIRST_YEAR, LAST_YEAR
from scheduler.domain.text import check_text
from scheduler.policy.clearance import OFFICE
from scheduler.web.routing import CODE, SHA256, Answer


def _clean(text: str) -> str:
    check_text(text, "text")
    return text


def _in_range(moment: datetime) -> datetime:
    if not FIRST_YEAR < moment.year < LAST_YEAR:
        raise ValueError(f"the year must be after {FIRST_YEAR} and before {LAST_YEAR}")
    return moment.astimezone(UTC)


Code = Annotated[str, StringConstraints(pattern=CODE)]
Language = Annotated[str, StringConstraints(pattern=r"^[a-z]{2,3}(-[A-Za-z0-9]{2,8}){0,3}$")]
PostClass = Annotated[str, StringConstraints(pattern=r"^[a-z]+(_[a-z]+){0,4}$", max_length=60)]
Zone = Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9_+/-]{0,63}$")]
Hash = Annotated[str, StringConstraints(pattern=SHA256)]
Digest = Annotated[str, StringConstraints(pattern=r"^sha256:[0-9a-f]{64}$")]
#: One line that people read: a name, a title.
Name = Annotated[str, StringConstraints(pattern=r"^\S([^\n\t]{0,198}\S)?$"), AfterValidator(_clean)]
#: A sentence that somebody has to give.
Reason = Annotated[str, StringConstraints(pattern=r"\S", max_length=500), AfterValidator(_clean)]
#: An office on which a workflow or a rule calls; empty: none.
Office = Annotated[str, StringConstraints(pattern=rf"^({OFFICE})?$", max_length=60)]
Note = Annotated[str, StringConstraints(max_length=2000), AfterValidator(_clean)]
Instant = Annotated[AwareDatetime, AfterValidator(_in_range)]
Languages = Annotated[tuple[Language, ...], Field(max_length=40)]


class PersonRef(Answer):
    id: UUID
    code: str
    name: str

    @classmethod
    def of(cls, person: Person) -> "PersonRef":
        return cls(id=person.id, code=person.code, name=person.name)
