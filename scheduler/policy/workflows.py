"""Workflows: which offices decide on which posts, and what happens when one of them is late.

```yaml
workflows:
  - id: statement
    title: Statements
    when: {class: [statement, joint_statement]}     # scheduler.policy.conditions; left out: every post
    steps:
      - {clear: desk_officer, within: 90, late: proceed}
      - {approve: spokesperson, within: 120, deputies: [press_supervisor]}
    inform: [head_of_mission]
break_glass: {by: spokesperson, quota: 2, days: 30}
```

The first whose condition holds is the post's; where none does, one supervisor approves.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from scheduler.policy.clearance import OFFICE, ONE_SUPERVISOR, Mode, Step
from scheduler.policy.comparing import Scope
from scheduler.policy.conditions import Condition, ConditionReader, Reading
from scheduler.policy.lists import NamedList
from scheduler.policy.source import Node

MAX_WORKFLOWS: Final = 100
MAX_STEPS: Final = 20
MAX_QUORUM: Final = 10
_MOST_MINUTES: Final = 60 * 24 * 30
_MOST_DAYS: Final = 366

_OFFICE: Final = re.compile(OFFICE)
_ID: Final = re.compile(r"[A-Za-z0-9]+(?:[._-][A-Za-z0-9]+){0,9}")
_WORKFLOW: Final = frozenset({"id", "title", "steps"})
_STEP: Final = frozenset({"clear", "approve", "quorum", "within", "late", "deputies"})
_BREAKING: Final = frozenset({"by", "quota", "days"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Workflow:
    id: str
    title: str
    when: Condition | None  #: None: every post
    steps: tuple[Step, ...]
    inform: tuple[str, ...]  #: offices that are told once it is approved


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakGlass:
    """Who may pass over the offices that have not cleared, and how often in the last so many days."""

    office: str
    quota: int
    days: int


#: Of a post that no workflow of the policy is for.
DEFAULT: Final = Workflow(
    id="", title="One supervisor", when=None, steps=(ONE_SUPERVISOR,), inform=()
)


def find_workflow(workflows: Iterable[Workflow], reading: Reading) -> int | None:
    """The place of the first workflow that is for the post."""
    for place, workflow in enumerate(workflows):
        if workflow.when is None or workflow.when.find(reading) is not None:
            return place
    return None


def read_workflows(
    nodes: Iterable[Node], scope: Scope, written: list[NamedList]
) -> tuple[Workflow, ...]:
    """Read the section; terms that stand in a condition become lists, which are added to `written`."""
    found: list[Workflow] = []
    for node in nodes:
        if len(found) == MAX_WORKFLOWS:
            node.refuse(f"more than {MAX_WORKFLOWS} workflows")
        found.append(_read_workflow(node, scope, written))
        if found[-1].id in {each.id for each in found[:-1]}:
            node.refuse(f"the id {found[-1].id} is given twice")
        if len(found) > 1 and found[-2].when is None:
            node.refuse(f"never asked: {found[-2].id}, before it, is for every post")
    return tuple(found)


def _read_workflow(node: Node, scope: Scope, written: list[NamedList]) -> Workflow:
    found = node.fields(needed=_WORKFLOW, optional=frozenset({"when", "inform"}))
    name = found["id"].text()
    if not _ID.fullmatch(name):
        found["id"].refuse("an id is letters and digits with . _ - between them")
    nodes = list(found["steps"].elements())
    if len(nodes) > MAX_STEPS:
        nodes[MAX_STEPS].refuse(f"more than {MAX_STEPS} steps")
    steps = tuple(_read_step(each) for each in nodes)
    if not any(each.mode is Mode.APPROVE for each in steps):
        found["steps"].refuse("needs a step that approves: nothing is public that nobody approved")
    reader = ConditionReader(f"workflow:{name}", scope, written)
    return Workflow(
        id=name,
        title=found["title"].text(),
        when=reader.read(found["when"]) if "when" in found else None,
        steps=steps,
        inform=tuple(_offices(found["inform"])) if "inform" in found else (),
    )


def _read_step(node: Node) -> Step:
    found = node.fields(needed=frozenset(), optional=_STEP)
    if ("clear" in found) == ("approve" in found):
        node.refuse("needs `clear` or `approve` with the offices that do so")
    mode = Mode.CLEAR if "clear" in found else Mode.APPROVE
    late = found["late"].text() if "late" in found else "wait"
    if late not in {"wait", "proceed"}:
        found["late"].refuse("must be wait or proceed")
    if late == "proceed" and mode is Mode.APPROVE:
        found["late"].refuse("a step that approves cannot be passed over")
    if ("late" in found or "deputies" in found) and "within" not in found:
        node.refuse("`late` and `deputies` need `within`, the minutes after which it is late")
    return Step(
        mode=mode,
        offices=frozenset(_offices(found[mode.value])),
        quorum=_whole(found, "quorum", default=1, most=MAX_QUORUM),
        within=timedelta(minutes=_whole(found, "within", default=1, most=_MOST_MINUTES))
        if "within" in found
        else None,
        proceeds=late == "proceed",
        deputies=frozenset(_offices(found["deputies"])) if "deputies" in found else frozenset(),
    )


def read_break_glass(node: Node) -> BreakGlass:
    found = node.fields(needed=_BREAKING, optional=frozenset())
    return BreakGlass(
        office=_office(found["by"]),
        quota=_whole(found, "quota", default=1, most=100),
        days=_whole(found, "days", default=1, most=_MOST_DAYS),
    )


def _offices(node: Node) -> list[str]:
    nodes = list(node.elements()) if isinstance(node.value, list) else [node]
    if not nodes:
        node.refuse("needs at least one office")
    return [_office(each) for each in nodes]


def _office(node: Node) -> str:
    name = node.text(longest=60)
    if not _OFFICE.fullmatch(name):
        node.refuse("an office is named in small letters and digits with . _ - between them")
    return name


def _whole(found: Mapping[str, Node], key: str, *, default: int, most: int) -> int:
    if key not in found:
        return default
    value = found[key].value
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= most:
        found[key].refuse(f"must be a whole number from 1 to {most}")
    return int(value)
