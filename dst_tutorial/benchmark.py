"""Honest timing: the same network, the same images, the same copies on every side; outputs compared first.

A *rival* computes the network in its own way. All rivals are called by the same two lines of `work`, take turns round
by round, warm up before every reading, and are read one by one, with the GPU waited for (`torch.utils.benchmark`).
"""

import copy
import io
import logging
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import partial

import numpy as np
import torch
from scipy.sparse import csr_matrix
from torch import Tensor, nn

from .choices import choose
from .convert import to_dense, to_truly_sparse
from .kernels import CSR, REFERENCE, Backend
from .models import SlideCNN
from .provenance import provenance
from .recipes import build, find_recipe
from .sparsify import count_weights, sparse_layers

RTOL, ATOL = 1e-4, 1e-5
# On a machine with CUDA's compiler and no GPU, torch's timer warns of that: no concern of a reader's.
logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)


from torch.utils.benchmark import Timer  # noqa: E402  it is its import that warns


class UnlikeWork(ValueError):
    """The rivals do not do the same: their times must not stand in one table."""


class Absent(Exception):
    """A rival that cannot run here, and why."""


@dataclass(frozen=True)
class Rival:
    method: str
    device: str  # of its inputs and outputs
    run: Callable[[Tensor], Tensor] = field(repr=False)  # images -> logits, both on `device`


def slides_network(sparsity: float = 0.95, seed: int = 42) -> nn.Module:
    """The slides' masked network, untrained, drawn for its actual fan-in: so every layer shows in the logits."""
    return build(find_recipe("slides-fan-in"), SlideCNN, sparsity, seed)


# --- the rivals: a masked network on its device, an example of its inputs -> a function that computes it --------------


def masked(model: nn.Module, images: Tensor, threads: int) -> Callable:
    return model


def dense(model: nn.Module, images: Tensor, threads: int) -> Callable:
    return to_dense(model)


def torch_csr(model: nn.Module, images: Tensor, threads: int) -> Callable:
    return _with_backend(to_truly_sparse(model), REFERENCE)


def scipy_csr(model: nn.Module, images: Tensor, threads: int) -> Callable:
    """The truly sparse layers with scipy's product in the place of torch's. scipy uses one thread, always."""
    sparse, matrices = to_truly_sparse(model), {}

    def product(weight: CSR, x: Tensor) -> Tensor:
        if weight.values not in matrices:
            parts = (part.detach().numpy() for part in (weight.values, weight.columns, weight.row_pointers))
            matrices[weight.values] = csr_matrix(tuple(parts), weight.shape)
        return torch.from_numpy(matrices[weight.values] @ x.numpy())

    return _with_backend(sparse, partial(REFERENCE, product=product))


def truly_sparse(model: nn.Module, images: Tensor, threads: int) -> Callable:
    """The fastest backend there is here."""
    return to_truly_sparse(model)


def _with_backend(model: nn.Module, backend: Backend) -> nn.Module:
    for layer in sparse_layers(model).values():
        layer.backend = backend
    return model


def onnx_runtime(model: nn.Module, images: Tensor, threads: int) -> Callable:
    """The dense network in ONNX Runtime: what dense kernels can do without torch's overhead."""
    try:
        import onnx  # noqa: F401  torch's exporter wants it
        from onnxruntime import InferenceSession, SessionOptions
    except ModuleNotFoundError as error:
        raise Absent(f"{error.name} is not installed: `pip install onnx onnxruntime`") from error
    file, options = io.BytesIO(), SessionOptions()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch would rather have its newer exporter used: 10 s for the same graph
        torch.onnx.export(to_dense(model), (images,), file, dynamo=False)
    options.intra_op_num_threads = threads
    session = InferenceSession(file.getvalue(), options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda x: torch.from_numpy(session.run(None, {name: x.numpy()})[0])


METHODS: dict[str, Callable] = {
    "Dense+Mask": masked,
    "dense": dense,
    "ONNX Runtime, dense": onnx_runtime,
    "scipy CSR": scipy_csr,
    "torch CSR": torch_csr,
}
OURS: dict[str, Callable] = {"truly sparse": truly_sparse}  # not among the slides' methods
ON_GPU = ("Dense+Mask", "dense", "torch CSR")


def rivals(
    model: nn.Module, images: Tensor, *, device: str = "cpu", threads: int = 1, methods: Iterable[str] = METHODS
) -> tuple[list[Rival], dict[str, str]]:
    """The rivals for a masked `model` on `device`, and those that are absent: method -> the reason.

    `model` is left alone. `images` are an example of what they will be given. ValueError for an unknown method.
    """
    makers = {method: choose(method, METHODS | OURS, "method") for method in methods}
    model, images = copy.deepcopy(model).to(device).eval(), images.to(device)
    present, absent = [], {}
    for method, make in makers.items():
        if device != "cpu" and method not in ON_GPU:
            continue
        try:
            present.append(Rival(method, device, make(model, images, threads)))
        except Absent as why:
            absent[method] = str(why)
    return present, absent


# --- the clock --------------------------------------------------------------------------------------------------------


def work(rival: Rival, images: Tensor, copies: bool) -> Callable[[], Tensor]:
    """What the clock sees, the same two lines for every rival. `images` are in the host's memory.

    copies   whether bringing the images to the device and the logits back is part of it
    """
    if copies:
        return lambda: rival.run(images.to(rival.device)).cpu()
    there = images.to(rival.device)
    return lambda: rival.run(there)


@torch.inference_mode()
def compare(rivals: Iterable[Rival], images: Tensor, reference: Rival | None = None) -> dict[Rival, float]:
    """The largest difference of each rival's logits from the reference's (the first rival's, if none is given).

    UnlikeWork where one is larger than 1e-5 + 1e-4 * |logit|, or lies on another device, or has another type or shape.
    Each sees two batches: one that remembers an answer, or keeps images on its device beforehand, fails.
    """
    rivals, differences = list(rivals), {}
    reference = reference or rivals[0]
    for batch in (images, images.flip(0) / 2):
        expected = work(reference, batch, copies=True)()
        if len(expected) > 1 and expected.std(dim=0).max() < 100 * ATOL:
            raise UnlikeWork("the logits hardly differ from image to image: they cannot show whether networks agree")
        for rival in rivals:
            with exact_float32():
                logits = work(rival, batch, copies=False)()
            if logits.device.type != torch.device(rival.device).type:
                raise UnlikeWork(f"{rival.method} leaves its logits on {logits.device}, not on {rival.device}")
            logits = logits.cpu()
            if logits.shape != expected.shape or logits.dtype != expected.dtype:
                raise UnlikeWork(
                    f"{rival.method} gives {logits.dtype} {list(logits.shape)}, "
                    f"{reference.method} {expected.dtype} {list(expected.shape)}"
                )
            difference = (logits - expected).abs()
            if not (difference <= ATOL + RTOL * expected.abs()).all():
                raise UnlikeWork(
                    f"{rival.method} and {reference.method} do not compute the same network: their logits differ by "
                    f"up to {difference.max():.2g}"
                )
            differences[rival] = max(differences.get(rival, 0.0), difference.max().item())
    return differences


@dataclass
class Row:
    """The readings of one rival, in milliseconds."""

    method: str
    device: str
    copies: bool
    largest_difference: float  # of its logits from the reference's, see `compare`
    first_ms: float  # its very first call: with what is set up only once, unless an earlier rival did so
    times_ms: list[float] = field(default_factory=list, repr=False)  # one call each, in the order they were made

    @property
    def quartiles(self) -> tuple[float, float, float]:
        """(q1, median, q3)."""
        return tuple(np.percentile(self.times_ms, (25, 50, 75)).tolist())

    @property
    def median(self) -> float:
        return self.quartiles[1]


def race(
    rivals: Iterable[Rival],
    images: Tensor,
    *,
    rounds: int = 20,
    threads: int = 1,
    copies: Iterable[bool] = (False,),
    reference: Rival | None = None,
) -> list[Row]:
    """Compare the outputs, then time every rival once a round, in turns; a Row each (and each way of `copies`).

    UnlikeWork if outputs differ from the reference's: see `compare`. A reading is one call behind two unread ones, with
    `threads` threads of torch.
    """
    rivals, copies = list(rivals), list(copies)
    with torch.inference_mode():
        first = {rival: _first_call(work(rival, images, copies=False)) for rival in rivals}
    differences = compare(rivals, images, reference)
    rows, tasks = [], []
    for rival in rivals:
        for with_copies in copies:
            rows.append(Row(rival.method, rival.device, with_copies, differences[rival], first[rival]))
            tasks.append(torch.inference_mode()(work(rival, images, with_copies)))
    with exact_float32():
        for row, times in zip(rows, take_turns(tasks, rounds, threads), strict=True):
            row.times_ms += times
    return rows


def take_turns(tasks: Iterable[Callable], rounds: int, threads: int) -> list[list[float]]:
    """Milliseconds of so many calls of each task, each behind two unread ones, round by round."""
    timers = [Timer("task()", globals={"task": task}, num_threads=threads) for task in tasks]
    times: list[list[float]] = [[] for _ in timers]
    for _ in range(rounds):
        for timer, mine in zip(timers, times, strict=True):
            mine += [1e3 * seconds for seconds in timer.timeit(1).raw_times]
    return times


@contextmanager
def exact_float32() -> Iterator[None]:
    """No TF32 on a GPU: with its 10 bits the work is not the same."""
    settings = (torch.backends.cudnn, torch.backends.cuda.matmul)
    before = [setting.allow_tf32 for setting in settings]
    try:
        for setting in settings:
            setting.allow_tf32 = False
        yield
    finally:
        for setting, allowed in zip(settings, before, strict=True):
            setting.allow_tf32 = allowed


def rows_of(result: dict) -> list[Row]:
    """The rows of a (recorded) benchmark."""
    return [Row(**row) for row in result["rows"]]


def row_of(rows: Iterable[Row], method: str, device: str = "cpu", *, copies: bool = False) -> Row | None:
    """The one row of that kind, or None."""
    return next((row for row in rows if (row.method, row.device, row.copies) == (method, device, copies)), None)


def _first_call(task: Callable) -> float:
    started = time.perf_counter()
    task()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return 1e3 * (time.perf_counter() - started)


def bench(
    model: nn.Module,
    images: Tensor,
    *,
    rounds: int = 20,
    threads: int | None = None,
    devices: Iterable[str] | None = None,
    methods: Iterable[str] = METHODS,
) -> dict:
    """The benchmark of a masked `model` on `images`: inference of the whole network. Plain values, ready for JSON.

    threads   of torch and of ONNX Runtime; as many as torch takes now if not given
    devices   "cpu" and, where there is a GPU, "cuda", unless given. On a GPU there are two rows a method: one with
              images and logits in its own memory, one with the copies from and to the host's.
    """
    threads = threads or torch.get_num_threads()
    here = ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]
    devices = list(devices or here)
    if not set(devices) <= set(here):
        raise ValueError(f"the devices here are {', '.join(here)}, got {', '.join(devices)}")
    methods, rows, absent = list(methods), [], {}
    reference = rivals(model, images, methods=["Dense+Mask"])[0][0]  # on the CPU, for every device
    for device in devices:
        present, missing = rivals(model, images, device=device, threads=threads, methods=methods)
        copies = (False,) if device == "cpu" else (False, True)
        rows += race(present, images, rounds=rounds, threads=threads, copies=copies, reference=reference)
        absent |= missing
    active, total = count_weights(model)
    return {
        "network": type(model).__name__,
        "active_weights": active,
        "total_weights": total,
        "batch": len(images),
        "rounds": rounds,
        "threads": threads,
        "rows": [asdict(row) for row in rows],
        "absent": absent,
        "provenance": provenance() | {"threads": threads},
    }
