"""MNIST, Fashion-MNIST and little MNIST-1D as tensors in memory.

MNIST is looked for in the data folder, then fetched (`files.py` says from where); last comes the small sample of real
digits that ships with this package.
"""

import gzip
import logging
import random
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..paths import data_folder, reading
from .files import FASHION, MNIST, DataError, NoSource

log = logging.getLogger(__name__)

MEAN, STD = 0.1307, 0.3081  # of the training images' pixels, as the slides normalise them
SAMPLE = Path(__file__).parent / "sample"


@dataclass(frozen=True)
class Dataset:
    """Images float32 [N, 1, 28, 28], normalised, or rows [N, 1, inputs] as of MNIST-1D; labels int64 [N]."""

    name: str  # such as "mnist", "mnist-sample" or "mnist1d", and "-validation" behind it: see `hold_out`
    train_images: Tensor
    train_labels: Tensor
    test_images: Tensor
    test_labels: Tensor

    @property
    def is_sample(self) -> bool:
        return self.name.startswith("mnist-sample")

    def take(self, train_size: int | None = None, test_size: int | None = None) -> "Dataset":
        """The first so many training and test images (MNIST's files are shuffled already); None takes all.

        A part is a copy: the rest can be freed.
        """
        for what, size, there in (("train", train_size, self.train_labels), ("test", test_size, self.test_labels)):
            if size is not None and not 1 <= size <= len(there):
                raise ValueError(f"{what}_size must be from 1 to {len(there)} ({self.name}), got {size}")

        def first(size: int | None, tensor: Tensor) -> Tensor:
            return tensor if size is None else tensor[:size].clone()

        return replace(
            self,
            train_images=first(train_size, self.train_images),
            train_labels=first(train_size, self.train_labels),
            test_images=first(test_size, self.test_images),
            test_labels=first(test_size, self.test_labels),
        )

    def hold_out(self, size: int) -> "Dataset":
        """The last `size` training images in the place of the test images, and the rest to train on.

        What is chosen by looking at accuracies (a learning rate, an allocation) is chosen on these, so that the test
        images stay unseen. ValueError if nothing would be left to train on.
        """
        if not 1 <= size < len(self.train_labels):
            raise ValueError(f"size must be from 1 to {len(self.train_labels) - 1} ({self.name}), got {size}")
        return Dataset(
            f"{self.name}-validation",
            *(part.clone() for part in (self.train_images[:-size], self.train_labels[:-size])),
            *(part.clone() for part in (self.train_images[-size:], self.train_labels[-size:])),
        )

    def at_most(self, train_size: int | None = None, test_size: int | None = None) -> "Dataset":
        """`take`, or all there is where that is less (the shipped sample is small)."""
        sizes = ((train_size, self.train_labels), (test_size, self.test_labels))
        return self.take(*(size and min(size, len(there)) for size, there in sizes))

    def __str__(self) -> str:
        return f"{self.name}: {len(self.train_labels):,} training and {len(self.test_labels):,} test images"


def load_mnist(folder: Path | str | None = None) -> Dataset:
    """MNIST: 60,000 training and 10,000 test images, fetched into `folder` once.

    `folder` is `$DST_TUTORIAL_DATA` or the user's cache folder if not given. Where MNIST can't be had, the shipped
    sample of 5,000 + 1,000 digits with a warning. DataError for a damaged file that can't be fetched anew, or a folder
    that can't be written.
    """
    folder = Path(folder) if folder else data_folder()
    try:
        return _from_idx("mnist", MNIST.read(folder))
    except NoSource as error:
        log.warning(
            "MNIST could not be fetched, so this is the SAMPLE that ships with the package: 5,000 training and "
            "1,000 test digits. Accuracies will be lower than on all of MNIST. With a network, run "
            "`python -m dst_tutorial data`, or put the four raw MNIST files into %s. (%s)",
            folder,
            error,
        )
        return _from_idx("mnist-sample", {name: _unpacked(SAMPLE / f"{name}.gz") for name in MNIST.md5})


@cache
def load_mnist1d() -> Dataset:
    """MNIST-1D: 4,000 training and 1,000 test signals [1, 40] of ten classes; generated in seconds, nothing fetched.

    Small, fast, and harder than MNIST: a linear model gets a third of it right. Its standard settings and seed.
    Source: Greydanus and Kobak, "Scaling Down Deep Learning with MNIST-1D", ICML 2024, arXiv 2011.14439.
    """
    from mnist1d.data import get_dataset_args, make_dataset

    ours = random.getstate(), np.random.get_state()  # noqa: NPY002 - it seeds both global streams
    try:
        made = make_dataset(get_dataset_args())
    finally:
        random.setstate(ours[0])
        np.random.set_state(ours[1])  # noqa: NPY002
    signals, labels = (
        [torch.from_numpy(np.asarray(made[name], dtype=kind)) for name in names]
        for kind, names in ((np.float32, ("x", "x_test")), (np.int64, ("y", "y_test")))
    )
    return Dataset("mnist1d", signals[0].unsqueeze(1), labels[0], signals[1].unsqueeze(1), labels[1])


def load_mnist_validation() -> Dataset:
    """MNIST's training images alone: 55,000 to train on, and 5,000 in the place of the test images."""
    whole = load_mnist()
    return whole.hold_out(len(whole.train_labels) // 12)


@cache
def load_mnist_6000() -> Dataset:
    """MNIST's first 6,000 training images and all its test images: a training takes a second."""
    some = load_mnist().at_most(6_000)
    return replace(some, name=f"{some.name}-6000")


def load_fashion_mnist(folder: Path | str | None = None) -> Dataset:
    """Fashion-MNIST: 60,000 training and 10,000 test images of clothes, fetched into `folder` once (31 MB).

    `folder` is a place of its own in MNIST's by default. DataError where it can't be had.
    Source: Xiao et al., "Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine Learning Algorithms", arXiv
    1708.07747; MIT licence.
    """
    folder = Path(folder) if folder else data_folder() / "fashion-mnist"
    try:
        return _from_idx("fashion-mnist", FASHION.read(folder), mean=0.2860, std=0.3530)
    except NoSource as error:
        raise DataError(f"Fashion-MNIST could not be fetched: try again with a network, or put its four raw files into "
                        f"{folder}. ({error})") from error  # fmt: skip


def is_cached(folder: Path | str | None = None) -> bool:
    """Are all four files of MNIST in the folder, with the right MD5s?"""
    return len(MNIST.good(Path(folder) if folder else data_folder())) == len(MNIST.md5)


def _unpacked(file: Path) -> bytes:
    with reading(file):
        return gzip.decompress(file.read_bytes())


def _from_idx(name: str, files: dict[str, bytes], mean: float = MEAN, std: float = STD) -> Dataset:
    def images(file: str) -> Tensor:
        pixels = torch.from_numpy(read_idx(files[file]).astype(np.float32)).unsqueeze(1)
        return pixels.div_(255).sub_(mean).div_(std)

    def labels(file: str) -> Tensor:
        return torch.from_numpy(read_idx(files[file]).astype(np.int64))

    train_images, train_labels, test_images, test_labels = files
    return Dataset(name, images(train_images), labels(train_labels), images(test_images), labels(test_labels))


def read_idx(raw: bytes) -> np.ndarray:
    """A read-only uint8 array from what is in an IDX file (LeCun's format: 2 zero bytes, type, rank, sizes, data)."""
    rank = raw[3]
    shape = np.frombuffer(raw, ">i4", count=rank, offset=4)
    return np.frombuffer(raw, np.uint8, offset=4 + 4 * rank).reshape(shape)
