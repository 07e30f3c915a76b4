"""Notebook 09: how much noise stands beside the digits, and who finds them."""

from collections.abc import Callable, Mapping, Sequence
from functools import cache, lru_cache
from typing import NamedTuple

from matplotlib.figure import Figure

from ...show import figures, plots
from ...studies import FINAL, REGIMES, load_results, tuned, winner
from ...topology import out_degrees
from ...training import NOISE, Dataset, Epoch, LeNet300100, Run, beside_noise, load_mnist_6000, train
from .explorer import choice, slider
from .live import LiveExplorer

REGIME = dict(zip(NOISE, REGIMES["noise"], strict=True))
SPARSITIES = REGIME[0].sparsities
SHOWN = tuple(name for name in REGIME[0].contenders if name != "dense, weight decay")
TRAINED = ("RigL", "RigL, L1", "SET", "static mask")
TEST = 2_000  # images that a fresh run is tested on


class Noise(NamedTuple):
    """Where the explorer stands."""

    times: int = 9  # inputs of noise for each pixel
    sparsity: float = 0.98
    contender: str = "RigL"  # to be trained


_by_noise, _what_is_read = cache(figures.by_noise), cache(figures.what_is_read)


Live = Mapping[str, tuple[Sequence[float], Run | None]]  # contender -> test accuracies by epoch; all, when it has ended


def draw_noise(times: int = 9, sparsity: float = 0.98, contender: str = "RigL", live: Live | None = None) -> Figure:
    """Who gets how far at that sparsity beside so much noise, and which pixels the first layer reads in the end.

    One contender is drawn thick; `live` are fresh runs, drawn on top.
    """
    live = live or {}
    maps, shares = ({n: of for n, of in found.items() if n in TRAINED} for found in _what_is_read(times, sparsity))
    for name, (_, run) in live.items():
        if run:
            first = [snapshot.masks["fc1"] for snapshot in (run.history.snapshots[0], run.history.snapshots[-1])]
            degrees = [out_degrees(mask) for mask in first]
            maps[f"{name}, now"] = degrees[1][:784].tolist()
            shares[f"{name}, now"] = tuple(d[:784].sum() / d.sum() for d in degrees)
    title = f"MNIST beside {times} x as many inputs of noise, {100 * sparsity:g}% sparse"
    curves = {name: curve for name, (curve, _) in live.items()}
    return plots.point_of_noise(_by_noise(sparsity, SHOWN), times, maps, shares, curves, contender, title)


@lru_cache(1)  # hundreds of megabytes
def _data(times: int) -> Dataset:
    return beside_noise(load_mnist_6000().at_most(None, TEST), times)


def train_noise(point: Noise, seed: int, on_epoch: Callable[[Epoch], bool | None] | None = None) -> Run:
    """A point from a fresh seed, truly sparse, as the recorded ones are; tested on the first 2,000 test images."""
    regime = REGIME[point.times]
    return train(
        winner(tuned(load_results("noise-tuning")), point.contender, regime).recipe,
        _data(point.times),
        network=LeNet300100.reading((1, regime.inputs), 10),
        epochs=regime.epochs,
        sparsity=point.sparsity,
        seed=seed,
        progress=False,
        backend="sparse",
        on_epoch=on_epoch,
    )


class NoiseExplorer(LiveExplorer):
    """Move the noise and the sparsity: the answer is recorded; train any point anew."""

    epochs = REGIME[0].epochs

    def __init__(self) -> None:
        first = Noise()
        controls = {
            "times": slider([(f"{n} x", n) for n in NOISE], first.times, "noise for each pixel"),
            "sparsity": slider(SPARSITIES, first.sparsity, "sparsity"),
            "contender": choice(TRAINED, first.contender, "to be trained"),
        }
        told = f"Recorded: {len(FINAL)} seeds, {self.epochs} epochs of 6,000 digits. A fresh run takes seconds."
        super().__init__(controls, told)

    @property
    def point(self) -> Noise:
        """Where the controls stand."""
        return Noise(**{name: control.value for name, control in self.controls.items()})

    def train_point(self, point: Noise, seed: int, on_epoch: Callable[[Epoch], bool]) -> Run:
        return train_noise(point, seed, on_epoch)

    def draw(self) -> Figure:
        here = {p.contender: found for p, found in self.live.items() if p[:2] == self.point[:2]}
        return draw_noise(*self.point, here)


noise_explorer = NoiseExplorer
