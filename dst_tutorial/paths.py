"""Where things lie: the data folder, the recorded results, the figures; and how files are written and read."""

import contextlib
import gzip
import os
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import platformdirs

_PACKAGE = Path(__file__).parent
_CHECKOUT = _PACKAGE.parent


def data_folder() -> Path:
    """`$DST_TUTORIAL_DATA`, or this user's cache folder."""
    named = os.environ.get("DST_TUTORIAL_DATA")
    return Path(named).expanduser() if named else Path(platformdirs.user_cache_dir("dst_tutorial"))


def figures_folder() -> Path:
    """`figures/` of the checkout; where the package is installed without one, of the working directory."""
    return (_CHECKOUT if (_CHECKOUT / "pyproject.toml").exists() else Path.cwd()) / "figures"


def results_folder() -> Path:
    """The recorded results: `figures/results/` of the checkout, or the copy that the installed package carries."""
    carried = _PACKAGE / "results"
    return carried if carried.exists() else figures_folder() / "results"


def write(file: Path, content: bytes) -> None:
    """All of it or nothing. OSError names the file."""
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_name(f".{file.name}.{os.getpid()}.part")
    try:
        part.write_bytes(content)
        os.replace(part, file)
    except OSError as error:  # a full disk's names no file
        raise OSError(error.errno, error.strerror, str(file)) from error
    finally:
        with contextlib.suppress(OSError):
            part.unlink()


@contextlib.contextmanager
def reading(file: Path) -> Iterator[None]:
    """What goes wrong inside since the file is damaged becomes a ValueError that names it and says what to do."""
    try:
        yield
    except (ValueError, LookupError, TypeError, EOFError, zipfile.BadZipFile, gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(
            f"{file} is damaged ({error}): get it back from git, or move it away and make it anew"
        ) from error
