"""Doing the runs of an experiment: none twice, and an unfinished one from its last epoch.

Every run is given one thread, so that the number of workers changes no result.
"""

import io
import json
import logging
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import numpy as np
from filelock import FileLock, Timeout
from joblib import Parallel, delayed
from torch import nn
from tqdm import tqdm

from ..layers import state_bytes
from ..paths import data_folder, results_folder, write
from ..provenance import provenance
from ..timing import on_threads, peak_memory
from ..topology import exploration_rate, out_degrees, overlap
from ..training import DATASETS, NETWORKS, Dataset, Snapshot, rehearse, train
from .experiment import Experiment, Family, Planned, key_of
from .forest import Forest, grow
from .results import load_results

log = logging.getLogger(__name__)


def run_missing(experiment: Experiment | Family, folder: Path | None = None, *, workers: int = 1,
                progress: bool = True) -> Path:  # fmt: skip
    """Do the runs that the result file lacks, keep each as it finishes, and return the file.

    `workers` processes share them; one is this very process. ValueError on the shipped sample (a recorded number stands
    for all of MNIST), where the file holds a run that the experiment does not list, and beside another sweep of it.
    """
    folder = folder or results_folder()
    file, masks_file = folder / f"{experiment.name}.json", folder / f"{experiment.name}_masks.npz"
    whole = [str(_whole(name)) for name in experiment.data_sets]
    planned = experiment.runs()
    configs = {key: run.config for key, run in planned.items()}
    chosen = [key for key, c in configs.items() if experiment.keep_masks == (c["recipe"]["name"], c["seed"])]
    with _alone(experiment.name):
        kept = _kept(file, configs)
        todo = [key for key in configs if key not in kept or (key in chosen and not masks_file.exists())]
        log.info("%s: %d of %d runs are done", experiment.name, len(configs) - len(todo), len(configs))
        if not todo:
            return file

        parallel = Parallel(n_jobs=workers, return_as="generator_unordered", pre_dispatch="n_jobs")
        finished = parallel(delayed(_one_run)(planned[key], key in chosen, os.getpid()) for key in todo)
        for result, masks in tqdm(finished, total=len(todo), disable=not progress, unit="run"):
            if masks:
                write(masks_file, masks)
            kept = _kept(file, configs) | {key_of(result["config"]): result}  # git may have brought some meanwhile
            about = {"experiment": experiment.name, "about": experiment.about, "data_set": "; ".join(whole)}
            write(file, _one_run_a_line(about, [kept[key] for key in configs if key in kept]))
            _checkpoint(result["config"]).unlink(missing_ok=True)  # not before the result is safe
            log.info(
                "{recipe}, sparsity {sparsity:g}, seed {seed}: {test_accuracy:.2f}% in the end; "
                "looked at the test images of {data_set} {test_evaluations} time(s)".format(**result["summary"])
            )
    return file


@contextmanager
def _alone(name: str) -> Iterator[None]:
    """No other sweep of that name in this data folder, which has its checkpoints. ValueError beside one."""
    lock = data_folder() / "checkpoints" / f"{name}.lock"
    lock.parent.mkdir(parents=True, exist_ok=True)
    try:
        held = FileLock(lock).acquire(timeout=0)  # the system gives it back, however this process ends
    except Timeout:
        raise ValueError(f"another sweep of {name!r} is under way (it holds {lock}): wait for it") from None
    with held:
        yield


def _one_run_a_line(about: dict, runs: list[dict]) -> bytes:
    lines = ",\n".join(json.dumps(run) for run in runs)
    return f'{json.dumps(about)[:-1]}, "runs": [\n{lines}\n]}}\n'.encode()


def _kept(file: Path, listed: Iterable[str]) -> dict[str, dict]:
    """The recorded runs. ValueError if one is not listed: it would be lost when the file is written."""
    if not file.exists():
        return {}
    kept = {key_of(result["config"]): result for result in load_results(file.stem, file.parent)["runs"]}
    if lost := [run["config"] for key, run in kept.items() if key not in listed]:
        which = [f"{c['recipe']['name']}, sparsity {c['sparsity']:g}, seed {c['seed']}" for c in lost[:5]]
        raise ValueError(
            f"{file} holds {len(lost)} run(s) that the experiment does not list as they are "
            f"({'; '.join(which + ['...'] * (len(lost) > 5))}): list them again, or move the file away"
        )
    return kept


def _one_run(planned: Planned, with_masks: bool, sweep: int) -> tuple[dict, bytes | None]:
    """A run's result, ready for JSON, and its masks if they are asked for. `sweep` is the process that waits for it."""
    config, recipe, experiment = planned
    epochs = []  # trained here, and not before in a run that was cut off
    with on_threads(1):
        source = provenance()  # of the code that starts the run, whatever is committed meanwhile
        data = _whole(config["data_set"])
        if isinstance(recipe, Forest):
            summary, size = grow(recipe, data, config["seed"])
            return {"config": config, "summary": summary, "state_bytes": size, "provenance": source}, None
        network, sparsity = _network(config, data), config["sparsity"]
        backend = config.get("backend", "masked")
        rehearse(recipe, data, network, sparsity, backend)
        with peak_memory() as peak:
            done = train(
                recipe,
                data,
                network=network,
                epochs=config["epochs"],
                sparsity=sparsity,
                seed=config["seed"],
                progress=False,
                backend=backend,
                test_once=config.get("test_once", False),
                checkpoint=None if experiment.brief else _checkpoint(config),
                on_epoch=lambda epoch: epochs.append(epoch) or _is_orphan(sweep),
            )
    if _is_orphan(sweep):
        os._exit(1)  # as nobody takes the result: the pool would wait, and begin with the next run
    if done.history.interrupted:
        raise KeyboardInterrupt
    snapshots = done.history.snapshots
    result = {
        "config": config,
        "summary": done.summary(),
        "state_bytes": state_bytes(done.model),
        "peak_bytes": peak() if len(epochs) == config["epochs"] else None,
        "exploration_rate": exploration_rate(s.masks for s in snapshots) if snapshots else None,
        "overlap_with_start": overlap(snapshots[0].masks, snapshots[-1].masks) if snapshots else None,
        "updates": max(len(snapshots) - 1, 0),
        "epochs": [asdict(epoch) for epoch in done.history.epochs[-1 if experiment.brief else 0 :]],
        "provenance": source,
    }
    if experiment.telling and snapshots:
        first = experiment.seeds[0] == config["seed"]
        result["read"] = _what_is_read(snapshots, experiment.telling, with_picture=first)
        if experiment.watched:
            result["read"]["by_epoch"] = _by_epoch(snapshots, config["epochs"], experiment.telling)
    return result, _masks_as_bytes(snapshots) if with_masks else None


def _network(config: dict, data: Dataset) -> Callable[[], nn.Module]:
    """The network of a config, for what the data look like."""
    network, width = NETWORKS[config["network"]], config.get("width", 1)
    if width > 1:
        network = network.wider(width)
    seen = tuple(data.test_images.shape[1:]), int(data.train_labels.max()) + 1
    if hasattr(network, "reading") and (network.image, network.classes) != seen:
        network = network.reading(*seen)
    return network


def _what_is_read(snapshots: list[Snapshot], telling: int, *, with_picture: bool) -> dict:
    """Which share of the first layer's connections leads to the first `telling` inputs, at the start and in the end.

    "connections" of each of them in the end, for one seed.
    """
    first = next(iter(snapshots[0].masks))
    start, end = (out_degrees(snapshot.masks[first]) for snapshot in (snapshots[0], snapshots[-1]))
    shares = {when: float(d[:telling].sum() / max(d.sum(), 1)) for when, d in (("start", start), ("end", end))}
    return shares | ({"connections": end[:telling].tolist()} if with_picture else {})


def _by_epoch(snapshots: list[Snapshot], epochs: int, telling: int) -> list[list[int]]:
    """Connections of each of the first `telling` inputs, at the start and after every epoch."""
    first, found = next(iter(snapshots[0].masks)), []
    for epoch in range(epochs + 1):
        last = [snapshot for snapshot in snapshots if snapshot.epoch <= epoch][-1]
        found.append(out_degrees(last.masks[first])[:telling].tolist())
    return found


def _is_orphan(sweep: int) -> bool:
    return sweep not in (os.getpid(), os.getppid())  # the system gives an orphan other parents


def _whole(name: str) -> Dataset:
    data = DATASETS[name]()
    if data.is_sample:
        raise ValueError("a result file needs all of MNIST, and only the sample is at hand; run `... data` first")
    return data


def _checkpoint(config: dict) -> Path:
    name = f"{config['recipe']['name']}-{config['seed']}-{key_of(config)}.safetensors"
    return data_folder() / "checkpoints" / name


def _masks_as_bytes(snapshots: list[Snapshot]) -> bytes:
    arrays = {
        f"{s.step}|{s.epoch}|{layer}|{'x'.join(map(str, mask.shape))}": np.packbits(mask.unpack())
        for s in snapshots
        for layer, mask in s.masks.items()
    }
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()
