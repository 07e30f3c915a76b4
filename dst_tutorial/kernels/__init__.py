"""What the truly sparse layers call: two functions on a CSR weight, `linear` and `conv2d`.

`reference` is plain torch, on any device, and the oracle of every backend to come. A layer never asks which one runs.
"""

from .csr import CSR
from .reference import conv2d, linear

__all__ = ["CSR", "conv2d", "linear"]
