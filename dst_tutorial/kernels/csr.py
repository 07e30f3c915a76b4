"""Compressed sparse rows: how a truly sparse weight is stored.

A weight [units, ...] is a matrix with a row a unit. Row `i` owns the entries `row_pointers[i]` to `row_pointers[i + 1]`
of `values` and `columns`. Indices are int32, as in scipy and MKL: half the bytes of torch's default.
"""

from typing import NamedTuple

import torch
from torch import Tensor

LARGEST = torch.iinfo(torch.int32).max


class CSR(NamedTuple):
    values: Tensor  # [active]
    columns: Tensor  # int32 [active], ascending within a row
    row_pointers: Tensor  # int32 [rows + 1]
    width: int  # columns of the matrix

    @property
    def shape(self) -> tuple[int, int]:
        return self.row_pointers.shape[0] - 1, self.width  # len() would make a tracer warn

    def rows(self) -> Tensor:
        """The row of every entry: int64 [active]."""
        rows = torch.arange(self.shape[0], device=self.columns.device)
        return rows.repeat_interleave(self.row_pointers.diff(), output_size=self.columns.shape[0])


def indices_of(positions: Tensor, rows: int, width: int) -> tuple[Tensor, Tensor]:
    """(columns, row_pointers) of a matrix [rows, width] whose sorted int64 `positions` are active, in O(active + rows).

    ValueError where int32 cannot count them.
    """
    if max(len(positions), rows, width) > LARGEST:
        raise ValueError(f"indices are int32: at most {LARGEST:,} active weights, rows and columns are possible")
    starts = width * torch.arange(rows + 1, device=positions.device)
    return (positions % width).int(), torch.searchsorted(positions, starts).int()
