"""How the recipes were chosen, and what is taken apart afterwards: rows that differ in what they say, and no more."""

from dataclasses import asdict, replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure
from scipy import stats

from dst_tutorial.show import plots
from dst_tutorial.studies.ablation import ADDED, BASE, MATTER, MODERN, PATH, TAKEN
from dst_tutorial.studies.experiment import Experiment
from dst_tutorial.studies.experiments import EXPERIMENTS
from dst_tutorial.studies.paired import MARGINS, Difference, difference, holm
from dst_tutorial.studies.results import differences, load_results
from dst_tutorial.studies.selection import CONTENDERS, ONLY_AT_95, TUNED_AT, chosen, validation
from dst_tutorial.training.recipes import RECIPES


def recorded(contender):
    return load_results("selection-lean" if contender in ONLY_AT_95 else "selection")


def named(contender):
    """The candidate that the recorded runs choose, under the contender's name."""
    kept = RECIPES[contender]
    return replace(chosen(recorded(contender), contender), name=kept.name, about=kept.about)


# --- choosing ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("contender", CONTENDERS)
def test_every_frozen_recipe_is_the_one_that_the_held_out_images_choose(contender):
    assert named(contender) == RECIPES[contender]


@pytest.mark.parametrize("contender", CONTENDERS)
def test_every_candidate_had_the_same_chances(contender):
    """The same seeds at the same sparsities, and four learning rates at least."""
    found = validation(recorded(contender), contender)
    one = (0.0,) if contender.startswith("tuned-dense") else (0.95,)
    sparsities = TUNED_AT if contender not in (*ONLY_AT_95, "tuned-dense", "tuned-dense-constant") else one
    assert {name: tuple(by_sparsity) for name, by_sparsity in found.items()} == dict.fromkeys(found, sparsities)
    assert {len(seeds) for by_sparsity in found.values() for seeds in by_sparsity.values()} == {2}
    assert len({candidate.learning_rate for candidate in CONTENDERS[contender]}) >= 4


def test_no_seed_of_the_choice_is_one_of_the_final_runs():
    chosen_on = set(EXPERIMENTS["selection"].seeds) | set(EXPERIMENTS["selection-lean"].seeds)
    for name in ("frontier", "ablation"):
        assert EXPERIMENTS[name].test_once
        assert not chosen_on & set(EXPERIMENTS[name].seeds)


def made_up(accuracies):
    """A result file of one contender: candidate -> sparsity -> one a seed."""
    return {
        "runs": [
            {"config": {"recipe": {"name": name}, "sparsity": sparsity, "seed": seed}, "summary": {"test_accuracy": a}}
            for name, by_sparsity in accuracies.items()
            for sparsity, seeds in by_sparsity.items()
            for seed, a in enumerate(seeds)
        ]
    }


def test_the_rule_takes_the_highest_mean_and_the_first_of_equals():
    first, second, third, fourth = (candidate.name for candidate in CONTENDERS["tuned-dense-constant"])
    runs = {
        first: {0.95: [90, 92], 0.99: [80, 80]},
        second: {0.95: [93, 93], 0.99: [80, 80]},  # the highest at 95%, not the highest mean
        third: {0.95: [91, 91], 0.99: [84, 84]},
        fourth: {0.95: [84, 84], 0.99: [91, 91]},
    }
    assert chosen(made_up(runs), "tuned-dense-constant").name == third


# --- taking apart -----------------------------------------------------------------------------------------------------


def changes(row, base):
    """What two recipes differ in, by name."""
    a, b = (asdict(recipe) | {"sparsify": recipe.sparsify or {}} for recipe in (row, base))
    a, b = ({**{k: v for k, v in r.items() if k != "sparsify"}, **r["sparsify"]} for r in (a, b))
    return {k for k in {**a, **b} if a.get(k) != b.get(k)} - {"name", "about"}


@pytest.mark.parametrize(("rows", "base"), [(ADDED, BASE), (TAKEN, MODERN)])
def test_every_row_differs_from_its_base_in_one_thing(rows, base):
    seen = []
    for row in rows:
        changed = changes(row, base)
        assert len(changed - {"topology"}) <= 1, row.name  # an algorithm brings its own options
        assert changed, row.name
        seen.append({**asdict(row), "name": "", "about": ""})
    assert all(a != b for i, a in enumerate(seen) for b in seen[:i])


def test_the_path_leads_from_the_slides_to_the_best_recipe_one_thing_a_step():
    steps = [RECIPES["slides"], BASE, *PATH, MODERN]
    for before, after in pairwise(steps):
        assert len(changes(after, before) - {"topology"}) <= 1, after.name
        assert changes(after, before), after.name


def test_the_rows_that_matter_are_rows():
    assert set(MATTER) <= {row.name for row in (*ADDED, *TAKEN)}


# --- differences ------------------------------------------------------------------------------------------------------

numbers = st.floats(90, 100).map(lambda x: round(x, 2))


@given(st.lists(st.tuples(numbers, numbers), min_size=5, max_size=5))
def test_the_interval_is_that_of_student(pairs):
    a, b = zip(*pairs, strict=True)
    found, gaps = difference(a, b), np.array(a) - np.array(b)
    half = 2.7764451052 * gaps.std(ddof=1) / 5**0.5  # t of 97.5% with 4 degrees of freedom, from a table
    assert found.mean == pytest.approx(gaps.mean(), abs=1e-9)
    assert (found.low, found.high) == pytest.approx((gaps.mean() - half, gaps.mean() + half), abs=1e-6)
    assert found.seeds == 5
    opposite = difference(b, a)
    assert opposite.mean == pytest.approx(-found.mean)
    assert {found.verdict, opposite.verdict} in ({"level"}, {"undecided"}, {"more", "less"})


@pytest.mark.parametrize(
    ("mean", "low", "high", "verdict"),
    [
        (0.5, 0.1, 0.9, "more"),
        (-0.5, -0.9, -0.1, "less"),
        (0.05, -0.05, 0.15, "level"),
        (0.12, 0.1, 0.14, "level"),  # surely more than nothing, and surely too little to count
        (-0.14, -0.25, -0.04, "undecided"),  # surely less, but by how much?
        (-2.16, -4.41, 0.09, "undecided"),  # perhaps nothing, perhaps four points
        (0.5, -0.1, 1.1, "undecided"),
    ],
)
def test_a_verdict_can_be_that_we_do_not_know(mean, low, high, verdict):
    assert Difference(mean, low, high, 5).verdict == verdict


def test_a_margin_belongs_to_a_data_set():
    wide = Difference(0.5, -0.2, 0.9, 5, margin=MARGINS["mnist1d"])
    assert wide.verdict == "level"
    assert Difference(0.5, -0.2, 0.9, 5).verdict == "undecided"
    experiments = [experiment for experiment in EXPERIMENTS.values() if isinstance(experiment, Experiment)]
    assert {experiment.data_set.partition("-")[0] for experiment in experiments} == set(MARGINS)


@given(
    mean=st.floats(-1, 1), sd=st.floats(0.01, 1), seeds=st.integers(2, 20), margin=st.sampled_from([*MARGINS.values()])
)
def test_as_many_seeds_as_it_says_decide_and_one_fewer_does_not(mean, sd, seeds, margin):
    def after(n):
        half = float(stats.t.ppf(0.975, n - 1)) * sd / n**0.5
        return Difference(mean, mean - half, mean + half, n, margin)

    enough = after(seeds).seeds_to_decide
    if enough is None:
        assert after(1000).verdict == "undecided"
        assert "over 1000 seeds would decide" in after(seeds).told
        return
    assert after(enough).verdict != "undecided"
    assert enough == seeds or after(enough - 1).verdict == "undecided"
    assert (f"{enough} seeds would decide" in after(seeds).told) == (after(seeds).verdict == "undecided")


@given(st.lists(st.floats(1e-6, 1), min_size=1, max_size=30))
def test_holms_correction_is_that_of_its_definition(ps):
    found = holm({str(i): Difference(0, 0, 0, 5, p=p) for i, p in enumerate(ps)})
    m, order = len(ps), sorted(range(len(ps)), key=ps.__getitem__)
    for rank, i in enumerate(order):
        expected = max(min(1.0, (m - j) * ps[order[j]]) for j in range(rank + 1))
        assert found[str(i)] == pytest.approx(expected)
    assert list(found) == [str(i) for i in range(m)]


def test_holm_keeps_false_alarms_of_a_table_at_one_in_twenty():
    random, alarms, plain = np.random.default_rng(0), 0, 0
    for _ in range(400):
        table = {i: difference(random.normal(size=5), random.normal(size=5)) for i in range(20)}
        plain += any(found.p < 0.05 for found in table.values())
        alarms += any(p < 0.05 for p in holm(table).values())
    assert alarms / 400 < 0.08 < 0.5 < plain / 400


def test_what_is_not_paired_is_refused():
    with pytest.raises(ValueError, match="as many numbers on both sides"):
        difference([1, 2, 3], [1, 2])
    with pytest.raises(ValueError, match="at least two"):
        difference([1], [1])


@pytest.mark.parametrize("wrong", [float("nan"), float("inf"), None])
def test_what_is_no_number_is_refused(wrong):
    with pytest.raises(ValueError, match=f"place 2 of the first side has {wrong}"):
        difference([1, wrong, wrong], [1, 2, 3])
    with pytest.raises(ValueError, match=f"place 3 of the second side has {wrong}"):
        difference(np.array([1.0, 2, 3]), (1, 2, wrong))


# --- pictures ---------------------------------------------------------------------------------------------------------


def test_pictures_of_comparisons_say_what_they_show():
    gain, tie = Difference(0.5, 0.3, 0.7, 5), Difference(0.01, -0.1, 0.1, 5)
    picture = plots.effects({"added": {"ERK": gain}, "taken": {"reset": tie, "RigL": Difference(-0.3, -0.4, -0.2, 5)}})
    assert isinstance(picture, Figure)
    assert "ERK +0.50 [+0.30, +0.70] (more)" in picture.get_label()
    assert "reset +0.01 [-0.10, +0.10] (level)" in picture.get_label()

    picture = plots.waterfall({"slides": [96.5, 97.0], "+ ERK": [98.5, 98.7]}, {"dense": [99.1, 99.3]})
    bars = picture.axes[0].patches
    assert [round(bar.get_y() + bar.get_height(), 2) for bar in bars] == [96.75, 98.6, 99.2]
    assert bars[1].get_y() == pytest.approx(96.75)  # on top of the one before
    assert "+ ERK 98.60%" in picture.get_label()

    point = {"accuracies": [99.0, 99.2], "sparsity": 0.95, "weights": 67_173, "macs": 1_000_000, "seconds": 75.0}
    less = point | {"accuracies": [98.0, 98.2], "sparsity": 0.99, "weights": 13_435, "macs": 300_000}
    picture = plots.frontier({"modern": [point, less], "tuned-dense": [point]})
    assert len([axes for axes in picture.axes if axes.get_xlabel()]) == 3
    assert "modern: 67,173 weights, 1,000,000 multiplications, 75 s: 99.10%" in picture.get_label()


# --- rivals -----------------------------------------------------------------------------------------------------------


def runs_of(name, sparsity, accuracies):
    return [
        {
            "config": {"recipe": {"name": name}, "sparsity": sparsity, "seed": seed, "data_set": "mnist"},
            "summary": {"test_accuracy": a},
        }
        for seed, a in accuracies.items()
    ]


def test_rivals_are_paired_by_seed_whatever_the_order_of_the_runs():
    results = {
        "runs": [
            *runs_of("mine", 0.9, {1: 97.0, 2: 98.0, 3: 99.5}),
            *runs_of("mine", 0.99, {3: 95.0, 1: 93.0, 2: 94.0}),
            *runs_of("sparse rival", 0.9, {3: 99.0, 2: 98.0, 1: 96.0}),
            *runs_of("dense", 0.0, {2: 99.0, 3: 99.5, 1: 98.0, 4: 90.0}),  # a seed that the others do not have
        ]
    }
    found = differences(results, "mine", "dense")
    assert found == {0.9: difference([97, 98, 99.5], [98, 99, 99.5]), 0.99: difference([95, 93, 94], [99.5, 98, 99])}
    found = differences(results, "mine", "sparse rival")  # which was not run at 99%
    assert found == {0.9: difference([97, 98, 99.5], [96, 98, 99])}
