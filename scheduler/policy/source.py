"""Reading a policy's YAML files strictly: every value knows its file and line, and nothing means what it does not say.

Of YAML only plain data is read: no anchors, tags or merge keys, no key twice, nothing deeper than 16. A bare word is
text, but for `true`, `false`, `null` and numbers; so `no` is Norwegian and `2027-04-01` a date as it was written.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, NoReturn

import yaml

from scheduler.errors import InvalidError

MAX_FILE_BYTES: Final = 8 << 20
MAX_DEPTH: Final = 16

_WORDS: Final[Mapping[str, object]] = {"true": True, "false": False, "null": None, "": None}
_INTEGER: Final = re.compile(r"-?(?:0|[1-9]\d{0,15})")
_DECIMAL: Final = re.compile(r"-?(?:0|[1-9]\d{0,9})\.\d{1,6}")


class PolicyInvalidError(InvalidError):
    """The policy is refused as a whole; the message names file, line and field, and the policy in force stays."""

    code = "policy_invalid"


@dataclass(frozen=True, slots=True)
class Node:
    """A value with its place: a mapping, a list, or a scalar (str, int, float, bool or None)."""

    value: Any
    file: str
    line: int
    path: str = ""

    def refuse(self, reason: str) -> NoReturn:
        """Raise the refusal that names this place."""
        where = f"{self.file}:{self.line}"
        if self.path:
            where = f"{where}: {self.path}"
        raise PolicyInvalidError(
            f"{where}: {reason}", file=self.file, line=self.line, place=self.path
        )

    def items(self) -> Iterator[tuple[str, "Node"]]:
        """The entries of a mapping; refuses anything else."""
        if not isinstance(self.value, dict):
            self.refuse("must be a mapping of keys to values")
        yield from self.value.items()

    def elements(self) -> Iterator["Node"]:
        """The elements of a list; refuses anything else."""
        if not isinstance(self.value, list):
            self.refuse("must be a list")
        yield from self.value

    def fields(self, *, needed: frozenset[str], optional: frozenset[str]) -> dict[str, "Node"]:
        """The entries of a mapping whose keys are known."""
        found = dict(self.items())
        for key, node in found.items():
            if key not in needed | optional:
                known = ", ".join(sorted(needed | optional))
                node.refuse(f"unknown key {key[:60]!a}; known here: {known}")
        missing = sorted(needed - found.keys())
        if missing:
            self.refuse(f"needs the key {missing[0]}")
        return found

    def text(self, *, longest: int = 2_000) -> str:
        """A text that is not empty."""
        if not isinstance(self.value, str) or not self.value.strip():
            self.refuse("must be a text; put it in quotes if it looks like a number or true")
        if len(self.value) > longest:
            self.refuse(f"at most {longest} characters")
        return self.value

    def texts(self) -> tuple[str, ...]:
        """A text, or a list of texts."""
        if isinstance(self.value, str):
            return (self.text(),)
        found = tuple(node.text() for node in self.elements())
        if len(set(found)) < len(found):
            self.refuse("names something twice")
        return found

    def truth(self) -> bool:
        if not isinstance(self.value, bool):
            self.refuse("must be true or false")
        return self.value

    def plain(self) -> Any:  # noqa: ANN401 - JSON of any form
        """The value without its places."""
        if isinstance(self.value, dict):
            return {key: node.plain() for key, node in self.value.items()}
        if isinstance(self.value, list):
            return [node.plain() for node in self.value]
        return self.value


def node_of(value: object, file: str, path: str = "") -> Node:
    """Plain data (JSON) as nodes, for what does not come from YAML; its line is 1."""
    if isinstance(value, Mapping):
        inner: object = {
            str(key): node_of(each, file, f"{path}.{key}".lstrip("."))
            for key, each in value.items()
        }
    elif isinstance(value, list | tuple):
        inner = [node_of(each, file, f"{path}[{index}]") for index, each in enumerate(value)]
    else:
        inner = value
    return Node(inner, file, 1, path)


def read(file: str, text: str) -> Node:
    """Parse one YAML file.

    Raises:
        PolicyInvalidError: not YAML, or more than plain data.
    """
    if len(text) > MAX_FILE_BYTES:
        Node(None, file, 1).refuse(f"larger than {MAX_FILE_BYTES} characters")
    builder = _Builder(file)
    try:
        for event in yaml.parse(text, Loader=yaml.CSafeLoader):
            builder.take(event)
    except yaml.YAMLError as exc:
        mark = getattr(exc, "problem_mark", None)
        line = 1 if mark is None else mark.line + 1
        Node(None, file, line).refuse(f"not YAML: {getattr(exc, 'problem', None) or exc}")
    return builder.root or Node({}, file, 1)


@dataclass(slots=True)
class _Open:
    """A mapping or list whose end has not come yet."""

    node: Node
    key: str | None = None  #: of a mapping: the one whose value comes next

    def place(self) -> str:
        if isinstance(self.node.value, list):
            return f"{self.node.path}[{len(self.node.value)}]"
        return f"{self.node.path}.{self.key}".lstrip(".") if self.key is not None else ""


class _Builder:
    """Takes the events of the parser one by one, so that no nesting can exhaust the stack."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.root: Node | None = None
        self._open: list[_Open] = []

    def take(self, event: Any) -> None:  # noqa: ANN401 - the library has no types
        line = event.start_mark.line + 1
        match event:
            case yaml.AliasEvent():
                self._refuse(line, "anchors and aliases are not read; write the value again")
            case yaml.MappingStartEvent() | yaml.SequenceStartEvent():
                self._check(event, line)
                self._begin({} if isinstance(event, yaml.MappingStartEvent) else [], line)
            case yaml.MappingEndEvent() | yaml.SequenceEndEvent():
                self._add(self._open.pop().node)
            case yaml.ScalarEvent():
                self._check(event, line)
                self._scalar(event, line)
            case yaml.DocumentStartEvent() if self.root is not None:
                self._refuse(line, "a second document; one file holds one")

    def _check(self, event: Any, line: int) -> None:  # noqa: ANN401
        if event.anchor is not None:
            self._refuse(line, "anchors and aliases are not read; write the value again")
        if event.tag not in {None, "!"}:
            self._refuse(line, f"tags are not read: {event.tag}")

    def _begin(self, value: dict[str, Node] | list[Node], line: int) -> None:
        if (
            self._open
            and isinstance(self._open[-1].node.value, dict)
            and self._open[-1].key is None
        ):
            self._refuse(line, "a key must be a text")
        if len(self._open) >= MAX_DEPTH:
            self._refuse(line, f"nested deeper than {MAX_DEPTH}")
        place = self._open[-1].place() if self._open else ""
        self._open.append(_Open(Node(value, self.file, line, place)))

    def _scalar(self, event: Any, line: int) -> None:  # noqa: ANN401
        holder = self._open[-1] if self._open else None
        if holder is not None and isinstance(holder.node.value, dict) and holder.key is None:
            if event.value in holder.node.value:
                self._refuse(line, f"the key {event.value[:60]!a} is given twice")
            holder.key = event.value
            return
        place = holder.place() if holder else ""
        value = event.value if event.style else _resolve(event.value)
        self._add(Node(value, self.file, line, place))

    def _add(self, node: Node) -> None:
        if not self._open:
            self.root = node
            return
        holder = self._open[-1]
        if isinstance(holder.node.value, list):
            holder.node.value.append(node)
        else:
            holder.node.value[holder.key] = node
            holder.key = None

    def _refuse(self, line: int, reason: str) -> NoReturn:
        Node(None, self.file, line, self._open[-1].place() if self._open else "").refuse(reason)


def _resolve(text: str) -> object:
    """What a bare word means."""
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.fullmatch(text):
        return int(text)
    if _DECIMAL.fullmatch(text):
        return float(text)
    return text
