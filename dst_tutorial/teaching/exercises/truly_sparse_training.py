"""Exercises of notebook 07: solutions, and the checks that tell what is wrong with an answer."""

import numpy as np
from scipy.sparse import csr_array

from ...layers import count_weights, csr_bytes, sparsify
from ...training import mlp
from .judging import Verdict, array_of, ask, compare, judge, parts_of, whole_of

HINTS = {
    "training_bytes": (
        "Every active weight has four numbers: its value, its gradient, Adam's two moments. The biases, too.",
        "Indices: one column a weight, and one pointer a unit, plus one.",
        "All of them take four bytes.",
    ),
    "rewired": (
        "Turn rows and columns into positions: row * width + column. `np.repeat` makes rows of pointers.",
        "Keep the largest magnitudes, as many as there are minus the grown; append the grown with value zero.",
        "Sort by position; the new pointers are `np.searchsorted` of width * (0, 1, ...).",
    ),
}


def training_bytes(active, units):
    floats = 4 * active + 4 * units  # values, their gradients and two moments; and the same of the biases
    indices = active + (units + 1)
    return 4 * (floats + indices)


def check_training_bytes(answer) -> Verdict:
    """`answer(active, units)`: bytes that a truly sparse linear layer with bias needs in training with Adam."""

    def trial(inputs: int, units: int, sparsity: float) -> str | None:
        layer = sparsify(mlp(inputs, units), sparsity, allocation="uniform", kind="sparse")
        active, _ = count_weights(layer)
        what = f"{active} active weights, {units} units"
        expected, found = (
            sum(csr_bytes(layer).values()),
            whole_of(ask(answer, active, units), f"{what}: the number of bytes"),
        )
        if found == expected:
            return None
        if found == expected - 4 * (units + 1):
            return f"{what}: the row pointers are missing; there is one more than there are units."
        if found == expected - 4 * (active + units + 1):
            return f"{what}: you count the numbers; their indices need bytes, too."
        if found == expected - 16 * units:
            return f"{what}: the biases are missing; each has a gradient and two moments, as a weight has."
        if 4 * found == expected:
            return f"{what}: those are numbers. Each takes 4 bytes, an index as well as a float32."
        return f"{what}: {expected:,} bytes are needed; you count {found:,}."

    trials = ((40, 30, 0.9), (784, 300, 0.95), (10, 10, 0.5))
    return judge(
        trial,
        trials,
        "Right: 20 bytes a connection, where Dense+Mask takes 17 for every weight, active or not.",
    )


def rewired(values, columns, pointers, width, grow):
    rows = np.repeat(np.arange(len(pointers) - 1), np.diff(pointers))
    positions = rows * width + columns
    kept = np.argsort(-np.abs(values), kind="stable")[: len(values) - len(grow)]
    positions = np.concatenate([positions[kept], grow])
    values = np.concatenate([values[kept], np.zeros(len(grow), values.dtype)])
    order = np.argsort(positions)
    starts = np.searchsorted(positions[order], width * np.arange(len(pointers)))
    return values[order], positions[order] % width, starts


def check_rewired(answer) -> Verdict:
    """`answer(values, columns, pointers, width, grow)`: the CSR arrays after an update of the topology."""

    def trial(seed: int, shape: tuple[int, int], active: int, moved: int) -> str | None:
        random = np.random.default_rng(seed)
        dense = np.zeros(shape, np.float32)
        dense.flat[random.choice(dense.size, active, replace=False)] = random.permutation(active) + 1
        dense *= np.where(random.random(shape) < 0.5, -1, 1)
        matrix = csr_array(dense)
        grow = np.sort(random.choice(np.flatnonzero(dense == 0), moved, replace=False))
        given = matrix.data, matrix.indices, matrix.indptr
        found = parts_of(ask(answer, *given, shape[1], grow), "`values`", "`columns`", "`pointers`")
        values, columns, pointers = map(array_of, found, ("`values`", "`columns`", "`pointers`"))
        expected = rewired(*given, shape[1], grow)
        if values.shape != (active,) or columns.shape != (active,):
            return (
                f"There are {active} connections before and after; you return {values.size} values and {columns.size} "
                f"columns."
            )
        if (
            pointers.shape != (shape[0] + 1,)
            or pointers[0] != 0
            or pointers[-1] != active
            or (np.diff(pointers) < 0).any()
        ):
            return f"`pointers` must rise from 0 to {active}, one for every row and one more; yours are {pointers}."
        rows = np.repeat(np.arange(shape[0]), np.diff(pointers).astype(int))
        if (np.diff(rows * shape[1] + columns) <= 0).any():
            return "Within a row `columns` must rise: sort by position before you cut the rows."
        if not np.array_equal(pointers, expected[2]) or not np.array_equal(columns, expected[1]):
            return f"Not the right connections: the {moved} of smallest magnitude go, those at `grow` come."
        if not np.array_equal(np.sort(values), np.sort(expected[0])):
            return "The connections are right, the values are not: each keeps its own, a grown one starts at zero."
        compare(values, expected[0], "`values`")
        return None

    trials = ((0, (4, 6), 8, 2), (1, (5, 8), 12, 5), (2, (30, 20), 90, 0), (3, (6, 6), 9, 9))
    return judge(
        trial,
        trials,
        "Right: an update of the topology, and no array of the dense size. The package's `rewire` does the same, and "
        "moves the optimiser's moments along.",
    )
