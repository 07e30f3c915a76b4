"""The runs behind every recorded number.

An experiment is a list of recipes x seeds. Its result file in `figures/results/` holds one entry a finished run:
config, seed, the history and the run's provenance. Starting it again repeats no finished run, and goes on with an
unfinished one from its last epoch.
"""

import hashlib
import io
import json
import logging
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from joblib import Parallel, delayed
from tqdm.auto import tqdm

from . import slides
from .data import Dataset, load_mnist
from .measures import Masks, PackedMask, exploration_rate
from .paths import data_folder, results_folder
from .provenance import provenance
from .recipes import find_recipe, train
from .training import History, Snapshot

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Experiment:
    name: str
    about: str
    recipes: tuple[str, ...]
    seeds: tuple[int, ...]
    epochs: int
    sparsity: float
    masks_of: tuple[str, int] | None = None  # the (recipe, seed) whose masks are kept, for the pictures

    def configs(self) -> Iterator[dict]:
        """One config a run: everything that determines its result but the versions and the machine."""
        for seed in self.seeds:
            for name in self.recipes:
                recipe = find_recipe(name)
                yield {
                    "recipe": {k: v for k, v in asdict(recipe).items() if k != "about"},
                    "seed": seed,
                    "epochs": self.epochs,
                    "sparsity": self.sparsity if recipe.sparsify is not None else 0.0,
                }


EXPERIMENTS = {
    experiment.name: experiment
    for experiment in (
        Experiment(
            "slides",
            "the slides' results table: dense, Dense+Mask with DST, and two controls (static mask, fan-in init)",
            recipes=("dense", "slides", "slides-static", "slides-fan-in"),
            seeds=(42, 43, 44),
            epochs=10,
            sparsity=0.95,
            masks_of=("slides", 42),
        ),
    )
}


def run(experiment: Experiment, folder: Path | None = None, *, workers: int = 1, progress: bool = True) -> Path:
    """Do the runs that the result file lacks, keep each as it finishes, and return the file.

    `workers` processes of one thread each; with 1, in this process on all its threads. ValueError on the shipped
    sample: a recorded number stands for all of MNIST.
    """
    folder = folder or results_folder()
    file = folder / f"{experiment.name}.json"
    data = load_mnist()
    if data.is_sample:
        raise ValueError("a result file needs all of MNIST, and only the sample is at hand; run `... data` first")
    configs = list(experiment.configs())
    masks_file = folder / f"{experiment.name}_masks.npz"
    kept = _kept(experiment, folder)
    todo = [
        config
        for config in configs
        if _key(config) not in kept or (_is_chosen(config, experiment.masks_of) and not masks_file.exists())
    ]
    log.info("%s: %d of %d runs are done", experiment.name, len(configs) - len(todo), len(configs))

    finished = Parallel(n_jobs=workers, return_as="generator_unordered")(
        delayed(_one_run)(config, experiment.masks_of, masks_file, workers > 1) for config in todo
    )
    for result in tqdm(finished, total=len(todo), disable=not progress, unit="run"):
        kept = _kept(experiment, folder) | {_key(result["config"]): result}  # another sweep may have written meanwhile
        runs = [kept[_key(config)] for config in configs if _key(config) in kept]
        about = {"experiment": experiment.name, "about": experiment.about, "data_set": str(data)}
        _write(file, json.dumps({**about, "runs": runs}, indent=1).encode())
    return file


def _kept(experiment: Experiment, folder: Path) -> dict[str, dict]:
    if not (folder / f"{experiment.name}.json").exists():
        return {}
    return {_key(result["config"]): result for result in load_results(experiment.name, folder)["runs"]}


def _is_chosen(config: dict, masks_of: tuple[str, int] | None) -> bool:
    return masks_of == (config["recipe"]["name"], config["seed"])


def load_results(name: str, folder: Path | None = None) -> dict:
    """The result file of an experiment. FileNotFoundError says how to make it."""
    return json.loads(_existing(folder, f"{name}.json", name).read_text(encoding="utf-8"))


def _existing(folder: Path | None, file: str, experiment: str) -> Path:
    path = (folder or results_folder()) / file
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist; make it with `python -m dst_tutorial sweep {experiment}`")
    return path


BENCHMARK = "benchmark.json"


def record_benchmark(result: dict, folder: Path | None = None) -> Path:
    """Add a `benchmark.bench` to the recorded ones, in the place of one of the same work on the same machine."""
    folder = folder or results_folder()

    def same(run: dict) -> tuple:
        machine = run["provenance"]["cpu"], run["provenance"]["gpu"]
        return (*machine, run["threads"], run["network"], run["active_weights"], run["batch"])

    kept = load_benchmarks(folder) if (folder / BENCHMARK).exists() else []
    runs = [run for run in kept if same(run) != same(result)] + [result]
    _write(folder / BENCHMARK, json.dumps({"runs": sorted(runs, key=lambda r: repr(same(r)))}, indent=1).encode())
    return folder / BENCHMARK


def load_benchmarks(folder: Path | None = None) -> list[dict]:
    """The recorded benchmarks, each as `benchmark.bench` returned it. FileNotFoundError says how to make them."""
    path = (folder or results_folder()) / BENCHMARK
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist; make it with `python -m dst_tutorial bench --record`")
    return json.loads(path.read_text(encoding="utf-8"))["runs"]


def slides_benchmarks(batch: int = slides.SAMPLES, folder: Path | None = None) -> list[dict]:
    """The recorded benchmarks of the slides' network at the slides' sparsity, by number of threads.

    ValueError if they come from several machines, whose times do not belong in one table.
    """
    runs = [
        run
        for run in load_benchmarks(folder)
        if (run["network"], run.get("sparsity"), run["batch"]) == ("SlideCNN", slides.SPARSITY, batch)
    ]
    machines = {(run["provenance"]["cpu"], run["provenance"]["gpu"]) for run in runs}
    if len(machines) > 1:
        raise ValueError(f"{BENCHMARK} holds times of several machines ({machines}): keep those of one")
    if not runs:
        raise ValueError(f"{BENCHMARK} has no times for a batch of {batch}: `python -m dst_tutorial bench --record`")
    return sorted(runs, key=lambda run: run["threads"])


def final_accuracies(results: dict) -> dict[str, list[float]]:
    """Last-epoch test accuracy (percent): recipe -> one number a seed, in the order of the seeds."""
    accuracies: dict[str, list[float]] = {}
    for result in results["runs"]:
        accuracies.setdefault(result["summary"]["recipe"], []).append(result["summary"]["test_accuracy"])
    return accuracies


def load_masks(name: str, folder: Path | None = None) -> History:
    """The recorded masks of an experiment's chosen run, as the snapshots of a History (`.masks_at(epoch)`).

    FileNotFoundError says how to make them.
    """
    file = _existing(folder, f"{name}_masks.npz", name)
    masks: dict[tuple[int, int], Masks] = {}
    with np.load(file) as arrays:
        for key in arrays.files:
            step, epoch, layer, shape = key.split("|")
            mask = PackedMask(arrays[key], tuple(map(int, shape.split("x"))))
            masks.setdefault((int(step), int(epoch)), {})[layer] = mask
    return History(snapshots=[Snapshot(step, epoch, m) for (step, epoch), m in masks.items()])


def _write_masks(file: Path, snapshots: list[Snapshot]) -> None:
    arrays = {
        f"{s.step}|{s.epoch}|{layer}|{'x'.join(map(str, mask.shape))}": mask.bits
        for s in snapshots
        for layer, mask in s.masks.items()
    }
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    _write(file, buffer.getvalue())


def _one_run(config: dict, masks_of: tuple | None, masks_file: Path, one_thread: bool) -> dict:
    if one_thread:
        torch.set_num_threads(1)
    source = provenance()  # of the code that starts the run, whatever is committed meanwhile
    name, key = config["recipe"]["name"], _key(config)
    checkpoint = data_folder() / "checkpoints" / f"{name}-{config['seed']}-{key}.safetensors"
    data: Dataset = load_mnist()
    done = train(
        name,
        data,
        epochs=config["epochs"],
        sparsity=config["sparsity"],
        seed=config["seed"],
        progress=False,
        checkpoint=checkpoint,
    )
    if done.history.interrupted:
        raise KeyboardInterrupt
    snapshots = done.history.snapshots
    if _is_chosen(config, masks_of):
        _write_masks(masks_file, snapshots)
    result = {
        "config": config,
        "summary": done.summary(),
        "exploration_rate": exploration_rate(s.masks for s in snapshots) if snapshots else None,
        "epochs": [asdict(epoch) for epoch in done.history.epochs],
        "provenance": source,
    }
    checkpoint.unlink(missing_ok=True)
    return result


def _key(config: dict) -> str:
    return hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()[:12]


def _write(file: Path, content: bytes) -> None:
    """All of it or nothing."""
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_name(f".{file.name}.{os.getpid()}.part")
    part.write_bytes(content)
    os.replace(part, file)
