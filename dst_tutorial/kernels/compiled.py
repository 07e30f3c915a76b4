"""How numba compiles here, and what it has compiled: each function when it is first asked for."""

import contextlib
import hashlib
import logging
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from numba import cfunc, njit
from numba.core.event import Listener, install_listener

from ..progress import tqdm

log = logging.getLogger(__name__)

try:
    njit(cache=True)(lambda: None)
    KEPT = True  # on disk, for the next process
except RuntimeError:  # there is no folder for it
    KEPT = False
    log.warning(
        "compiled code can be kept in no folder, so every process compiles anew, half a minute: set NUMBA_CACHE_DIR to "
        "a folder that can be written"
    )

# Sums may be reordered; NaN and infinity are kept, as dense layers keep them.
_options = {"fastmath": {"contract", "reassoc", "nsz"}, "error_model": "numpy"}
# of loops that only other loops call: nothing for Python and nothing on disk, which halves the time to compile them
inner = _options | {"nogil": True, "no_cpython_wrapper": True, "no_cfunc_wrapper": True}


# numba sees that a function's own file has changed, and not that one has which it reads a layout or a loop from
_SOURCES = hashlib.sha256(
    b"".join(file.read_bytes() for file in sorted(Path(__file__).parent.glob("*.py")))
).hexdigest()


def as_c(function: Callable, numbers: int, keep: bool):
    """The function of so many int64, as C calls it; what is kept on disk is of these very sources."""
    function.__qualname__ += f"-{_SOURCES[:12]}"
    return cfunc(f"void({', '.join(['int64'] * numbers)})", cache=keep, **_options)(function)


class Compiled(NamedTuple):
    address: int
    call: Callable  # without Python's lock


@lru_cache(maxsize=None, typed=True)
def compiled(make: Callable, *arguments) -> Compiled:
    """What make(*arguments, keep) returns. Where numba really compiles, it is said."""
    told = _Told(make.__name__.removesuffix("_in"))
    with contextlib.closing(told), install_listener("numba:compile", told):
        try:
            made = make(*arguments, KEPT)
        except OSError as error:  # it is compiled, and could not be kept: a full disk
            log.warning("compiled code was not kept (%s): the next process compiles anew", error)
            made = make(*arguments, False)
    _made.append(made)
    return Compiled(made.address, made.ctypes)


_made: list = []  # code lives as long as its object


class _Told(Listener):
    """Says so where numba really compiles, rather than loads what it has kept."""

    def __init__(self, name: str):
        self.name, self.bars = name, []

    def on_start(self, event) -> None:
        if not self.bars:
            told = f"compiling {self.name} for this machine: some seconds, once"
            self.bars.append(tqdm(desc=told, leave=False, bar_format="{desc}"))

    def on_end(self, event) -> None:
        pass

    def close(self) -> None:
        for bar in self.bars:
            bar.close()
