"""Each check passes its solution, and fails each wrong answer with the words that help."""

import statistics
import time
from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy import stats
from sklearn.feature_selection import f_classif

from dst_tutorial.teaching.exercises import (
    algorithms,
    closing_the_gap,
    csr_benchmark,
    dst_loop,
    hardware_and_software,
    mask_evolution,
    masked_layers,
    sparsity_basics,
    truly_sparse_training,
    where_sparse_wins,
)
from dst_tutorial.teaching.exercises.judging import hint_of, solution_of

CHECKS = {
    "to_csr": sparsity_basics,
    "most_nonzeros": sparsity_basics,
    "masked_gradient": masked_layers,
    "fan_in_std": masked_layers,
    "grow_elsewhere": dst_loop,
    "updated": dst_loop,
    "drop_signed": algorithms,
    "drop_count": algorithms,
    "explored": mask_evolution,
    "returned": mask_evolution,
    "cold_and_warm": csr_benchmark,
    "fair_time": csr_benchmark,
    "training_bytes": truly_sparse_training,
    "rewired": truly_sparse_training,
    "paired_interval": closing_the_gap,
    "most_in_convolution": closing_the_gap,
    "hidden_units": where_sparse_wins,
    "most_telling": where_sparse_wins,
    "least_milliseconds": hardware_and_software,
    "largest_of_groups": hardware_and_software,
}


def by_magnitude(weight, mask, fraction):
    active = mask.flatten().nonzero().flatten()
    out = mask.clone()
    out.view(-1)[active[weight.flatten()[active].abs().argsort()[: int(fraction * len(active))]]] = False
    return out


def largest_of_either_sign(weight, mask, fraction):
    return algorithms.drop_signed(torch.where(weight == 0, 0, 1 / weight), mask, fraction)


def grow_anywhere(before, after, count, generator):
    free = (~after).flatten().nonzero().flatten()
    out = after.clone()
    out.view(-1)[free[torch.randperm(len(free), generator=generator)[:count]]] = True
    return out


def grow_the_first(before, after, count, generator):
    out = after.clone()
    out.view(-1)[(~before & ~after).flatten().nonzero().flatten()[:count]] = True
    return out


def coo(matrix):
    rows, columns = np.nonzero(matrix)
    return matrix[rows, columns], columns, rows


def column_by_column(matrix):
    values, rows, _ = sparsity_basics.to_csr(matrix.T)
    return values, rows, sparsity_basics.to_csr(matrix)[2]


def no_pointer_for_empty_rows(matrix):
    values, columns, pointers = sparsity_basics.to_csr(matrix)
    return values, columns, np.append(np.unique(pointers), [pointers[-1]] * len(pointers))[: len(pointers)]


def overwrite(masks):
    masks[0][:] = True
    return 1.0


def grown_ever(masks):
    return sum((b & ~a).sum() for a, b in pairwise(masks))


def returned_once(masks):
    gone, back = np.zeros_like(masks[0]), np.zeros_like(masks[0])
    for a, b in pairwise(masks):
        back, gone = back | (gone & b & ~a), gone | (a & ~b)
    return back.sum()


def stopwatch(reduce, warm_up=True):
    def timed(task, runs):
        if warm_up:
            task()
        times = []
        for _ in range(runs):
            started = time.perf_counter()
            task()
            times.append(time.perf_counter() - started)
        return reduce(times)

    return timed


def spoil(mask):
    mask.view(-1)[:] = False
    return mask


WRONG = [
    ("masked_gradient", lambda x, d, m: d.T @ x, "Inactive weights have a gradient that is not zero"),
    ("masked_gradient", lambda x, d, m: x.T @ d, "must be transposed"),
    ("masked_gradient", lambda x, d, m: (d.T @ x) * m / len(x), "mean over the batch"),
    ("masked_gradient", lambda x, d, m: -(d.T @ x) * m, "not autograd's"),
    ("masked_gradient", lambda x, d: None, "stopped with TypeError"),
    ("fan_in_std", lambda m: torch.full((len(m),), (2 / m.shape[1]) ** 0.5), "dense layer's fan-in"),
    ("fan_in_std", lambda m: (2 / m.sum(1)).sqrt(), "inf or nan"),
    ("fan_in_std", lambda m: 2 / m.sum(1).clamp(min=1), "That is the variance"),
    ("fan_in_std", lambda m: (1 / m.sum(1).clamp(min=1)).sqrt(), "it should be"),
    ("fan_in_std", lambda m: m.float(), "One number a unit"),
    ("drop_signed", by_magnitude, "Treat the two signs apart"),
    ("drop_signed", largest_of_either_sign, "not the ones nearest to zero"),
    ("drop_signed", lambda w, m, f: spoil(m), "changed its arguments"),
    ("drop_signed", lambda w, m, f: ~m, "Dropping only takes away"),
    ("drop_signed", lambda w, m, f: w * m, "should be bool"),
    ("grow_elsewhere", grow_anywhere, "had just been dropped"),
    ("grow_elsewhere", grow_the_first, "Choose them at random"),
    ("grow_elsewhere", lambda b, a, c, g: grow_anywhere(b, b, c, g), "had just been dropped"),
    ("grow_elsewhere", lambda b, a, c, g: a.clone(), "should have grown; it was 0"),
    ("grow_elsewhere", lambda b, a, c, g: torch.zeros_like(a), "Growing only adds"),
    ("grow_elsewhere", lambda b, a, c, g: dst_loop.grow_elsewhere(b, a, c, None), "Pass the generator on"),
]


WRONG += [
    ("to_csr", lambda m: coo(m)[:2], "Return three, in this order"),
    ("to_csr", coo, "row pointers: where each row begins"),
    ("to_csr", column_by_column, "The values of `columns` (row by row, from left to right)"),
    ("to_csr", no_pointer_for_empty_rows, "an empty row owns none"),
    ("to_csr", lambda m: (m.ravel(), np.arange(m.size), np.arange(len(m) + 1) * m.shape[1]), "non-zeros; you have"),
    ("to_csr", lambda m: (..., ..., ...), "Not yet"),
    ("most_nonzeros", lambda r, c: r * c // 2, "Did you count the"),
    ("most_nonzeros", lambda r, c: r * c // 4, "still smaller"),
    ("most_nonzeros", lambda r, c: r * c / 3.1, "should be whole"),
    ("most_nonzeros", lambda r, c: (r * c - r - 1) // 2, "equal is not smaller"),
    ("explored", lambda masks: masks[-1].mean(), "That is the density"),
    ("explored", lambda masks: np.logical_or.reduce(masks).sum(), "Divide by all positions"),
    ("explored", lambda masks: sum(m.mean() for m in masks), "counts once"),
    ("explored", lambda masks: (masks[0] | masks[-1]).mean(), "it should be"),
    ("explored", overwrite, "changed its arguments"),
    ("returned", grown_ever, "how many connections grew"),
    ("returned", returned_once, "more than once"),
    ("returned", lambda masks: 0, "the first returns"),
    ("cold_and_warm", lambda m, d, n: (m + d, m - d), "What do mean and variance say"),
    ("cold_and_warm", lambda m, d, n: csr_benchmark.cold_and_warm(m, d, n)[::-1], "the cold one first"),
    ("cold_and_warm", lambda m, d, n: (m,), "Return two, in this order"),
    ("fair_time", stopwatch(statistics.median, warm_up=False), "Every call was timed"),
    ("fair_time", stopwatch(statistics.mean), "one slow call must not decide"),
    ("fair_time", stopwatch(sum), "one slow call must not decide"),
    ("fair_time", lambda task, runs: task() or 0.02, "was called 1 times only"),
    ("fair_time", stopwatch(lambda times: min(times) / 10), "and you report"),
]


def with_other(change):
    """The right arrays, but for one change."""

    def answer(values, columns, pointers, width, grow):
        return change(*truly_sparse_training.rewired(values, columns, pointers, width, grow))

    return answer


def in_place(values, columns, pointers, width, grow):
    values[:] = 0
    return truly_sparse_training.rewired(values, columns, pointers, width, grow)


def drop_the_largest(values, columns, pointers, width, grow):
    return truly_sparse_training.rewired(1 / values, columns, pointers, width, grow)


def unsorted(values, columns, pointers, width, grow):
    return truly_sparse_training.rewired(values, columns, pointers, width, grow)[0], columns[::-1], pointers


WRONG += [
    ("training_bytes", lambda active, units: 20 * active + 16 * units, "row pointers are missing"),
    ("training_bytes", lambda active, units: 16 * (active + units), "their indices need bytes"),
    ("training_bytes", lambda active, units: 20 * active + 4 * (units + 1), "the biases are missing"),
    ("training_bytes", lambda active, units: 5 * active + 5 * units + 1, "Each takes 4 bytes"),
    ("training_bytes", lambda active, units: 7, "are needed; you count 7"),
    ("training_bytes", lambda active: None, "stopped with TypeError"),
    ("rewired", in_place, "changed its arguments"),
    ("rewired", lambda v, c, p, w, g: (v, c), "Return three, in this order"),
    ("rewired", with_other(lambda v, c, p: (v[1:], c[1:], p)), "connections before and after"),
    ("rewired", with_other(lambda v, c, p: (v, c, p[:-1])), "one for every row and one more"),
    ("rewired", unsorted, "Within a row `columns` must rise"),
    ("rewired", drop_the_largest, "Not the right connections"),
    ("rewired", with_other(lambda v, c, p: (v + 1, c, p)), "the values are not"),
]


def interval(quantile, ddof=1, of_one_seed=False):
    """Mean and interval of a - b, by these choices."""

    def answer(a, b):
        gaps = np.subtract(a, b)
        half = quantile(len(gaps) - 1) * gaps.std(ddof=ddof) / (1 if of_one_seed else len(gaps) ** 0.5)
        return gaps.mean(), gaps.mean() - half, gaps.mean() + half

    return answer


def student(freedom):
    return stats.t.ppf(0.975, freedom)


def off_centre(a, b):
    mean, low, high = closing_the_gap.paired_interval(a, b)
    return mean, low + 0.1, high + 0.1


WRONG += [
    ("paired_interval", lambda a, b: (np.mean(b) - np.mean(a), 0, 0), "the mean of a - b"),
    ("paired_interval", off_centre, "The mean is in the middle"),
    ("paired_interval", interval(lambda freedom: 1.96), "for many seeds"),
    ("paired_interval", interval(student, ddof=0), "divides by n - 1"),
    ("paired_interval", interval(student, of_one_seed=True), "the spread of one seed"),
    ("paired_interval", interval(lambda freedom: stats.t.ppf(0.95, freedom)), "the quantile is 0.975"),
    ("paired_interval", interval(lambda freedom: 9), "yours reaches"),
    (
        "paired_interval",
        lambda a, b: 3,
        "Return three, in this order: the mean, the lower end, the upper end. Yours is an int",
    ),
    ("most_in_convolution", lambda s, p, w, m: (m - w) // (p - 1), "not so many weights"),
    ("most_in_convolution", lambda s, p, w, m: min(s, w, (m - w) // (p - 1)), "not even the linear layers"),
    ("most_in_convolution", lambda s, p, w, m: min(s, w, m // p), "the network multiplies"),
    ("most_in_convolution", lambda s, p, w, m: (m - w) / (p - 1), "should be whole"),
    ("most_in_convolution", lambda s, p, w, m: 1, "it may keep"),
]


def differing_most(rows, labels, count):
    groups = [rows[labels == c] for c in np.unique(labels)]
    return np.argsort(-sum(len(g) * (g.mean(0) - rows.mean(0)) ** 2 for g in groups))[:count]


WRONG += [
    ("hidden_units", lambda inputs, classes, weights: weights // inputs, "no weight for the second layer"),
    ("hidden_units", lambda inputs, classes, weights: weights // (inputs + classes) + 1, "too many"),
    ("hidden_units", lambda inputs, classes, weights: weights // (inputs * classes), "still fit"),
    ("hidden_units", lambda inputs, classes, weights: weights / (inputs + classes), "should be whole"),
    ("most_telling", differing_most, "divide by the spread within"),
    ("most_telling", lambda rows, labels, count: np.argsort(-rows.std(0))[:count], "those that vary most"),
    ("most_telling", lambda r, y, n: where_sparse_wins.most_telling(r, y, 12)[::-1][:n], "the other way round"),
    ("most_telling", lambda r, y, n: np.arange(n), "says more than some of yours"),
    ("most_telling", lambda r, y, n: where_sparse_wins.most_telling(r, y, n + 1), "yours have shape"),
    ("most_telling", lambda r, y, n: np.zeros(n, int), "Each input may be there once"),
]


def test_the_selection_of_the_exercise_is_scikit_learns():
    random = np.random.default_rng(0)
    rows, labels = random.normal(size=(90, 20)), random.integers(0, 4, 90)
    scores, _ = f_classif(rows, labels)
    assert set(where_sparse_wins.most_telling(rows, labels, 7)) == set(np.argsort(-scores)[:7])


def signed(weight, keep, group):
    return hardware_and_software.largest_of_groups(weight.exp(), keep, group)


def all_alike(weight, keep, group):
    return torch.arange(weight.shape[1]).remainder(group).lt(keep).expand_as(weight)


def of_the_whole(weight, keep, group):
    least = weight.abs().flatten().topk(weight.numel() * keep // group).values[-1]
    return weight.abs() >= least


WRONG += [
    ("least_milliseconds", lambda o, m, g, s: 1e-6 * (o / g + m / s), "you added both times"),
    ("least_milliseconds", lambda o, m, g, s: 1e-6 * min(o / g, m / s), "the shorter of both"),
    ("least_milliseconds", lambda o, m, g, s: 1e-9 * max(o / g, m / s), "that is in seconds"),
    ("least_milliseconds", lambda o, m, g, s: 1e-6 * o / g, "the shorter of both"),
    ("least_milliseconds", lambda o, m, g, s: max(o / g, m / s), "A giga is a billion"),
    ("largest_of_groups", lambda w, k, g: ~hardware_and_software.largest_of_groups(w, k, g), "the ones to prune"),
    ("largest_of_groups", of_the_whole, "Groups are 4 inputs of one unit"),
    ("largest_of_groups", signed, "take absolute values"),
    ("largest_of_groups", all_alike, "they are not the largest"),
    ("largest_of_groups", lambda w, k, g: w, "should be bool"),
]


def destroyed(matrix):
    found = sparsity_basics.to_csr(matrix)
    matrix[:] = 0
    return found


def by_sign_alone(weight, mask, fraction):
    return algorithms.drop_signed(weight, torch.ones_like(mask), fraction) & mask


def emptied(masks):
    found = mask_evolution.returned(masks)
    masks.clear()
    return found


WRONG += [
    ("to_csr", destroyed, "changed its arguments"),
    ("to_csr", lambda m: (2 * sparsity_basics.to_csr(m)[0], *sparsity_basics.to_csr(m)[1:]), "The values of `values`"),
    ("to_csr", lambda m: (sparsity_basics.to_csr(m)[0][::-1], *sparsity_basics.to_csr(m)[1:]), "`values` (row by row"),
    ("to_csr", lambda m: (sparsity_basics.to_csr(m)[0], 0 * sparsity_basics.to_csr(m)[1], sparsity_basics.to_csr(m)[2]),
     "The values of `columns`"),
    ("drop_signed", by_sign_alone, "active positive weights"),
    ("returned", emptied, "changed its arguments"),
    ("explored", lambda masks: float("nan"), "should be a number; yours is nan"),
    ("rewired", with_other(lambda v, c, p: (v[::-1], c, p)), "`values` has the right numbers in another order"),
    ("fan_in_std", lambda m: masked_layers.fan_in_std(m).sqrt(), "the standard deviation's root"),
    ("grow_elsewhere", lambda b, a, c, g: 2 * a.int(), "has other numbers"),
]  # fmt: skip


def grow_neighbours(before, after, count, generator):
    free = (~before & ~after).flatten().nonzero().flatten()
    first = int(torch.randint(max(1, len(free)), (1,), generator=generator))
    out = after.clone()
    out.view(-1)[free.roll(-first)[:count]] = True
    return out


def warm_up_counted(task, runs):
    return stopwatch(statistics.median, warm_up=False)(task, runs + 1)


WRONG += [
    ("fair_time", stopwatch(min), "and you report"),
    ("fair_time", stopwatch(lambda times: times[0]), "and you report"),
    ("fair_time", stopwatch(lambda times: times[-1]), "one slow call must not decide"),
    ("fair_time", warm_up_counted, "one slow call must not decide"),
    ("grow_elsewhere", grow_neighbours, "never grow together"),
]


def an_update(*, largest=False, values=None, count=0, seeded=True, only_elsewhere=False):
    """The solution, but for one choice."""

    def answer(weight, mask, fraction, generator):
        if not seeded:
            generator = torch.Generator().manual_seed(7)
        active = mask.flatten().nonzero().flatten()
        order = weight.flatten()[active].abs().argsort(descending=largest)
        after = mask.clone()
        after.view(-1)[active[order[: int(fraction * len(active))]]] = False
        grow = dst_loop.grow_elsewhere if only_elsewhere else grow_anywhere
        new = grow(mask, after, int(mask.sum() - after.sum()), generator)
        if count:
            new.view(-1)[new.flatten().nonzero().flatten()[:count]] = False
        return weight * after if values is None else torch.where(after, weight, values), new

    return answer


WRONG += [
    ("updated", lambda w, m, f, g: m, "Return two, in this order"),
    ("updated", an_update(count=1), "grow as many as you drop"),
    ("updated", an_update(largest=True), "smallest of"),
    ("updated", an_update(values=torch.tensor(0.01)), "An inactive position has a weight"),
    ("updated", an_update(seeded=False), "the same connections"),
    ("updated", an_update(only_elsewhere=True), "Some positions never grow"),
    ("updated", lambda w, m, f, g: (2 * dst_loop.updated(w, m, f, g)[0], dst_loop.updated(w, m, f, g)[1]),
     "should keep its weight"),
    ("updated", lambda w, m, f, g: ((n := dst_loop.updated(w, m, f, g)[1]) * torch.where(w == 0, 0.1, w), n),
     "should start from zero"),
    ("updated", lambda w, m, f, g: (w.zero_(), m), "changed its arguments"),
    ("drop_count", lambda a, s, n: int(0.3 * a), "falls along a cosine"),
    ("drop_count", lambda a, s, n: int(0.15 * (1 + np.cos(np.pi * s / n)) * a), "not at the end of the training"),
    ("drop_count", lambda a, s, n: int(0.15 * (1 + np.cos(np.pi * s / 0.75 / n)) * a), "nothing is dropped"),
    ("drop_count", lambda a, s, n: algorithms.drop_count(a, s, n) + 1, "Round down"),
    ("drop_count", lambda a, s, n: 0.15 * (1 + np.cos(np.pi * s / 0.75 / n)) * a, "should be whole"),
    ("drop_count", lambda a, s, n: 5, "and you drop 5"),
]  # fmt: skip

DRESSES = {  # the solution in another dress
    "to_csr": [lambda v: list(v), lambda v: tuple(a.tolist() for a in v), lambda v: tuple(map(torch.as_tensor, v)),
               lambda v: (v[0].astype(np.float32).astype(float), v[1].astype(np.int32), v[2].astype(float))],
    "most_nonzeros": [float, np.int64, torch.tensor, lambda v: np.array([v])],
    "masked_gradient": [torch.Tensor.numpy, torch.Tensor.tolist, torch.Tensor.double, lambda v: v.requires_grad_()],
    "fan_in_std": [torch.Tensor.numpy, torch.Tensor.tolist, torch.Tensor.double, tuple],
    "drop_signed": [torch.Tensor.numpy, torch.Tensor.tolist, torch.Tensor.int, torch.Tensor.float],
    "grow_elsewhere": [torch.Tensor.numpy, torch.Tensor.tolist, torch.Tensor.int, torch.Tensor.double],
    "updated": [list, lambda v: [a.tolist() for a in v], lambda v: (v[0].double(), v[1].int())],
    "drop_count": [float, np.int64, torch.tensor],
    "explored": [float, torch.tensor, np.float32, lambda v: [v]],
    "returned": [int, float, torch.tensor, lambda v: np.array([v])],
    "cold_and_warm": [list, np.array, torch.tensor, lambda v: tuple(map(np.float64, v))],
    "fair_time": [np.float64, torch.tensor, lambda v: [v]],
    "training_bytes": [float, np.int32, torch.tensor],
    "rewired": [list, lambda v: tuple(a.tolist() for a in v), lambda v: tuple(map(torch.as_tensor, v)),
                lambda v: (v[0].astype(float), v[1].astype(np.int32), v[2].astype(np.int64))],
    "paired_interval": [list, np.array, torch.tensor, lambda v: tuple(map(float, v))],
    "most_in_convolution": [float, np.int64, torch.tensor],
    "hidden_units": [float, np.int64, torch.tensor],
    "most_telling": [list, torch.tensor, np.sort, lambda v: v[::-1].astype(float)],
    "least_milliseconds": [np.float64, torch.tensor, lambda v: [v]],
    "largest_of_groups": [lambda v: v.numpy(), lambda v: v.int(), lambda v: v.double().tolist()],
}  # fmt: skip


def check_of(name):
    return getattr(CHECKS[name], f"check_{name}")


def test_every_exercise_has_wrong_and_dressed_answers():
    assert DRESSES.keys() == CHECKS.keys()
    for name in CHECKS:
        assert len(DRESSES[name]) >= 2
        assert sum(one == name for one, *_ in WRONG) >= 3


@pytest.mark.parametrize(
    ("name", "dress"), [(name, i) for name, dresses in DRESSES.items() for i in range(len(dresses))]
)
def test_what_is_right_passes_in_another_dress(name, dress):
    solution = getattr(CHECKS[name], name)
    verdict = check_of(name)(lambda *arguments: DRESSES[name][dress](solution(*arguments)))
    assert verdict.passed, verdict


ODD = {
    "a string": lambda: "0.5",
    "a generator": lambda: (i for i in range(3)),
    "a dict": lambda: {"values": 1},
    "a function": lambda: len,
    "nan": lambda: float("nan"),
    "infinity": lambda: float("inf"),
    "minus one": lambda: -1,
    "complex": lambda: 1j,
    "nothing in a list": lambda: [],
    "a list of stubs": lambda: [None, None, None],
    "ragged lists": lambda: [[1, 2], [3]],
    "a large array": lambda: np.ones((3, 50, 2)),
    "a tensor of half precision": lambda: torch.ones(3, dtype=torch.bfloat16),
    "a sparse tensor": lambda: torch.ones(3, 3).to_sparse(),
    "three empty arrays": lambda: (np.zeros(0),) * 3,
    "three strings": lambda: ("a", "b", "c"),
    "two nans": lambda: (float("nan"), float("nan")),
    "three of two dimensions": lambda: (np.ones((2, 2)),) * 3,
}


@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize("name", CHECKS)
def test_odd_answers_are_told_so_and_never_blamed_for_an_error_of_the_check(name, odd):
    verdict = check_of(name)(lambda *arguments: ODD[odd]())
    assert not verdict.passed
    assert "stopped with" not in verdict.message
    assert verdict.message.strip()


@pytest.mark.parametrize("name", CHECKS)
def test_a_default_device_of_the_readers_is_no_matter(name):
    solution = getattr(CHECKS[name], name)
    torch.set_default_device("meta")
    try:
        verdict = check_of(name)(lambda *arguments: _on_cpu(solution, arguments))
    finally:
        torch.set_default_device(None)
    assert verdict.passed


def _on_cpu(solution, arguments):
    with torch.device("cpu"):
        return solution(*arguments)


@pytest.mark.parametrize("name", CHECKS)
def test_an_error_of_the_answer_is_told(name):
    def wrong(*arguments):
        raise ZeroDivisionError("by zero")

    verdict = check_of(name)(wrong)
    assert not verdict.passed
    assert verdict.message == "Your function stopped with ZeroDivisionError: by zero"


@pytest.mark.parametrize("name", CHECKS)
def test_the_solution_passes(name, capsys):
    verdict = check_of(name)(getattr(CHECKS[name], name))
    assert verdict.passed, verdict
    assert "Right" in verdict._repr_html_()
    solution_of(check_of(name))
    assert capsys.readouterr().out.startswith(f"def {name}(")


@pytest.mark.parametrize("name", CHECKS)
@pytest.mark.parametrize("stub", [None, ...])
def test_a_stub_is_not_yet_an_answer(name, stub):
    verdict = check_of(name)(lambda *args: stub)
    assert not verdict.passed
    assert "Not yet" in repr(verdict)


@pytest.mark.parametrize(("name", "answer", "words"), WRONG, ids=lambda v: v if isinstance(v, str) else "")
def test_a_wrong_answer_is_told_what_is_wrong(name, answer, words):
    verdict = check_of(name)(answer)
    assert not verdict.passed
    assert words in verdict.message


@pytest.mark.parametrize("name", CHECKS)
def test_hints_come_one_at_a_time_and_end_with_the_way_to_the_solution(name, capsys):
    check, hints = getattr(CHECKS[name], f"check_{name}"), CHECKS[name].HINTS[name]
    assert 2 <= len(hints) <= 3
    for number, hint in enumerate(hints, 1):
        hint_of(check)
        assert capsys.readouterr().out == f"Hint {number} of {len(hints)}: {hint}\n"
    for _ in range(2):
        hint_of(check)
        assert capsys.readouterr().out == f"That was all. `solution_of(check_{name})` prints a solution.\n"


def test_every_hint_belongs_to_an_exercise():
    assert {name for module in set(CHECKS.values()) for name in module.HINTS} == set(CHECKS)
