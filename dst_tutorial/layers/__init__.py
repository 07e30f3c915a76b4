"""Sparse layers, simulated and truly sparse, and what makes a network of them.

Begin with `masked.py` (a dense weight and a mask) and go on to `sparse.py` (the active weights alone). `sparsify.py`
makes a network sparse: `allocation.py` says how many weights each layer keeps, `initialisation.py` what they start
from. `convert.py` leads from one form to the other, `sequential.py` runs neighbouring layers in one call, `watching.py`
keeps what backward passes tell of the gradient of all weights, `modes.py` what mode each module has, and `ledger.py`
counts what all this costs: bytes and multiplications.
"""

from .allocation import ALLOCATIONS, allocate, budget, erk
from .convert import to_dense, to_masked, to_truly_sparse
from .ledger import (
    INDEX,
    MASK,
    VALUE,
    bytes_by_form,
    csr_bytes,
    dense_bytes,
    format_bytes,
    macs,
    masked_bytes,
    state_bytes,
)
from .masked import MaskedConv2d, MaskedLinear
from .modes import modes_kept
from .sequential import SparseSequential
from .sparse import SparseConv2d, SparseLinear
from .sparsify import check_sparsity, count_weights, prunable_layers, sparse_layers, sparsify
