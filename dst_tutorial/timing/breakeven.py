"""From which sparsity on truly sparse pays: one layer over sparsity, width and batch; and what a connection costs."""

import math
import statistics
from collections.abc import Callable, Iterable, Mapping

import torch
from torch import nn

from ..layers import INDEX, VALUE, SparseLinear, sparsify
from ..provenance import provenance
from ..training import Adam
from .benchmark import answer, compare
from .clock import on_threads, take_turns
from .machine import roofline, stored_bytes
from .rivals import rivals

WIDTHS = (256, 512, 1024, 2048, 4096, 8192)
BATCHES = (1, 4, 16, 64, 256)
SPARSITIES = (0.5, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.999)
DENSE = ("dense", "Dense+Mask", "ONNX Runtime, dense")  # no zero changes what they take
SPARSE = ("scipy CSR", "torch CSR", "truly sparse")
CONNECTIONS = (10_000, 31_623, 100_000, 316_228, 1_000_000, 3_162_278, 10_000_000, 31_622_777, 100_000_000)


# --- time -------------------------------------------------------------------------------------------------------------


def layer_times(
    width: int,
    batch: int,
    sparsities: Iterable[float] = SPARSITIES,
    *,
    methods: Iterable[str] = DENSE + SPARSE,
    rounds: int = 7,
    threads: int = 1,
    device: str = "cpu",
) -> list[dict]:
    """Inference of one layer of width x width by every method, all sparsities in the same turns: a dict a method and
    sparsity, {"width", "batch", "method", "sparsity", "times_ms"}; the sparsity of what no zero changes is None.

    UnlikeWork if outputs differ from Dense+Mask's of the same sparsity.
    """
    x = torch.randn(batch, width, generator=torch.Generator().manual_seed(0), device="cpu")
    found, tasks, methods = [], [], list(methods)
    for first, sparsity in enumerate(sparsities):
        layer = sparsify(nn.Sequential(nn.Linear(width, width)), sparsity, allocation="uniform")
        wanted = [name for name in methods if not first or name in SPARSE]
        (reference,), _ = rivals(layer, x, methods=["Dense+Mask"])
        present, _ = rivals(layer, x, device=device, threads=threads, methods=wanted)
        compare(present, x, reference)
        for rival in present:
            told = sparsity if rival.method in SPARSE else None
            found.append({"width": width, "batch": batch, "method": rival.method, "sparsity": told})
            tasks.append(torch.inference_mode()(answer(rival, x)))
    for point, times in zip(found, take_turns(tasks, rounds, threads), strict=True):
        point["times_ms"] = times
    return found


def measure(
    widths: Iterable[int] = WIDTHS,
    batches: Iterable[int] = BATCHES,
    sparsities: Iterable[float] = SPARSITIES,
    *,
    rounds: int = 7,
    threads: int | None = None,
    device: str = "cpu",
    progress: Callable[[Iterable], Iterable] = iter,
) -> dict:
    """`layer_times` over widths and batches, with the machine's `roofline`. Plain values, ready for JSON."""
    threads, batches, sparsities = threads or torch.get_num_threads(), list(batches), list(sparsities)
    with on_threads(threads):
        roof = roofline(device)
        pairs = progress([(width, batch) for width in widths for batch in batches])
        points = [
            point
            for width, batch in pairs
            for point in layer_times(width, batch, sparsities, rounds=rounds, threads=threads, device=device)
        ]
    return {
        "device": device,
        "threads": threads,
        "rounds": rounds,
        "roofline": roof._asdict(),
        "points": points,
        "provenance": provenance(),
    }


def medians_by_sparsity(points: Iterable[Mapping]) -> dict[str, dict[float | None, float]]:
    """Of one width and batch: method -> sparsity -> milliseconds; of what no zero changes, under None."""
    found: dict[str, dict[float | None, float]] = {}
    for point in points:
        found.setdefault(point["method"], {})[point["sparsity"]] = statistics.median(point["times_ms"])
    return found


def pays_from(points: Iterable[Mapping], method: str, against: str) -> dict[tuple[int, int], float | None]:
    """(width, batch) -> the sparsity from which on `method` takes no longer than `against`, which no zero changes.

    Between two measured sparsities it is read off a straight line through log time against log density. The lowest
    measured one stands for itself and all below; None: at no measured one.
    """
    medians = {
        (point["width"], point["batch"], point["method"], point["sparsity"]): statistics.median(point["times_ms"])
        for point in points
    }
    found: dict[tuple[int, int], float | None] = {}
    for width, batch in dict.fromkeys(key[:2] for key in medians):
        dense = medians[width, batch, against, None]
        ratios = sorted(
            (sparsity, ms / dense)
            for (w, b, name, sparsity), ms in medians.items()
            if (w, b, name) == (width, batch, method)
        )
        found[width, batch] = _crossing(ratios)
    return found


def _crossing(ratios: list[tuple[float, float]]) -> float | None:
    """The sparsity behind which no ratio of the ascending (sparsity, ratio) is above one."""
    last = max((i for i, (_, ratio) in enumerate(ratios) if ratio > 1), default=-1)
    if last < 0:
        return ratios[0][0]
    if last == len(ratios) - 1:
        return None
    (low, above), (high, below) = ratios[last : last + 2]
    share = math.log(above) / (math.log(above) - math.log(below))
    return 1 - (1 - low) ** (1 - share) * (1 - high) ** share


# --- bytes ------------------------------------------------------------------------------------------------------------


def fewer_bytes_from(width: int, against: str = "dense") -> float:
    """The lowest sparsity at which CSR stores fewer bytes, to the connection.

    Against dense that is where 8 nnz + 4 (rows + 1) < 4 rows * columns; Dense+Mask has a byte more a weight.
    """
    room = stored_bytes("Dense+Mask" if against == "Dense+Mask" else "dense", width, 0.0) - INDEX * (width + 1)
    return 1 - (math.ceil(room / (VALUE + INDEX)) - 1) / width**2


# --- a connection -----------------------------------------------------------------------------------------------------


def scaling(connections: Iterable[int] = CONNECTIONS, *, batch: int = 64, density: float = 0.05, rounds: int = 5,
            threads: int | None = None) -> dict:  # fmt: skip
    """What a training step costs by the number of connections: single square layers of one density, in turns.

    The rows are named by the number of connections. Plain values, ready for JSON.
    """
    threads = threads or torch.get_num_threads()
    random = torch.Generator().manual_seed(0)
    tasks = {count: _layer_step(count, batch, density, random) for count in connections}
    with on_threads(threads):
        times = take_turns(tasks.values(), rounds, threads)
        stamp = provenance()
    return {
        "density": density,
        "batch": batch,
        "rounds": rounds,
        "threads": threads,
        "times_ms": {str(count): ms for count, ms in zip(tasks, times, strict=True)},
        "provenance": stamp,
    }


def _layer_step(connections: int, batch: int, density: float, random: torch.Generator) -> Callable[[], None]:
    """A training step of one layer, its inputs in need of a gradient as they are in the middle of a network."""
    width = round((connections / density) ** 0.5)
    layer = SparseLinear(width, width, density=connections / width**2, generator=random)
    optimizer = Adam(layer.parameters())
    x = torch.randn(batch, width, generator=random, requires_grad=True, device="cpu")
    gradient = torch.randn(batch, width, generator=random, device="cpu")

    def task() -> None:
        x.grad = None
        optimizer.zero_grad()
        layer(x).backward(gradient)
        optimizer.step()

    return task
