"""Recorded timings: a file a kind of timing in `figures/results/`, a line a run, with the machine that it ran on.

A run takes the place of an earlier one of the same work on the same machine.
"""

import json
from collections.abc import Iterable
from pathlib import Path

from ..choices import choose
from ..paths import reading, results_folder, write
from ..timing import rows_of
from . import slides

# kind -> what tells one work from another, besides machine and threads
KINDS: dict[str, tuple[str, ...]] = {
    "benchmark": ("case", "work", "batch", "sparsity"),
    "breakeven": ("device",),
    "scaling": ("density", "batch"),
}
_HOW = {"benchmark": "bench --record", "breakeven": "break-even --record", "scaling": "scaling --record"}


def record_timing(kind: str, result: dict, folder: Path | None = None) -> Path:
    """Add a result of `benchmark.bench`, `breakeven.measure` or `breakeven.scaling` to the recorded ones."""
    work = choose(kind, KINDS, "kind")
    path = _file(kind, folder)

    def same(run: dict) -> tuple:
        return machine(run), run["provenance"]["gpu"], run["threads"], *(run[key] for key in work)

    runs = [run for run in recorded_timings(kind, folder) if same(run) != same(result)] + [result]
    lines = ",\n".join(json.dumps(run) for run in sorted(runs, key=lambda run: repr(same(run))))
    write(path, f'{{"runs": [\n{lines}\n]}}\n'.encode())
    return path


def _file(kind: str, folder: Path | None) -> Path:
    return (folder or results_folder()) / f"{kind}.json"


def recorded_timings(kind: str, folder: Path | None = None) -> list[dict]:
    """All recorded results of a kind, be there any or none. ValueError names a damaged file."""
    path = _file(kind, folder)
    if not path.exists():
        return []
    with reading(path):
        return list(json.loads(path.read_text(encoding="utf-8"))["runs"])


def load_timings(kind: str, folder: Path | None = None, **wanted) -> list[dict]:
    """The recorded results of a kind that have these values, such as `case="slides"`.

    FileNotFoundError, and ValueError where none has, say how to make them.
    """
    choose(kind, KINDS, "kind")
    path = _file(kind, folder)
    how = f"make it with `python -m dst_tutorial {_HOW[kind]}`"
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist; {how}")
    found = [run for run in recorded_timings(kind, folder) if wanted.items() <= run.items()]
    if not found:
        raise ValueError(f"{path} has none of {wanted}; {how}")
    return found


def slide8(threads: int | None = None) -> list[dict]:
    """The recorded benchmarks of slide 8's work: 100 images through the slides' network, the latest first."""
    wanted = {"case": "slides", "work": "inference", "batch": slides.SAMPLES, "sparsity": slides.SPARSITY}
    return latest_first(load_timings("benchmark", **wanted, **({"threads": threads} if threads else {})))


SET_UP = 12.0  # seconds, measured: what comes before the readings, forms compiled and outputs compared


def expected_seconds(case: str, work: str, batch: int, threads: int, *, rounds: int, seconds: float,
                     methods: Iterable[str] | None = None) -> float:  # fmt: skip
    """How long a benchmark takes about, by the recorded ones of this work; without any, its set-up and `seconds`."""
    this = {"case": case, "work": work, "batch": batch}
    runs = latest_first([run for run in recorded_timings("benchmark") if this.items() <= run.items()])
    if not runs:
        return SET_UP + seconds
    rows = rows_of(next((run for run in runs if run["threads"] == threads), runs[0]))
    a_round = sum(row.median for row in rows if not methods or row.method in methods) / 1e3
    if work == "epoch":
        return min(rounds, 3) * a_round
    return SET_UP + max(seconds, 3 * rounds * a_round)  # a reading stands behind two unread calls


def latest_first(runs: list[dict]) -> list[dict]:
    """By date, then by threads."""
    return sorted(sorted(runs, key=lambda run: run["threads"]), key=lambda run: run["provenance"]["date"], reverse=True)


def machine(run: dict) -> str:
    """The processor that a run ran on; two of different names keep them."""
    return run["provenance"]["cpu"].replace("(R)", "").replace(" Processor", "")
