"""One measurement as one line of JSON."""

import json
from dataclasses import asdict, dataclass
from typing import Self


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """`ratio` is `value` to `limit`, the least code for the same work in the same run, in the same unit."""

    name: str
    value: float
    unit: str
    cpu_us: dict[str, int]  #: of each piece of work, by process
    limit: float
    ratio: float

    @classmethod
    def of(cls, name: str, value: float, limit: float, unit: str, cpu_us: dict[str, int]) -> Self:
        return cls(
            name=name,
            value=round(value, 1),
            unit=unit,
            cpu_us=cpu_us,
            limit=round(limit, 1),
            ratio=round(value / limit, 3),
        )

    def __str__(self) -> str:
        return json.dumps(asdict(self))
