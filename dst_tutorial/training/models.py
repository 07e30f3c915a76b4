"""The dense networks of the tutorial, as plain `nn.Sequential`s whose layers have the slides' names."""

import bisect
import math
from collections import OrderedDict
from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import nn


def _fully_connected(widths: list[int], first: int = 1) -> OrderedDict[str, nn.Module]:
    """fc1, relu, fc2, relu, ..., with no ReLU behind the last."""
    layers = OrderedDict()
    for i, (n_in, n_out) in enumerate(pairwise(widths), start=1):
        layers[f"fc{i}"] = nn.Linear(n_in, n_out)
        layers[f"relu{i + first - 1}"] = nn.ReLU()
    layers.popitem()
    return layers


class SlideCNN(nn.Sequential):
    """The slides' network for MNIST: two convolutions and four linear layers, 1,345,642 parameters.

    Images [N, 1, 28, 28] -> logits [N, 10]. Other widths and image sizes make smaller or larger ones of its shape.
    """

    image = (1, 28, 28)  # as it reads them by default

    def __init__(self, channels=(16, 32), hidden=(128, 1000, 1000), image_size=28, classes=10):
        c1, c2 = channels
        super().__init__(
            OrderedDict(
                conv1=nn.Conv2d(1, c1, kernel_size=3, padding=1),
                relu1=nn.ReLU(),
                pool1=nn.MaxPool2d(2),
                conv2=nn.Conv2d(c1, c2, kernel_size=3, padding=1),
                relu2=nn.ReLU(),
                pool2=nn.MaxPool2d(2),
                flatten=nn.Flatten(),
                **_fully_connected([c2 * (image_size // 4) ** 2, *hidden, classes], first=3),
            )
        )

    @classmethod
    def small(cls, parameters: int) -> "SlideCNN":
        """A well-shaped one of at most so many parameters: what a sparse one of that size should be compared with.

        The linear layers shrink first, to a single hidden one, since the convolutions hold few weights and do most of
        the work; the channels only where fewer than 16 hidden units would be left.
        """
        for channels in range(16, 0, -1):
            hidden = _largest(lambda h, c=channels: cls((c, 2 * c), (h,)), parameters)
            if hidden >= 16:
                break
        return cls((channels, 2 * channels), (_at_least_one(hidden, parameters),))

    @classmethod
    def scaled(cls, width: float) -> "SlideCNN":
        """One with so many times the channels and hidden units, rounded: a width multiplier, as of MobileNet."""
        return cls(_times(width, (16, 32)), _times(width, (128, 1000, 1000)))


class Perceptron(nn.Sequential):
    """A multi-layer perceptron whose kind says what it reads, its hidden layers and its classes. [N, *image] -> logits.

    `reading` and `wider` make kinds of it for other data and of other widths.
    """

    image: tuple[int, ...] = (1, 28, 28)  # as it reads them by default
    hidden: tuple[int, ...] = ()
    classes = 10

    def __init__(self, hidden: tuple[int, ...] | None = None):
        widths = [math.prod(self.image), *(self.hidden if hidden is None else hidden), self.classes]
        super().__init__(OrderedDict(flatten=nn.Flatten(), **_fully_connected(widths)))

    @classmethod
    def reading(cls, image: Sequence[int], classes: int) -> type["Perceptron"]:
        """Its like for images of that shape and so many classes."""
        return type(cls.__name__, (cls,), {"image": tuple(image), "classes": classes})

    @classmethod
    def wider(cls, times: int) -> type["Perceptron"]:
        """Its like with so many times the hidden units."""
        return type(cls.__name__, (cls,), {"hidden": _times(times, cls.hidden)})

    @classmethod
    def small(cls, parameters: int) -> nn.Module:
        """One of at most so many parameters: the widest two hidden layers of one width, and the second wider still."""
        first = _at_least_one(_largest(lambda h: cls((h, h)), parameters), parameters)
        return cls((first, _largest(lambda h: cls((first, h)), parameters)))  # what is left over

    @classmethod
    def scaled(cls, width: float) -> "Perceptron":
        """One with so many times the hidden units, rounded."""
        return cls(_times(width, cls.hidden))


class LeNet300100(Perceptron):
    """LeNet-300-100 (LeCun et al., 1998): 784 - 300 - 100 - 10, 266,610 parameters. [N, 1, 28, 28] -> [N, 10]."""

    hidden = (300, 100)


class MLP1D(Perceptron):
    """A multi-layer perceptron for MNIST-1D: 40 - 512 - 512 - 10, 288,778 parameters. [N, 1, 40] -> [N, 10]."""

    image, hidden = (1, 40), (512, 512)


class LinearClassifier(Perceptron):
    """One linear layer from features to classes, as behind an encoder: with many classes it holds most weights."""

    @classmethod
    def small(cls, parameters: int) -> nn.Module:
        """A low-rank one of at most so many parameters: two linear layers with nothing between them."""

        def of_rank(rank: int) -> nn.Module:
            layers = _fully_connected([math.prod(cls.image), rank, cls.classes])
            return nn.Sequential(OrderedDict(flatten=nn.Flatten(), fc1=layers["fc1"], fc2=layers["fc2"]))

        return of_rank(_at_least_one(_largest(of_rank, parameters), parameters))


NETWORKS: dict[str, Callable[[], nn.Module]] = {n.__name__: n for n in (SlideCNN, LeNet300100, MLP1D, LinearClassifier)}


def mlp(*widths: int) -> nn.Sequential:
    """A multi-layer perceptron with ReLU between its linear layers: `mlp(784, 300, 10)` maps [N, ...784] to [N, 10]."""
    if len(widths) < 2 or min(widths) < 1:
        raise ValueError(f"mlp needs at least two positive widths (inputs, ..., outputs), got {widths}")
    return nn.Sequential(OrderedDict(flatten=nn.Flatten(), **_fully_connected(list(widths))))


def _largest(make: Callable[[int], nn.Module], parameters: int) -> int:
    """The largest width h of which `make(h)` has at most so many parameters; 0 if there is none."""

    def fits(h: int) -> bool:
        with torch.device("meta"):  # shapes without numbers
            return sum(p.numel() for p in make(h).parameters()) <= parameters

    return bisect.bisect_left(range(1, parameters + 1), True, key=lambda h: not fits(h))


def _times(width: float, sizes: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(max(1, round(width * size)) for size in sizes)


def _at_least_one(width: int, parameters: int) -> int:
    if not width:
        raise ValueError(f"no such network has as few as {parameters:,} parameters: choose a lower sparsity")
    return width
