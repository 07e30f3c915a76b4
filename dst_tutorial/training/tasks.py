"""Tasks in which most inputs say nothing, or most classes need few: where sparse might win, or lose.

All are made from a seed, and all are `Dataset`s: `beside_noise(load_mnist_6000(), 9)`. `DATASETS` names what the
recorded runs are trained on.
"""

import math
import warnings
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache, partial

import numpy as np
import torch
from torch import Tensor

from ..randomness import stream
from .data import (
    Dataset,
    load_fashion_mnist,
    load_mnist,
    load_mnist1d,
    load_mnist_6000,
    load_mnist_validation,
)

NOISE = (0, 1, 3, 9, 19)  # inputs of noise for one of MNIST's pixels
SIZES = (1_000, 6_000, 60_000)  # of MNIST's training images


def sklearn():
    """scikit-learn. ModuleNotFoundError with its mend: only these studies need it."""
    try:
        import sklearn.datasets
        import sklearn.ensemble
        import sklearn.feature_selection
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"this needs scikit-learn, which this Python does not have ({error.name}): `make setup` installs it; "
            "by hand, `pip install scikit-learn` does",
            name=error.name,
        ) from error
    return sklearn


def beside_noise(data: Dataset, times: int, seed: int = 0) -> Dataset:
    """The same images as rows [N, 1, (1 + times) * pixels]: behind the pixels `times` as many inputs of pure noise.

    The noise is normal, of mean 0 and standard deviation 1 as MNIST's normalised pixels are. After the noisy tasks of
    Grooten et al., "Automatic Noise Filtering with Dynamic Sparse Training in Deep Reinforcement Learning", AAMAS 2023,
    arXiv 2302.06548.
    """
    generator = stream(seed, f"noise {times}")

    def wider(images: Tensor) -> Tensor:
        rows = images.new_empty(len(images), 1, (1 + times) * images[0].numel())
        rows[:, 0, : images[0].numel()] = images.flatten(1)
        rows[:, 0, images[0].numel() :].normal_(generator=generator)
        return rows

    return replace(
        data,
        name=f"{data.name}-noise-{times}",
        train_images=wider(data.train_images),
        test_images=wider(data.test_images),
    )


def few_of_many(inputs: int = 2_000, telling: int = 20, classes: int = 4, sizes: tuple[int, int] = (6_000, 4_000),
                seed: int = 0) -> Dataset:  # fmt: skip
    """Inputs [N, 1, inputs] of which the first `telling` say the class: two clusters a class, at corners of a cube.

    scikit-learn's `make_classification`, the generator of Madelon (Guyon, "Design of experiments for the NIPS 2003
    variable selection benchmark"), with its own settings otherwise.
    """
    rows, labels = sklearn().datasets.make_classification(
        sum(sizes), inputs, n_informative=telling, n_redundant=0, n_classes=classes, shuffle=False, random_state=seed
    )
    order = torch.randperm(sum(sizes), generator=stream(seed, "few of many"))
    return _split("few-of-many", torch.from_numpy(rows.astype(np.float32))[order], torch.from_numpy(labels)[order],
                  sizes[0])  # fmt: skip


def parity(inputs: int = 200, telling: int = 3, sizes: tuple[int, int] = (60_000, 10_000), seed: int = 0) -> Dataset:
    """Inputs [N, 1, inputs] of -1 and 1; the class is whether an odd number of the first `telling` are 1.

    No input says anything alone, nor do two of three together. Source: Edelman et al., "Pareto Frontiers in Neural
    Feature Learning: Data, Compute, Width, and Luck", NeurIPS 2023, arXiv 2309.03800.
    """
    bits = torch.randint(2, (sum(sizes), inputs), generator=stream(seed, "parity"))
    return _split("parity", 2.0 * bits - 1, bits[:, :telling].sum(1) % 2, sizes[0])


def many_classes(used: int, classes: int = 2_000, features: int = 256, each: int = 24, seed: int = 0) -> Dataset:
    """Features [N, 1, features] of many classes, each marked by `used` of them: `each` rows a class to train on.

    A class has a direction that is zero but for its features, 1 or -1 there, and length 7; a row is that and noise of
    standard deviation 1. Few used are what an output layer of few connections can tell; if all are used, none is. After
    Ullah et al., "Navigating Extremes: Dynamic Sparsity in Large Output Spaces", NeurIPS 2024, arXiv 2411.03171.
    """
    generator = stream(seed, "many classes")
    own = torch.rand(classes, features, generator=generator).argsort(1) < used
    signs = 2.0 * torch.randint(2, own.shape, generator=generator) - 1
    directions = own * signs * (7 / math.sqrt(used))
    labels = torch.arange(classes).repeat(each + 4)
    labels = torch.cat([part[torch.randperm(len(part), generator=generator)] for part in
                        (labels[: classes * each], labels[classes * each :])])  # fmt: skip
    rows = directions[labels] + torch.randn(len(labels), features, generator=generator)
    return _split(f"classes-{'all' if used == features else 'own'}", rows, labels, classes * each)


def _split(name: str, rows: Tensor, labels: Tensor, train: int) -> Dataset:
    rows, labels = rows.unsqueeze(1), labels.long()
    return Dataset(name, rows[:train], labels[:train], rows[train:], labels[train:])


def most_telling(data: Dataset, inputs: int) -> Dataset:
    """Rows [N, 1, inputs] of those inputs that say most of the class one by one: the largest F (analysis of variance).

    What a practitioner would try first, as in scikit-learn's `SelectKBest`; it looks at the training part alone.
    """
    there = data.train_images[0].numel()
    if not 1 <= inputs <= there:
        raise ValueError(f"inputs must be from 1 to {there} ({data.name}), got {inputs}")
    selection = sklearn().feature_selection
    with np.errstate(invalid="ignore", divide="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a pixel that never changes says nothing
        scores, _ = selection.f_classif(data.train_images.flatten(1).numpy(), data.train_labels.numpy())
    best = torch.from_numpy(np.nan_to_num(scores, nan=-1.0)).topk(inputs).indices.sort().values
    return replace(
        data,
        train_images=data.train_images.flatten(1)[:, best].unsqueeze(1),
        test_images=data.test_images.flatten(1)[:, best].unsqueeze(1),
    )


# --- by name ----------------------------------------------------------------------------------------------------------

HELD_OUT = 6  # of that many training examples one is held out to choose on


def _first(size: int, load: Callable[[], Dataset]) -> Dataset:
    data = load()
    return replace(data.at_most(size), name=f"{data.name}-{size}")


def _clothes_beside_noise() -> Dataset:
    return beside_noise(_first(6_000, load_fashion_mnist), 9)


def _validation(load: Callable[[], Dataset]) -> Dataset:
    whole = load()
    return whole.hold_out(len(whole.train_labels) // HELD_OUT)


_TASKS: dict[str, Callable[[], Dataset]] = {
    "mnist-6000": load_mnist_6000,
    "mnist1d": load_mnist1d,
    **{f"mnist-{size}": partial(_first, size, load_mnist) for size in SIZES if size != 6_000},
    **{f"mnist-6000-noise-{times}": lambda times=times: beside_noise(load_mnist_6000(), times) for times in NOISE},
    "fashion-mnist": load_fashion_mnist,
    "fashion-mnist-6000-noise-9": _clothes_beside_noise,
    "few-of-many": few_of_many,
    "parity": parity,
    "classes-own": partial(many_classes, 26),
    "classes-all": partial(many_classes, 256),
}
_TASKS |= {f"{name}-validation": partial(_validation, load) for name, load in _TASKS.items()}


@lru_cache(2)  # the largest holds a gigabyte
def _made(name: str) -> Dataset:
    return _TASKS[name]()


DATASETS: dict[str, Callable[[], Dataset]] = {
    "mnist": load_mnist,
    "mnist-validation": load_mnist_validation,
    **{name: partial(_made, name) for name in _TASKS},
}
