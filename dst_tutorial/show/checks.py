"""The checks behind the claims: each finds out what became of one number on the slides.

From result files, from shapes, or by arithmetic on the slides' own numbers. A check returns a Finding.
"""

import statistics
from collections.abc import Callable
from dataclasses import dataclass

from torch import nn

from ..layers import count_weights, csr_bytes, dense_bytes, format_bytes, masked_bytes, sparse_layers, sparsify
from ..studies import load_masks, load_results, slide8, slides
from ..timing import row_of, rows_of
from ..training import SlideCNN
from .tables import threads_of

REPRODUCED, NOT_REPRODUCED, ARTEFACT, NOT_MEASURED = "reproduced", "not reproduced", "artefact", "not measured"
GPU = "none at hand"


@dataclass(frozen=True)
class Finding:
    """What was found of a claim."""

    measured: str
    verdict: str
    hardware: str = "any"


def _verdict(holds: bool) -> str:
    return REPRODUCED if holds else NOT_REPRODUCED


# --- parameters and bytes: counted ------------------------------------------------------------------------------------


def _network() -> nn.Module:
    """The slides' sparse network, untrained."""
    return sparsify(SlideCNN(), slides.SPARSITY, allocation="uniform", init="dense")


def _parameters() -> tuple[int, int]:
    """(of the dense network, active ones of the sparse network), biases included."""
    model = _network()
    biases = sum(p.numel() for name, p in model.named_parameters() if name.endswith("bias"))
    active, total = count_weights(model)
    return total + biases, active + biases


def fewer_parameters() -> Finding:
    dense, sparse = _parameters()
    share = 100 * (1 - sparse / dense)
    return Finding(f"{share:.2f}% fewer ({sparse:,} of {dense:,})", _verdict(abs(share - 95) <= 0.5))


def dense_parameters() -> Finding:
    dense, _ = _parameters()
    return Finding(f"{dense:,}", _verdict(abs(dense - slides.PARAMETERS["dense"]) <= 0.05e6))


def sparse_parameters() -> Finding:
    _, sparse = _parameters()
    weights = count_weights(_network())[0]
    holds = abs(sparse / slides.PARAMETERS["slides"] - 1) <= 0.05
    return Finding(f"{sparse:,}: {weights:,} weights and {sparse - weights:,} biases", _verdict(holds))


def active_share() -> Finding:
    active, total = count_weights(_network())
    return Finding(f"{100 * active / total:.3f}%", _verdict(abs(active / total - 0.05) <= 0.0005))


def _held_by_masks(model: nn.Module) -> int:
    """Bytes that Dense+Mask holds in training, without what comes and goes within a step."""
    return sum(n for kind, n in masked_bytes(model).items() if kind != "transient")


def memory_saved() -> Finding:
    model = _network()
    in_training = sum(dense_bytes(model).values())
    csr, masked = sum(csr_bytes(model).values()) / in_training, _held_by_masks(model) / in_training
    stored, dense = 0, 0
    for layer in sparse_layers(model).values():
        rows, columns = layer.weight_shape[0], layer.weight_shape[1:].numel()
        sizes = format_bytes(rows, columns, layer.active_weights)
        stored, dense = stored + sizes["CSR"], dense + sizes["dense"]
    saved = 1 - stored / dense
    return Finding(
        f"stored as CSR (int32): {100 * saved:.1f}%; in training: Dense+Mask {100 * (1 - masked):.1f}%, "
        f"CSR would {100 * (1 - csr):.1f}%",
        _verdict(abs(saved - slides.MEMORY_SAVED) <= 0.01),
    )


def masks_save_nothing() -> Finding:
    model = _network()
    dense, masked = sum(dense_bytes(model).values()), _held_by_masks(model)
    return Finding(f"{masked / 1e6:.1f} MB held in training, dense {dense / 1e6:.1f} MB", _verdict(masked >= dense))


def overhead_at_low_sparsity() -> Finding:
    size, n = format_bytes(1000, 1000, 0), 1000 * 1000
    even = (size["dense"] - size["CSR"]) / 8 / n
    return Finding(f"CSR (int32) of 1000 x 1000 is larger than dense below {100 * (1 - even):.2f}% sparsity",
                   _verdict(0.5 < 1 - even < 0.51))  # fmt: skip


def architecture() -> Finding:
    shapes = [tuple(p.shape) for name, p in SlideCNN().named_parameters() if name.endswith("weight")]
    convolutions = [shape[0] for shape in shapes if len(shape) == 4]
    linear = [shape[0] for shape in shapes if len(shape) == 2]
    holds = (convolutions, len(linear)) == ([16, 32], 4)
    return Finding(f"{len(convolutions)} ({convolutions} channels) and {len(linear)} ({linear} units)", _verdict(holds))


# --- training: from figures/results/slides.json -----------------------------------------------------------------------


def _runs(recipe: str) -> list[dict]:
    return [run for run in load_results("slides")["runs"] if run["config"]["recipe"]["name"] == recipe]


def _cpu_of(runs: list[dict]) -> str:
    return ", ".join(
        sorted({f"{by['cpu']}, {threads_of(by['threads'])}" for by in (run["provenance"] | run for run in runs)})
    )


def _last(recipe: str, key: str) -> list[float]:
    return [run["summary"][key] for run in _runs(recipe)]


def _spread(values: list[float], form: str, unit: str = "") -> str:
    return (
        f"{statistics.mean(values):{form}} ± {statistics.stdev(values):{form.lstrip('+')}}{unit}, {len(values)} seeds"
    )


def trained(recipe: str, key: str, claimed: float, tolerance: float, form: str, unit: str = "") -> Callable:
    def find() -> Finding:
        values = _last(recipe, key)
        holds = abs(statistics.mean(values) - claimed) <= tolerance
        return Finding(_spread(values, form, unit), _verdict(holds), _cpu_of(_runs(recipe)))

    return find


def it_trains() -> Finding:
    values = _last("slides", "test_accuracy")
    return Finding(f"{_spread(values, '.2f', '%')}", _verdict(min(values) > 95), _cpu_of(_runs("slides")))


def images() -> Finding:
    sizes = {(run["summary"]["train_size"], run["summary"]["test_size"]) for run in _runs("slides")}
    told = "; ".join(f"{train:,} and {test:,}" for train, test in sorted(sizes))
    return Finding(told, _verdict(sizes == {(60_000, 10_000)}))


def protocol() -> Finding:
    runs = _runs("slides")
    found = {(run["summary"]["epochs"], run["config"]["sparsity"]) for run in runs}
    told = "; ".join(f"{epochs} epochs, {100 * sparsity:g}%" for epochs, sparsity in sorted(found))
    return Finding(told, _verdict(found == {(slides.EPOCHS, slides.SPARSITY)}))


def by_epoch() -> Finding:
    curves = [[epoch["test_accuracy"] for epoch in run["epochs"]] for run in _runs("slides")]
    means = [statistics.mean(column) for column in zip(*curves, strict=True)][: len(slides.BY_EPOCH)]
    holds = all(abs(a - b) <= 1.5 for a, b in zip(means, slides.BY_EPOCH, strict=True))
    return Finding(", ".join(f"{mean:.2f}" for mean in means), _verdict(holds), _cpu_of(_runs("slides")))


def gap() -> Finding:
    gaps = [a - b for a, b in zip(_last("slides", "test_accuracy"), _last("dense", "test_accuracy"), strict=True)]
    holds = abs(statistics.mean(gaps) - slides.GAP) <= 0.5
    return Finding(_spread(gaps, "+.2f", " percentage points"), _verdict(holds), _cpu_of(_runs("slides")))


# --- masks: from figures/results/slides_masks.npz ---------------------------------------------------------------------


def _sparsities() -> list[float]:
    return [
        1 - sum(m.active for m in s.masks.values()) / sum(m.size for m in s.masks.values())
        for s in load_masks("slides").snapshots
    ]


def sparse_at_the_start() -> Finding:
    first = _sparsities()[0]
    return Finding(f"{100 * first:.3f}%", _verdict(abs(first - slides.SPARSITY) <= 0.0005))


def sparse_ever_after() -> Finding:
    found = _sparsities()
    holds = max(found) - min(found) < 1e-12 and abs(found[-1] - slides.SPARSITY) <= 0.0005
    return Finding(f"{100 * min(found):.3f}% to {100 * max(found):.3f}% over {len(found)} masks", _verdict(holds))


def every_two_epochs() -> Finding:
    epochs = [s.epoch for s in load_masks("slides").snapshots[1:]]
    return Finding(f"after epochs {', '.join(map(str, epochs))}", _verdict(epochs == [2, 4, 6, 8, 10]))


def topology_changes() -> Finding:
    first, *_, last = load_masks("slides").snapshots
    moved = {name: int((mask.unpack() & ~last.masks[name].unpack()).sum()) for name, mask in first.masks.items()}
    still = [name for name, n in moved.items() if n == 0]
    share = sum(moved.values()) / sum(mask.active for mask in first.masks.values())
    told = (
        f"{100 * share:.0f}% of the first connections are gone at the end; {', '.join(still) or 'no layer'} never moves"
    )
    return Finding(told, _verdict(share > 0))


# --- times: by arithmetic, and from figures/results/benchmark.json ----------------------------------------------------


def _benchmark(device: str = "cpu") -> dict | None:
    """The latest one on one thread, or with rows of that device."""
    return next((run for run in slide8(threads=1) if row_of(rows_of(run), "Dense+Mask", device)), None)


def uneven_runs(method: str) -> Callable:
    """An artefact if no usual call took the mean: if one of the ten took more than twice as long, by arithmetic."""

    def find() -> Finding:
        mean, deviation = slides.MILLISECONDS[method, "cpu"], slides.DEVIATIONS[method, "cpu"]
        cold, warm = slides.cold_and_warm(mean, deviation)
        slowest = slides.slowest_at_least(mean, deviation)
        low, median, high = row_of(rows_of(_benchmark()), method).quartiles
        told = (
            f"a run of {slowest:,.1f} ms at least is in that mean (one of {cold:,.1f} and nine of {warm:.2f} would fit "
            f"it); ours, whole network, warm: {median:.2f} [{low:.2f}, {high:.2f}] ms"
        )
        return Finding(told, ARTEFACT if slowest > 2 * mean else NOT_REPRODUCED, _cpu_of([_benchmark()]))

    return find


def ten_runs() -> Finding:
    """No ten times can have a deviation of more than 3 means: then one took all the time."""
    share = slides.DEVIATIONS["torch CSR", "cpu"] / slides.MILLISECONDS["torch CSR", "cpu"]
    most = (slides.CALLS - 1) ** 0.5
    told = f"CSR's deviation is {share:.4f} means; {slides.CALLS} runs can have {most:.0f}, if one took all the time"
    return Finding(told, ARTEFACT if share > 0.99 * most else REPRODUCED)


def csr_against_mask() -> Finding:
    """An artefact if the two are level, within a factor of two."""
    rows = rows_of(_benchmark())
    ratio = row_of(rows, "torch CSR").times(row_of(rows, "Dense+Mask"))
    verdict = ARTEFACT if 0.5 < ratio < 2 else NOT_REPRODUCED
    return Finding(f"{ratio:.2f} times the time of Dense+Mask", verdict, _cpu_of([_benchmark()]))


def samples() -> Finding:
    held = min(slides.SAMPLES, slides.BATCH)
    told = f"{held}: the lab's notebook cut them from a batch of {slides.BATCH}"
    return Finding(told, ARTEFACT if held < slides.SAMPLES else REPRODUCED)


def _gpu_rows() -> tuple[list, str]:
    run = _benchmark("cuda")
    if not run:
        return [], GPU
    return [row_of(rows_of(run), method, "cuda") for method in ("Dense+Mask", "torch CSR")], run["provenance"]["gpu"]


def gpu_time(method: str) -> Callable:
    """Reproduced within a factor of two: the slides' GPU was a Tesla T4."""

    def find() -> Finding:
        rows, gpu = _gpu_rows()
        if not rows:
            return Finding("–", NOT_MEASURED, gpu)
        low, median, high = next(row for row in rows if row.method == method).quartiles
        ratio = median / slides.MILLISECONDS[method, "cuda"]
        return Finding(f"{median:.2f} [{low:.2f}, {high:.2f}] ms", _verdict(0.5 < ratio < 2), gpu)

    return find


def gpu_ratio() -> Finding:
    rows, gpu = _gpu_rows()
    if not rows:
        return Finding("–", NOT_MEASURED, gpu)
    ratio = rows[1].times(rows[0])
    return Finding(f"{ratio:.2f} times", _verdict(abs(ratio - slides.GPU_RATIO) <= 0.3), gpu)
