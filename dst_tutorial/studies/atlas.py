"""The atlas: a short truly sparse training at every point of a grid of choices, from five seeds each.

`python -m dst_tutorial sweep atlas` does the trainings and keeps of each point what a slider shows: mean and spread
over the seeds. `train_point` trains a point anew, from any seed, by the same lines.
"""

import itertools
import json
import statistics
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy import stats

from ..paths import reading, results_folder, write
from ..training import Dataset, Epoch, LeNet300100, Recipe, Run, load_mnist_6000, train
from .fingerprint import fingerprint


class Point(NamedTuple):
    """A choice of everything that the DST explorer can vary."""

    sparsity: float = 0.95
    update_interval: int | None = 20  # steps; None: the mask never moves
    drop_fraction: float = 0.3
    grow: str = "gradient"
    allocation: str = "erk"
    init: str = "fan_in"

    def named(self) -> "Point":
        """Itself; where the mask never moves, the one point that stands for all ways not to move it."""
        return self if self.update_interval else self._replace(drop_fraction=0.3, grow="gradient")

    @property
    def static(self) -> "Point":
        """Its control: the same start, and a mask that never moves."""
        return self._replace(update_interval=None).named()


CHOICES = {
    "sparsity": (0.8, 0.9, 0.95, 0.98, 0.99, 0.995),
    "update_interval": (5, 20, 100, None),
    "drop_fraction": (0.1, 0.3, 0.5),
    "grow": ("random", "gradient"),
    "allocation": ("uniform", "erk"),
    "init": ("dense", "fan_in"),
}
POINTS = tuple(dict.fromkeys(Point(*chosen).named() for chosen in itertools.product(*CHOICES.values())))
SEEDS = (300, 301, 302, 303, 304)
EPOCHS = 8
BAND = 0.95  # of further runs


def recipe_of(point: Point) -> Recipe:
    """How a point is trained, at whatever sparsity."""
    moves = point.update_interval is not None
    return Recipe(
        "atlas " + " ".join(map(str, point.named()[1:])),
        "a point of the atlas",
        {"allocation": point.allocation, "init": point.init},
        "RigL" if moves else "static",
        {name: getattr(point, name) for name in ("update_interval", "drop_fraction", "grow")} if moves else {},
        learning_rate=2e-3,
        learning_rate_schedule="cosine",
    )


RECIPES = tuple({recipe.name: recipe for recipe in map(recipe_of, POINTS)}.values())


def train_point(point: Point, seed: int, data: Dataset | None = None,
                on_epoch: Callable[[Epoch], bool | None] | None = None) -> Run:  # fmt: skip
    """Train a point, truly sparse. `data` are the first 6,000 images of MNIST if not given; `on_epoch` is `fit`'s."""
    return train(
        recipe_of(point),
        data or load_mnist_6000(),
        network=LeNet300100,
        epochs=EPOCHS,
        sparsity=point.sparsity,
        seed=seed,
        progress=False,
        backend="sparse",
        on_epoch=on_epoch,
    )


# --- what is kept -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Entry:
    """A point's trainings: test accuracy (%) and shares in [0, 1]."""

    mean: tuple[float, ...]  # accuracy by epoch, over seeds
    sd: tuple[float, ...]  # sample standard deviation
    final: tuple[float, ...]  # accuracy after the last epoch, by seed
    explored: float  # share of all positions that were active at some time (R_s), mean over seeds
    kept: float  # share of the first connections that are active in the end
    updates: float  # that moved something

    @property
    def band(self) -> tuple[list[float], list[float]]:
        """Where a further run lands, in 95 of 100 cases, by epoch: Student's prediction interval, ends in [0, 100]."""
        seeds = len(self.final)
        times = stats.t.ppf((1 + BAND) / 2, seeds - 1) * (1 + 1 / seeds) ** 0.5
        pairs = list(zip(self.mean, self.sd, strict=True))
        return [max(0.0, m - times * sd) for m, sd in pairs], [min(100.0, m + times * sd) for m, sd in pairs]


@dataclass(frozen=True)
class Atlas:
    """The recorded points, and where they come from."""

    points: Mapping[Point, Entry]
    about: dict  # of all runs: code, behind, date, cpu, torch, threads

    @property
    def is_stale(self) -> bool:
        """Has the code that these numbers come from changed since?"""
        return self.about["behind"] != fingerprint()


def condense(runs: Iterable[Mapping], file: Path | None = None) -> Path:
    """Write what is kept of the runs of the experiment `atlas`: 5 seeds x 456 points in some hundred kilobytes."""
    found: dict[Point, list[Mapping]] = {}
    for run in runs:
        found.setdefault(_point_of(run["config"]), []).append(run)
    lines = []
    for point in POINTS:
        curves = np.array([[epoch["test_accuracy"] for epoch in run["epochs"]] for run in found[point]])
        entry = {
            "mean": curves.mean(0).round(3).tolist(),
            "sd": curves.std(0, ddof=1).round(3).tolist(),
            "final": curves[:, -1].round(3).tolist(),
            "explored": round(statistics.mean(run["exploration_rate"] for run in found[point]), 5),
            "kept": round(statistics.mean(run["overlap_with_start"] for run in found[point]), 5),
            "updates": statistics.mean(run["updates"] for run in found[point]),
        }
        lines.append(json.dumps({"point": point, **entry}))
    sources = [run["provenance"] for runs_of in found.values() for run in runs_of]
    about = {
        key: "; ".join(sorted({str(source[key]) for source in sources})) for key in ("code", "date", "cpu", "torch")
    }
    about |= {"seeds": SEEDS, "epochs": EPOCHS, "behind": fingerprint()}
    file, points = file or results_folder() / "atlas.json", ",\n".join(lines)
    write(file, f'{{"about": {json.dumps(about)}, "points": [\n{points}\n]}}\n'.encode())
    return file


def _point_of(config: Mapping) -> Point:
    recipe = config["recipe"]
    chosen = recipe["topology"] | recipe["sparsify"]
    moves = recipe["algorithm"] != "static"
    names = Point._fields[1:] if moves else ("allocation", "init")
    point = Point(config["sparsity"], **{name: chosen[name] for name in names})
    return point if moves else point.static


def load_atlas(file: Path | None = None) -> Atlas:
    """The atlas that ships with the package. FileNotFoundError says how to make it, ValueError names a damaged file."""
    file = file or results_folder() / "atlas.json"
    if not file.exists():
        raise FileNotFoundError(f"{file} does not exist; make it with `python -m dst_tutorial sweep atlas`")
    points = {}
    with reading(file):
        read = json.loads(file.read_text(encoding="utf-8"))
        for line in read["points"]:
            point = Point(*line.pop("point"))
            points[point] = Entry(**{name: tuple(v) if isinstance(v, list) else v for name, v in line.items()})
        return Atlas(points, read["about"])
