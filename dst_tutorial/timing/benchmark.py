"""Honest timing: the same network, the same images, the same copies on every side; outputs compared first.

`rivals.py` has the methods, `clock.py` the readings. Here is what is timed: an answer (*inference*), a *training step*
(forward, loss, backward, Adam) and a whole *epoch* of `fit`; and what must agree before it is.
"""

import itertools
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from functools import partial
from itertools import pairwise
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..choices import choose
from ..kernels import instead_of_torch
from ..layers import count_weights, macs, sparsify, to_dense
from ..provenance import provenance
from ..training import Dataset, LeNet300100, SlideCNN, build, engine, find_recipe, fit, load_mnist, mlp, only_ours
from .clock import Row, exact_float32, first_call, on_threads, take_turns
from .rivals import METHODS, Rival, rivals

RTOL, ATOL = 1e-4, 1e-5  # of outputs
TOLERANCE = 1e-4  # of the losses of the first steps, relative
WORKS = ("inference", "training step", "epoch")


class UnlikeWork(ValueError):
    """The rivals do not do the same: their times must not stand in one table."""

    def __init__(self, message: str, method: str | None = None) -> None:
        super().__init__(message)
        self.method = method  # the one that differs


class Case(NamedTuple):
    """A network to measure, and the shape of its inputs."""

    about: str
    network: Callable[[], nn.Module]
    shape: tuple[int, ...]
    sparsity: float = 0.95
    allocation: str = "uniform"
    recipe: str | None = None  # whose epochs on MNIST can be measured
    batches: tuple[int, ...] = (1, 64, 100, 1024)  # unless others are asked for

    def masked(self, sparsity: float | None = None, seed: int = 42) -> nn.Module:
        """Its masked network, untrained, drawn for its actual fan-in: so every layer shows in the outputs."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = self.network()
        sparsity = self.sparsity if sparsity is None else sparsity
        return sparsify(network, sparsity, allocation=self.allocation, seed=seed)

    def inputs(self, batch: int) -> Tensor:
        """The first test images of MNIST (again from the first if there are too few); noise for other shapes."""
        if self.shape == (1, 28, 28):
            images = load_mnist().test_images
            return images[torch.arange(batch) % len(images)]
        return torch.randn(batch, *self.shape, generator=torch.Generator().manual_seed(0), device="cpu")


CASES: dict[str, Case] = {
    "slides": Case("the slides' network", SlideCNN, (1, 28, 28), recipe="uniform-rigl"),
    "slides-erk": Case(
        "the same weights by ERK", SlideCNN, (1, 28, 28), allocation="erk", recipe="erk-rigl", batches=(64,)
    ),
    "lenet-300-100": Case("LeNet-300-100", LeNet300100, (1, 28, 28)),
    "larger-cnn": Case(
        "other widths and images", partial(SlideCNN, (32, 64), (256, 512), 32), (1, 32, 32), batches=(1, 64, 100)
    ),
    "smaller-cnn": Case(
        "other widths and images", partial(SlideCNN, (8, 24), (100, 500), 20), (1, 20, 20), batches=(1, 64, 100)
    ),
    "mlp": Case("784-2048x3-10", partial(mlp, 784, 2048, 2048, 2048, 10), (784,)),
    "wide-mlp": Case("784-4096x3-10", partial(mlp, 784, 4096, 4096, 4096, 10), (784,), batches=(64,)),
    "wider-mlp": Case("784-8192x3-10", partial(mlp, 784, 8192, 8192, 8192, 10), (784,), 0.99, batches=(64,)),
    "linear": Case("a linear layer, 1,000 x 1,000", partial(mlp, 1000, 1000), (1000,)),
    "convolution": Case(
        "a convolution, 16 to 32 channels of 14 x 14",
        lambda: nn.Sequential(nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()),
        (16, 14, 14),
    ),
}


# --- what the clock sees ----------------------------------------------------------------------------------------------


def answer(rival: Rival, inputs: Tensor, copies: bool = False) -> Callable[[], Tensor]:
    """The same two lines for every rival. `inputs` are in the host's memory.

    copies   whether bringing the inputs to the device and the outputs back is part of it
    """
    if copies:
        return lambda: rival.run(inputs.to(rival.device)).cpu()
    there = inputs.to(rival.device)
    return lambda: rival.run(there)


def training_step(model: nn.Module, optimizer: torch.optim.Optimizer, inputs: Tensor,
                  labels: Tensor) -> Callable[[], Tensor]:  # fmt: skip
    """The same lines for every form, those of `fit`: it gives the loss."""

    ours = only_ours(model)

    def task() -> Tensor:
        with instead_of_torch(ours):
            loss = F.cross_entropy(model(inputs), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            return loss.detach()

    return task


# --- what must agree --------------------------------------------------------------------------------------------------


@torch.inference_mode()
def compare(rivals: Iterable[Rival], inputs: Tensor, reference: Rival | None = None) -> dict[Rival, float]:
    """The largest difference of each rival's outputs from the reference's (the first rival's, if none is given).

    UnlikeWork where one is larger than 1e-5 + 1e-4 * |output|, or lies on another device, or has another type or shape.
    Each sees two batches: one that remembers an answer, or keeps inputs on its device beforehand, fails.
    """
    rivals, differences = list(rivals), {}
    reference = reference or rivals[0]
    for batch in (inputs, inputs.flip(0) / 2):
        expected = answer(reference, batch, copies=True)()
        if len(expected) > 1 and expected.std(dim=0).max() < 100 * ATOL:
            raise UnlikeWork("the outputs hardly differ from input to input: they cannot show whether networks agree")
        for rival in rivals:
            with exact_float32():
                found = answer(rival, batch)()
            if found.device.type != torch.device(rival.device).type:
                raise UnlikeWork(
                    f"{rival.method} leaves its outputs on {found.device}, not on {rival.device}", rival.method
                )
            found = found.cpu()
            if found.shape != expected.shape or found.dtype != expected.dtype:
                raise UnlikeWork(
                    f"{rival.method} gives {found.dtype} {list(found.shape)}, "
                    f"{reference.method} {expected.dtype} {list(expected.shape)}",
                    rival.method,
                )
            difference = (found - expected).abs()
            if not (difference <= ATOL + RTOL * expected.abs()).all():
                raise UnlikeWork(
                    f"{rival.method} and {reference.method} do not compute the same network: their outputs differ by "
                    f"up to {difference.max():.2g}",
                    rival.method,
                )
            differences[rival] = max(differences.get(rival, 0.0), difference.max().item())
    return differences


def compare_training(tasks: dict[str, Callable[[], Tensor]], steps: int = 3) -> dict[str, tuple[float, float]]:
    """Take some steps with each: (largest relative difference from the losses of the first one, first call in ms).

    UnlikeWork where a difference is more than 0.0001. All but the first loss may differ where one of both trains
    weights that the other does not have.
    """
    losses, found = {}, {}
    for method, task in tasks.items():
        first, found[method] = first_call(task)
        losses[method] = [first.item(), *(task().item() for _ in range(steps - 1))]
    reference, expected = next(iter(losses.items()))
    if min(abs(a - b) for a, b in pairwise(expected)) < TOLERANCE * abs(expected[0]):
        raise UnlikeWork("the loss hardly moves from step to step: it cannot show whether the forms train alike")
    for method, mine in losses.items():
        alike = METHODS[method].trains_zeros == METHODS[reference].trains_zeros
        pairs = list(zip(mine, expected, strict=True))[: steps if alike else 1]
        difference = max(abs(a - b) / abs(b) for a, b in pairs)
        if not difference <= TOLERANCE:
            raise UnlikeWork(
                f"{method} does not train the same network: its losses are {mine}, and not {expected}", method
            )
        found[method] = difference, found[method]
    return found


# --- the race ---------------------------------------------------------------------------------------------------------


def race(
    rivals: Iterable[Rival],
    inputs: Tensor,
    *,
    rounds: int = 20,
    seconds: float = 0.0,
    threads: int = 1,
    copies: Iterable[bool] = (False,),
    reference: Rival | None = None,
) -> list[Row]:
    """Compare the outputs, then time every rival once a round, in turns; a Row each (and each way of `copies`).

    UnlikeWork if outputs differ from the reference's: see `compare`. A reading is one call behind two unread ones, with
    `threads` threads of torch; there are at least so many `rounds`, and as many as `seconds` hold.
    """
    rivals, copies = list(rivals), list(copies)
    with torch.inference_mode():
        first = {rival: first_call(answer(rival, inputs))[1] for rival in rivals}
    differences = compare(rivals, inputs, reference)
    rows, tasks = [], []
    for rival in rivals:
        for with_copies in copies:
            rows.append(Row(rival.method, rival.device, with_copies, differences[rival], first[rival]))
            tasks.append(torch.inference_mode()(answer(rival, inputs, with_copies)))
    with exact_float32():
        for row, times in zip(rows, take_turns(tasks, rounds, threads, seconds), strict=True):
            row.times_ms += times
    return rows


def race_training(
    model: nn.Module,
    inputs: Tensor,
    labels: Tensor,
    *,
    methods: Iterable[str],
    device: str = "cpu",
    rounds: int = 20,
    seconds: float = 0.0,
    threads: int = 1,
) -> tuple[list[Row], dict[str, str]]:
    """The same for training steps of the masked `model`, by `methods` that train; and those that are absent.

    UnlikeWork if losses differ: see `compare_training`.
    """
    found, absent = rivals(model, inputs, device=device, threads=threads, methods=methods)
    inputs, labels = inputs.to(device), labels.to(device)
    tasks = {}
    for rival in found:
        network = rival.run.train()
        tasks[rival.method] = training_step(
            network, METHODS[rival.method].optimizer(network.parameters()), inputs, labels
        )
    with exact_float32():
        differences = compare_training(tasks)
        times = take_turns(list(tasks.values()), rounds, threads, seconds)
    return [Row(name, device, False, *differences[name], ms) for name, ms in zip(tasks, times, strict=True)], absent


def race_epochs(recipe: str, data: Dataset, *, sparsity: float = 0.95, rounds: int = 3) -> list[Row]:
    """The same for whole epochs of training in `fit`, data and topology updates included; nothing is compared."""
    rows = [Row(method, "cpu", False, math.nan, math.nan) for method in ("Dense+Mask", "dense", "truly sparse")]
    for _ in range(rounds):
        for row in rows:
            chosen = find_recipe("dense-cosine" if row.method == "dense" else recipe)
            backend = "sparse" if row.method == "truly sparse" else "masked"
            model = build(chosen, SlideCNN, sparsity, 42, backend)
            optimizer = METHODS[row.method].optimizer(model.parameters())
            topology = engine(chosen, model, optimizer, sparsity, 42)
            history = fit(model, data, optimizer, epochs=1, topology=topology, progress=False)
            row.times_ms.append(1e3 * history.epochs[0].seconds)
    return rows


# --- the benchmark ----------------------------------------------------------------------------------------------------


def tasks(cases: Iterable[str] = (), works: Iterable[str] = (), batches: Iterable[int] = (),
          threads: Iterable[int] = ()) -> Iterator[dict]:  # fmt: skip
    """What to `bench`, one after the other: of all that is not named, what belongs to the tutorial.

    That is the slides' network, every work, the case's own batches, one thread and as many as torch takes. "all" are
    all cases. ValueError for what there is not.
    """
    names = CASES if "all" in (cases or ()) else cases or ["slides"]
    for name, work in itertools.product(names, works or WORKS):
        case = choose(name, CASES, "case")
        choose(work, dict.fromkeys(WORKS), "work")
        if work == "epoch" and not case.recipe and not works:
            continue
        of = (64,) if work == "epoch" else batches or case.batches
        for batch, n in itertools.product(of, threads or dict.fromkeys((1, torch.get_num_threads()))):
            yield {"case": name, "work": work, "batch": batch, "threads": n}


def bench(
    case: str | Case = "slides",
    work: str = "inference",
    batch: int = 100,
    *,
    sparsity: float | None = None,
    rounds: int = 20,
    seconds: float = 0.0,
    threads: int | None = None,
    devices: Iterable[str] | None = None,
    methods: Iterable[str] | None = None,
) -> dict:
    """One of `CASES` at one of `WORKS`. Plain values, ready for JSON.

    rounds    readings of every method, in turns: at least so many, and as many as `seconds` hold; of epochs at most 3
    threads   of torch and of ONNX Runtime; as many as torch takes now if not given
    devices   "cpu" and, where there is a GPU, "cuda", unless given. On a GPU inference has two rows a method: one with
              inputs and outputs in its own memory, one with the copies from and to the host's.
    methods   of `METHODS`; all that can do this work, unless given

    ValueError for what there is not.
    """
    name = case if isinstance(case, str) else case.about
    case = choose(case, CASES, "case") if isinstance(case, str) else case
    choose(work, dict.fromkeys(WORKS), "work")
    if work == "epoch" and not case.recipe:
        raise ValueError(f"{name} has no recipe whose epochs could be timed: choose another work")
    if batch < 1:
        raise ValueError(f"a batch has at least one sample, got {batch}")
    threads = threads or torch.get_num_threads()
    here = ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]
    devices = list(devices or here)
    if not set(devices) <= set(here):
        raise ValueError(f"the devices here are {', '.join(here)}, got {', '.join(devices)}")
    model, rows, absent = case.masked(sparsity), [], {}
    with on_threads(threads):
        inputs = case.inputs(batch)
        if work == "epoch":
            rows = race_epochs(case.recipe, load_mnist(), sparsity=sparsity or case.sparsity, rounds=min(rounds, 3))
        for device in devices if work != "epoch" else ():
            options = {"device": device, "rounds": rounds, "seconds": seconds, "threads": threads}
            if work == "inference":
                task = partial(_inference, model, inputs, **options)
            else:
                labels = torch.randint(10, (batch,), generator=torch.Generator().manual_seed(0), device="cpu")
                task = partial(race_training, model, inputs, labels, **options)
            able = [name for name, method in METHODS.items() if work == "inference" or method.trains]
            found, missing = _leaving_out(task, methods or able)
            rows += found
            absent |= missing
        stamp = provenance()
    active, total = count_weights(model)
    return {
        "case": name,
        "work": work,
        "batch": batch,
        "threads": threads,
        "sparsity": case.sparsity if sparsity is None else sparsity,
        "allocation": case.allocation,
        "active_weights": active,
        "total_weights": total,
        "macs": sum(macs(model, inputs[0]).values()),
        "dense_macs": sum(macs(to_dense(model), inputs[0]).values()),
        "rounds": min(len(row.times_ms) for row in rows),
        "rows": [asdict(row) | {"times_ms": [round(ms, 5) for ms in row.times_ms]} for row in rows],
        "absent": absent,
        "provenance": stamp,
    }


def _inference(model: nn.Module, inputs: Tensor, *, device: str, rounds: int, seconds: float, threads: int,
               methods: Iterable[str]) -> tuple[list[Row], dict[str, str]]:  # fmt: skip
    (reference,), _ = rivals(model, inputs, methods=["Dense+Mask"])  # on the CPU, for every device
    present, absent = rivals(model, inputs, device=device, threads=threads, methods=methods)
    copies = (False,) if device == "cpu" else (False, True)
    options = {"rounds": rounds, "seconds": seconds, "threads": threads}
    return race(present, inputs, copies=copies, reference=reference, **options), absent


def _leaving_out(race: Callable, methods: Iterable[str]) -> tuple[list[Row], dict[str, str]]:
    """Run a race; where a package that is not ours is wrong here, say so and run it again without."""
    methods, wrong = list(methods), {}
    while True:
        try:
            rows, absent = race(methods=methods)
        except UnlikeWork as why:
            if why.method not in methods or not METHODS[why.method].optional:
                raise
            methods.remove(why.method)
            wrong[why.method] = str(why)
        else:
            return rows, absent | wrong
