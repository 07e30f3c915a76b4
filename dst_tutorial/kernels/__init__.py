"""What the truly sparse layers call: two functions on a CSR weight, `linear` and `conv2d`.

`reference` is plain torch, on any device, and the oracle of every backend to come. A layer never asks which one runs.
"""

from collections.abc import Callable
from typing import NamedTuple

from . import reference
from .csr import CSR

__all__ = ["CSR", "REFERENCE", "Backend"]


class Backend(NamedTuple):
    """Two functions with the signatures of those in `reference`."""

    linear: Callable
    conv2d: Callable


REFERENCE = Backend(reference.linear, reference.conv2d)
