"""What a training step and an answer cost in every form of one sparse network; the losses are compared first.

A *form* is a network with its optimiser. All take the same step on the same images: forward, loss, backward, Adam; they
take turns as in `benchmark`, whose inference of the same network stands beside it.
"""

import copy
import math
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict
from functools import partial
from itertools import pairwise
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from . import benchmark
from .benchmark import Absent, Row, UnlikeWork, take_turns
from .choices import choose
from .convert import to_dense, to_truly_sparse
from .data import Dataset, load_mnist
from .ledger import macs
from .models import SlideCNN, mlp
from .optim import Adam
from .provenance import provenance
from .recipes import build, engine, find_recipe
from .sparse import SparseLinear
from .sparsify import count_weights, sparse_layers, sparsify
from .training import fit

BATCH = 64
TOLERANCE = 1e-3  # of the losses of the first steps, relative
CONNECTIONS = (10_000, 31_623, 100_000, 316_228, 1_000_000, 3_162_278, 10_000_000, 31_622_777, 100_000_000)
METHODS = ("Dense+Mask", "dense", "ONNX Runtime, dense", "torch CSR", "truly sparse")  # of inference


class Case(NamedTuple):
    """A network to measure, and the shape of its inputs."""

    network: Callable[[], nn.Module]
    shape: tuple[int, ...]
    sparsity: float = 0.95
    allocation: str = "uniform"
    answers: tuple[int, ...] = ()  # batches whose inference is measured, too
    recipe: str | None = None  # whose epochs on MNIST are measured, too


CASES: dict[str, Case] = {
    "slides": Case(SlideCNN, (1, 28, 28), answers=(100, 1), recipe="uniform-rigl"),
    "slides-erk": Case(SlideCNN, (1, 28, 28), allocation="erk", answers=(100, 1), recipe="erk-rigl"),
    "larger-cnn": Case(partial(SlideCNN, (32, 64), (256, 512), 32), (1, 32, 32), answers=(100, 1)),
    "smaller-cnn": Case(partial(SlideCNN, (8, 24), (100, 500), 20), (1, 20, 20), answers=(100, 1)),
    "wide-mlp": Case(partial(mlp, 784, 4096, 4096, 4096, 10), (784,)),
    "wider-mlp": Case(partial(mlp, 784, 8192, 8192, 8192, 10), (784,), 0.99),
}


# --- the forms: a masked network, images of its shape -> a network and its optimiser ---------------------------------


def masked(model: nn.Module, images: Tensor) -> tuple[nn.Module, torch.optim.Optimizer]:
    model = copy.deepcopy(model)
    return model, torch.optim.Adam(model.parameters(), fused=True)


def dense(model: nn.Module, images: Tensor) -> tuple[nn.Module, torch.optim.Optimizer]:
    """It trains every weight: more work, and the cheaper step of the two dense ones."""
    model = to_dense(model)
    return model, torch.optim.Adam(model.parameters(), fused=True)


def torch_csr(model: nn.Module, images: Tensor) -> tuple[nn.Module, torch.optim.Optimizer]:
    model = benchmark.torch_csr(model, images, 1)
    return model, torch.optim.Adam(model.parameters(), fused=True)


def sparseprop(model: nn.Module, images: Tensor) -> tuple[nn.Module, torch.optim.Optimizer]:
    """SparseProp's layers (Nikdan et al., arXiv 2302.04852), the faster of the two kinds that its convolutions have."""
    try:
        from sparseprop.modules import SparseConv2d, SparseLinear
    except ImportError as error:
        raise Absent(f"{error.name} is not installed: `pip install pybind11 sparseprop` (it compiles)") from error

    def form(over_samples: bool) -> tuple[nn.Module, torch.optim.Optimizer]:
        network = to_dense(model)
        for name in sparse_layers(model):
            layer = network.get_submodule(name)
            kind = (SparseConv2d, SparseLinear)[isinstance(layer, nn.Linear)]
            options = {} if kind is SparseLinear else {"vectorizing_over_on": over_samples}
            network.set_submodule(name, kind.from_dense(layer, **options))
        return network, torch.optim.Adam(network.parameters(), fused=True)

    labels, kinds = torch.zeros(len(images), dtype=torch.int64), (False, True)
    times = take_turns([step(*form(kind), images, labels) for kind in kinds], rounds=3, threads=torch.get_num_threads())
    return form(min(kinds, key=lambda kind: min(times[kind])))


def truly_sparse(model: nn.Module, images: Tensor) -> tuple[nn.Module, torch.optim.Optimizer]:
    model = to_truly_sparse(model)
    return model, Adam(model.parameters())


FORMS: dict[str, Callable] = {
    "Dense+Mask": masked,
    "dense": dense,
    "torch CSR": torch_csr,
    "SparseProp": sparseprop,
    "truly sparse": truly_sparse,
}


# --- the race ---------------------------------------------------------------------------------------------------------


def step(model: nn.Module, optimizer: torch.optim.Optimizer, images: Tensor, labels: Tensor) -> Callable[[], Tensor]:
    """What the clock sees, the same lines for every form: it gives the loss."""

    def task() -> Tensor:
        loss = F.cross_entropy(model(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.detach()

    return task


def compare(forms: dict[str, Callable[[], Tensor]], steps: int = 3) -> dict[str, tuple[float, float]]:
    """Take some steps with each: (largest relative difference from the losses of the first form, first call in ms).

    UnlikeWork where a difference is more than 0.001. All but the first loss of "dense" may differ: it trains more
    weights.
    """
    losses, found = {}, {}
    for method, task in forms.items():
        started = time.perf_counter()
        first = task().item()
        found[method] = 1e3 * (time.perf_counter() - started)
        losses[method] = [first, *(task().item() for _ in range(steps - 1))]
    expected = next(iter(losses.values()))
    if min(abs(a - b) for a, b in pairwise(expected)) < TOLERANCE * abs(expected[0]):
        raise UnlikeWork("the loss hardly moves from step to step: it cannot show whether the forms train alike")
    for method, mine in losses.items():
        pairs = list(zip(mine, expected, strict=True))[: 1 if method == "dense" else steps]
        difference = max(abs(a - b) / abs(b) for a, b in pairs)
        if not difference <= TOLERANCE:
            raise UnlikeWork(f"{method} does not train the same network: its losses are {mine}, and not {expected}")
        found[method] = difference, found[method]
    return found


def race(model: nn.Module, images: Tensor, labels: Tensor, *, rounds: int = 20, threads: int = 1,
         methods: Iterable[str] = FORMS) -> tuple[list[Row], dict[str, str]]:  # fmt: skip
    """A row a form of the masked `model`, its times those of a step; and the forms that are absent, with the reason."""
    tasks, absent = {}, {}
    for method in methods:
        try:
            tasks[method] = step(*choose(method, FORMS, "form")(model, images), images, labels)
        except Absent as why:
            absent[method] = str(why)
    found = compare(tasks)
    times = take_turns(list(tasks.values()), rounds, threads)
    return [Row(name, "cpu", False, *found[name], ms) for name, ms in zip(tasks, times, strict=True)], absent


def epochs(recipe: str, data: Dataset, *, sparsity: float = 0.95, rounds: int = 3) -> list[Row]:
    """A row a form, its times those of whole epochs of training in `fit`, data and topology updates included."""
    rows = [Row(method, "cpu", False, math.nan, math.nan) for method in ("Dense+Mask", "dense", "truly sparse")]
    for _ in range(rounds):
        for row in rows:
            ours = row.method == "truly sparse"
            chosen = find_recipe("dense-cosine" if row.method == "dense" else recipe)
            model = build(chosen, SlideCNN, sparsity, 42, "sparse" if ours else "masked")
            optimizer = Adam(model.parameters()) if ours else torch.optim.Adam(model.parameters(), fused=True)
            topology = engine(chosen, model, optimizer, sparsity, 42)
            history = fit(model, data, optimizer, epochs=1, topology=topology, progress=False)
            row.times_ms.append(1e3 * history.epochs[0].seconds)
    return rows


def measure(name: str, *, rounds: int = 20, threads: int | None = None) -> dict:
    """One of `CASES`: its training step and, where the case says so, its inference. Plain values, ready for JSON."""
    case, threads = choose(name, CASES, "case"), threads or torch.get_num_threads()
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        model = sparsify(case.network(), case.sparsity, allocation=case.allocation)
        random = torch.Generator().manual_seed(0)
        images = torch.randn(BATCH, *case.shape, generator=random)
        labels = torch.randint(10, (BATCH,), generator=random)
        rows, absent = race(model, images, labels, rounds=rounds, threads=threads)
        answers = {}
        for batch in case.answers:
            inputs = torch.randn(batch, *case.shape, generator=random)
            found = benchmark.bench(model, inputs, rounds=rounds, threads=threads, devices=["cpu"], methods=METHODS)
            answers[batch] = found["rows"]
            absent |= found["absent"]
        lasting = epochs(case.recipe, load_mnist(), sparsity=case.sparsity) if case.recipe else []
    finally:
        torch.set_num_threads(before)
    active, total = count_weights(model)
    return {
        "case": name,
        "sparsity": case.sparsity,
        "allocation": case.allocation,
        "active_weights": active,
        "total_weights": total,
        "macs": sum(macs(model, images[0]).values()),
        "dense_macs": sum(macs(to_dense(model), images[0]).values()),
        "batch": BATCH,
        "rounds": rounds,
        "threads": threads,
        "training": [asdict(row) for row in rows],
        "inference": answers,
        "epochs": [asdict(row) for row in lasting],
        "absent": absent,
        "provenance": provenance() | {"threads": threads},
    }


def scaling(connections: Iterable[int] = CONNECTIONS, *, density: float = 0.05, rounds: int = 5,
            threads: int | None = None) -> dict:  # fmt: skip
    """What a training step costs by the number of connections: single square layers of one density, in turns.

    The rows are named by the number of connections. Plain values, ready for JSON.
    """
    threads = threads or torch.get_num_threads()
    random = torch.Generator().manual_seed(0)
    tasks = {count: _layer_step(count, density, random) for count in connections}
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        times = take_turns(tasks.values(), rounds, threads)
    finally:
        torch.set_num_threads(before)
    return {
        "density": density,
        "batch": BATCH,
        "rounds": rounds,
        "threads": threads,
        "times_ms": {str(count): ms for count, ms in zip(tasks, times, strict=True)},
        "provenance": provenance() | {"threads": threads},
    }


def _layer_step(connections: int, density: float, random: torch.Generator) -> Callable[[], None]:
    """A training step of one layer, its inputs in need of a gradient as they are in the middle of a network."""
    width = round((connections / density) ** 0.5)
    layer = SparseLinear(width, width, density=connections / width**2, generator=random)
    optimizer = Adam(layer.parameters())
    x = torch.randn(BATCH, width, generator=random, requires_grad=True)
    gradient = torch.randn(BATCH, width, generator=random)

    def task() -> None:
        x.grad = None
        optimizer.zero_grad()
        layer(x).backward(gradient)
        optimizer.step()

    return task
