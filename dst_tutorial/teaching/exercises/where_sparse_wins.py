"""Exercises of notebook 09: solutions, and the checks that tell what is wrong with an answer."""

import numpy as np

from .judging import Verdict, array_of, ask, judge, whole_of

HINTS = {
    "hidden_units": (
        "A hidden unit has one weight from every input and one to every class.",
        "Round down: the budget must not be exceeded.",
    ),
    "most_telling": (
        "For each input: how far are the class means from the mean of all, squared, times the size of the class?",
        "Beside that, the spread within the classes: squared distances from the own class's mean, added up.",
        "Sort by the ratio, the largest first, and take `count`.",
    ),
}


def hidden_units(inputs, classes, weights):
    return weights // (inputs + classes)


def check_hidden_units(answer) -> Verdict:
    """`answer(inputs, classes, weights)`: the widest network of one hidden layer within so many weights."""

    def trial(inputs: int, classes: int, weights: int) -> str | None:
        what = f"{inputs:,} inputs, {classes} classes, {weights:,} weights"
        found = whole_of(ask(answer, inputs, classes, weights), f"{what}: the number of hidden units")
        expected = hidden_units(inputs, classes, weights)
        if found == expected:
            return None
        if found == weights // inputs:
            return f"{what}: {found:,} units leave no weight for the second layer."
        if found * (inputs + classes) > weights:
            return f"{what}: {found:,} units have {found * (inputs + classes):,} weights, too many."
        return f"{what}: {expected:,} units still fit; yours are {found:,}."

    trials = ((784, 10, 47_000), (7_840, 10, 47_000), (15_680, 10, 47_000), (256, 2_000, 51_200), (784, 10, 700))
    return judge(
        trial,
        trials,
        "Right. Beside 19 times as much noise three units are left: a dense layer pays for every input in every unit.",
    )


def most_telling(rows, labels, count):
    classes = np.unique(labels)
    groups = [rows[labels == c] for c in classes]
    between = sum(len(group) * (group.mean(0) - rows.mean(0)) ** 2 for group in groups)
    within = sum(((group - group.mean(0)) ** 2).sum(0) for group in groups)
    return np.argsort(-between / within)[:count]


def check_most_telling(answer) -> Verdict:
    """`answer(rows, labels, count)`: the inputs whose class means differ most, beside their spread within a class."""

    def trial(seed: int, count: int) -> str | None:
        random = np.random.default_rng(seed)
        labels = np.repeat(np.arange(3), (120, 60, 20))[random.permutation(200)]
        signal = np.linspace(0, 1.2, 12)[random.permutation(12)]
        scale = np.exp(random.normal(0, 1.5, 12))  # in inches or in miles: the unit says nothing
        means = random.permuted(np.tile([[-1.0], [0.0], [1.0]], 12), axis=0)
        rows = (means[labels] * signal + random.normal(0, 1, (200, 12))) * scale + 3
        found = array_of(ask(answer, rows, labels, count), "The inputs")
        expected = set(most_telling(rows, labels, count).tolist())
        if found.shape != (count,):
            return f"Return {count} inputs, as their places; yours have shape {list(found.shape)}."
        given = set(found.tolist())
        if given == expected:
            return None
        if len(given) < count or not given <= set(range(12)):
            return "Each input may be there once, as its place from 0 on."
        groups = [rows[labels == c] for c in range(3)]
        between = sum(len(g) * (g.mean(0) - rows.mean(0)) ** 2 for g in groups)
        spread = rows.std(0)
        near = (
            (-between, "those whose means differ most in their own unit: divide by the spread within a class."),
            (-spread, "those that vary most, whatever the class is."),
            (between / spread**2, "those that say least: sort the other way round."),
        )
        for score, why in near:
            if given == set(np.argsort(score)[:count].tolist()):
                return f"You chose {why}"
        missing = sorted(expected - given)
        return f"Input {missing[0]} says more than some of yours: compare its mean in each class with that of all rows."

    return judge(
        trial,
        ((0, 4), (1, 6), (2, 2), (3, 3)),
        "Right: this is the selection of the map. Now try it on `parity`, where no input says anything alone.",
    )
