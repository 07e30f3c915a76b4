"""Exercises of notebook 01: solutions, and the checks that tell what is wrong with an answer."""

import numpy as np
from scipy.sparse import csr_matrix

from ...layers import format_bytes
from .judging import Verdict, array_of, ask, compare, judge, parts_of, whole_of

HINTS = {
    "to_csr": (
        "CSR goes row by row, and within a row from left to right: numpy's `nonzero` does.",
        "The values and their columns are two arrays of one length.",
        "Row pointers count: how many non-zeros lie above row i? They begin with 0 and end with all of them: `cumsum`.",
    ),
    "most_nonzeros": (
        "Write down both sizes in bytes, with n for the non-zeros: 8 n + 4 (rows + 1), and 4 rows columns.",
        "*Fewer* bytes, not as many: where both are equal, n is one too large.",
        "Can even n = 0 take more than dense? For a single column it does: then the answer is -1.",
    ),
}

_ARRAYS = ("`values`", "`columns`", "`row_pointers`")


def to_csr(matrix):
    rows, columns = np.nonzero(matrix)  # row by row, and within a row from left to right
    row_pointers = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=len(matrix)))])
    return matrix[rows, columns], columns, row_pointers


def check_to_csr(answer) -> Verdict:
    """`answer(matrix)`: (values, columns, row_pointers) of a numpy array [rows, columns]."""

    def trial(matrix: np.ndarray) -> str | None:
        parts = parts_of(ask(answer, matrix), *_ARRAYS)
        values, columns, pointers = (array_of(part, name) for part, name in zip(parts, _ARRAYS, strict=True))
        expected = csr_matrix(matrix)
        if pointers.shape != (len(matrix) + 1,):
            return (
                f"A matrix of {len(matrix)} rows has {len(matrix) + 1} row pointers: where each row begins, and the "
                f"end. Yours are {pointers.size}."
            )
        if values.shape != (expected.nnz,) or columns.shape != (expected.nnz,):
            return f"It has {expected.nnz} non-zeros; you have {values.size} values and {columns.size} columns."
        if not np.array_equal(pointers, expected.indptr):
            return (
                f"`row_pointers` should be {expected.indptr.tolist()}, yours are {pointers.tolist()}. "
                "Row i owns the entries pointers[i] to pointers[i + 1]; an empty row owns none."
            )
        compare(columns, expected.indices, "`columns` (row by row, from left to right)")
        compare(values, expected.data, "`values` (row by row, from left to right)")
        return None

    generator = np.random.default_rng(0)
    matrices = [np.array([[0, 2, 0], [0, 0, 0], [1, 0, 3]]), np.zeros((2, 3)), np.array([[5.0]])]
    matrices += [np.where(generator.random((6, 9)) < 0.3, generator.normal(size=(6, 9)), 0)]
    return judge(
        trial,
        zip(matrices),
        "Right: these are the three arrays that scipy and torch store, too.",
    )


def most_nonzeros(rows, columns):
    # 8 n + 4 (rows + 1) < 4 rows columns, solved for the largest whole n
    return max(-1, (rows * columns - rows - 1 + 1) // 2 - 1)


def check_most_nonzeros(answer) -> Verdict:
    """`answer(rows, columns)`: the largest number of non-zeros for which CSR takes fewer bytes than dense."""

    def trial(rows: int, columns: int) -> str | None:
        n = whole_of(ask(answer, rows, columns), f"For {rows} x {columns} the number of non-zeros")

        def smaller(nonzeros: int) -> bool:
            sizes = format_bytes(rows, columns, nonzeros)
            return sizes["CSR"] < sizes["dense"]

        if not smaller(n):
            return (
                f"For {rows} x {columns} and {n:,} non-zeros CSR is not smaller than dense. Did you count the "
                f"{rows + 1} row pointers, 4 bytes each? And equal is not smaller."
            )
        if smaller(n + 1):
            return f"For {rows} x {columns} CSR is still smaller with {n + 1:,} non-zeros, one more than yours."
        return None

    sizes = ((1000, 1000), (10, 1568), (1000, 128), (3, 4), (7, 7))
    return judge(
        trial,
        sizes,
        "Right: CSR pays from just above 50% sparsity on, and a little later where rows are short.",
    )
