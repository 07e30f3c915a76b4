"""What the tests share: one thread, a small data set of made-up images, and MNIST where it is at hand."""

import json
import os
import shutil

import pytest
import torch

if not torch.cuda.is_available():
    os.environ.setdefault("TRITON_INTERPRET", "1")  # before anybody imports Triton
from hypothesis import register_random, settings

from dst_tutorial import kernels, paths
from dst_tutorial.studies import regimes
from dst_tutorial.training import data

torch.set_num_threads(1)
settings.register_profile("here", deadline=None)  # a first call of torch takes seconds
settings.load_profile("here")


class _Torch:
    """torch's global generator as hypothesis wants it: an example that fails once fails again."""

    seed, getstate, setstate = torch.manual_seed, torch.get_rng_state, torch.set_rng_state


register_random(_Torch)


@pytest.fixture(autouse=True)
def _from_one_seed():
    """What a test draws of torch depends on no test before it."""
    torch.manual_seed(0)


def pytest_collection_modifyitems(items):
    """The longest file first: with two workers nobody is left waiting for it in the end."""
    items.sort(key=lambda item: item.path.name != "test_browser.py")


# for a program of its own, on Linux. Not ru_maxrss: that of a child begins with the peak of the parent that started it
PEAK = """
def peak():
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1e6  # GB
"""


def make_dataset(train: int = 256, test: int = 64, name: str = "mnist") -> data.Dataset:
    """Random images whose label is where they are bright: learnable in a few steps."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(10, (train + test,), generator=generator)
    images = torch.randn(train + test, 1, 28, 28, generator=generator) * 0.3
    for i, label in enumerate(labels):
        images[i, 0, 2 * int(label) : 2 * int(label) + 4] += 1.5
    return data.Dataset(name, images[:train], labels[:train], images[train:], labels[train:])


@pytest.fixture(scope="session")
def dataset() -> data.Dataset:
    return make_dataset()


@pytest.fixture(scope="session")
def mnist() -> data.Dataset:
    if not data.is_cached():
        pytest.skip("needs the full MNIST: run `python -m dst_tutorial data` with a network")
    return data.load_mnist()


_ON_VALIDATION = {
    **{"RigL": 70, "RigL, L1": 72, "SET": 60, "dense": 80, "dense, L1": 79},
    **{"selected inputs, small dense": 90, "random forest": 91},
}
_ON_TEST = {"RigL": 75, "RigL, L1": 65, "SET": 99, "dense": 70, "dense, L1": 99, "random forest": 50}


def record_made_up_regimes(folder):
    """Result files of all regimes, with accuracies by contender, and copies of those that the map has beside them."""

    def jitter(run):
        """Mostly the same for all contenders, as it is paired."""
        seed = run.config["seed"]
        return (seed % 5 - 2) / 10 + (seed * sum(map(ord, run.recipe.name)) % 7) / 1000

    def results(family, accuracy_of):
        runs = []
        for run in family.runs().values():
            summary = {"active_weights": 1000, "test_accuracy": accuracy_of(run), "seconds_per_epoch": [1.0, 2.0]}
            if not run.recipe.name.startswith("random forest"):
                summary |= {"biases": 10, "macs": 500, "dense_macs": 1000}
            source = {"torch": "2", "threads": 1, "cpu": "a cpu", "date": "2026-11-26"}
            runs.append({"config": run.config, "summary": summary, "state_bytes": 4000, "provenance": source})
            if run.experiment.telling and "backend" in run.config and run.recipe.sparsify:
                runs[-1]["read"] = {"start": 0.1, "end": 0.5}
                if run.config["seed"] == regimes.FINAL[0]:
                    runs[-1]["read"]["connections"] = list(range(run.experiment.telling))
        return {"data_set": "made up", "runs": runs}

    for name in ("frontier", "ablation-lenet300100", "ablation-mlp1d"):
        shutil.copy(paths.results_folder() / f"{name}.json", folder)
    for name in regimes.REGIMES:
        tuned = results(regimes.tuning(name), lambda run: _ON_VALIDATION.get(run.recipe.name.partition(": ")[0], 50.0))
        (folder / f"{name}-tuning.json").write_text(json.dumps(tuned))
        final = regimes.final(name, regimes.tuned(tuned))
        found = results(final, lambda run: _ON_TEST.get(run.recipe.name, 60) + jitter(run))
        (folder / f"{name}.json").write_text(json.dumps(found))
    return folder


on_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")


BACKENDS = [
    ("cpu", "reference"),
    ("cpu", "library"),
    ("cpu", "cpu"),
    pytest.param(("cuda", "reference"), marks=on_gpu),
    pytest.param(("cuda", "library"), marks=on_gpu),
    pytest.param(("cuda", "triton"), marks=on_gpu),
]


@pytest.fixture(params=BACKENDS, ids=lambda param: f"{param[1]} on {param[0]}")
def device(request):
    """Runs a test once with every backend: gives the device."""
    device, backend = request.param
    kernels.use(backend)
    yield device
    kernels.use(None)


def filled(layer, seed):
    """Biases start at zero: give them values, so that a test can see them."""
    if layer.bias is not None:
        layer.bias.data.normal_(generator=torch.Generator(layer.bias.device).manual_seed(seed))
    return layer
