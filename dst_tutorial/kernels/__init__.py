"""What the truly sparse layers call: a function of inputs and a list of operations, in several backends.

`reference` is plain torch, on any device, and the oracle of the others; `library` is torch.sparse in both directions,
for GPUs; `triton` is our own for GPUs, not timed on one yet; `cpu` is fast and needs numba. Begin with the README
beside this file, or with `operations.py` (what is computed) and `reference.py` (how, in its simplest form).
"""

from .backends import BACKENDS, LIBRARY, REFERENCE, Backend, backend_for, has_numba, keeps_compiled, numba_fault, use
from .checks import index_fault
from .csr import CSR, LARGEST, indices_of
from .operations import Conv2d, Linear, Operation, rows_of
from .threads import instead_of_torch, num_threads, set_num_threads
