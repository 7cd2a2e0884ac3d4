"""What one run is: a seed, a class of platform, the faults to come, and the rules switched off."""

from dataclasses import dataclass, replace
from random import Random

from tests.simulation.faults import CELLS, Fault, Kind, Point, Strike, plan_any, plan_cell

_SCENES = ("text", "text", "text", "pair", "pair", "thread", "media")


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    seed: int
    kind: Kind
    scene: str
    strikes: tuple[Strike, ...]
    point: Point | None = None  #: of the grid's cell, when the run belongs to one
    fault: Fault | None = None
    ablated: frozenset[str] = frozenset()
    quiet: bool = False  #: no chance events beside the strikes; the shrinker tries it
    renews: bool = False  #: the session has ended when the run begins
    patient: bool = False  #: servers wait for ever for a request on an open connection

    drawn: bool = True  #: all of it follows from the seed; else it is spelled out

    @property
    def command(self) -> str:
        """Replays this run."""
        words = [f"python -m tests.simulation --seed {self.seed} --class {self.kind}"]
        if self.fault is not None:
            words.append(f"--point {self.point} --fault {self.fault}")
        if not self.drawn:
            words.append(
                f"--scene {self.scene} --strikes {','.join(map(str, self.strikes)) or 'none'}"
            )
        words += ["--quiet"] * self.quiet + ["--patient"] * self.patient
        words += [f"--ablate {rule}" for rule in sorted(self.ablated)]
        return " ".join(words)


def make_case(
    seed: int,
    *,
    kind: Kind | None = None,
    point: Point | None = None,
    fault: Fault | None = None,
    ablated: frozenset[str] = frozenset(),
    patient: bool = False,
) -> Case:
    """The run of this seed: in the named cell, or anywhere."""
    rng = Random(f"case {seed} {point} {fault}")
    drawn = rng.choice(tuple(Kind))
    if point is not None and fault is not None:
        strikes = plan_cell(point, fault, rng)
    else:
        strikes = tuple(plan_any(rng) for _ in range(rng.choice((0, 1, 1, 1, 2, 2, 3))))
    points = {strike.point for strike in strikes}
    scene = rng.choice(_SCENES)
    if points & {Point.DURING_UPLOAD, Point.AFTER_CONTAINER}:
        scene = "media"
    return Case(
        seed=seed,
        kind=kind or drawn,
        scene=scene,
        strikes=strikes,
        point=point,
        fault=fault,
        ablated=ablated,
        renews=Point.DURING_REFRESH in points or rng.random() < 0.1,
        patient=patient,
    )


def spell_out(
    case: Case, seed: int, strikes: tuple[Strike, ...], scene: str, *, quiet: bool
) -> Case:
    """The run of another seed with these faults instead of the drawn ones."""
    drawn = make_case(
        seed,
        kind=case.kind,
        point=case.point,
        fault=case.fault,
        ablated=case.ablated,
        patient=case.patient,
    )
    return replace(drawn, strikes=strikes, scene=scene, quiet=quiet, drawn=False)


def cell_of(number: int) -> tuple[Kind, Point, Fault]:
    """The cells in turn: run after run walks through the whole grid."""
    return CELLS[number % len(CELLS)]
