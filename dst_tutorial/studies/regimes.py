"""Where does sparse win? Kinds of tasks and budgets, who contends in each, and how everybody is tuned.

Every contender of every regime, dense ones and the forest included, has six candidates. All are trained from the same
two seeds on a task whose last sixth of training examples is held out; the one with the highest mean accuracy there is
taken (of equals the first), and trained on all of it from five fresh seeds. The test set is seen once, at the end.

A family `NAME-tuning` trains the candidates, the family `NAME` what the rule takes of its recorded results.
"""

import statistics
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache, partial
from itertools import pairwise, product
from math import prod
from pathlib import Path

from ..layers import INDEX, VALUE
from ..paths import results_folder
from ..positions import ROW
from ..training import NETWORKS, NOISE, SIZES, Recipe
from .experiment import Contender, Experiment, Family, key_of
from .forest import Forest
from .paired import MARGINS
from .results import load_results

TUNED, FINAL = (400, 401), (500, 501, 502, 503, 504)
MARGIN = 1.0  # percentage points that count as level in these tasks, but for all of MNIST (`paired.MARGINS`)
_RATES = (5e-4, 1e-3, 2e-3, 4e-3, 8e-3, 1.6e-2)
_THREE = (1e-3, 2e-3, 4e-3)
_ERK = {"allocation": "erk", "init": "fan_in"}
_MEGABYTE = 2**20
_TRAINING = 4 * VALUE  # bytes that a dense weight or a bias takes: itself, its gradient and Adam's two moments


@dataclass(frozen=True)
class Regime:
    """A task, a network and a budget."""

    name: str
    told: str
    data_set: str
    inputs: int
    examples: int
    epochs: int
    contenders: tuple[str, ...]
    network: str = "LeNet300100"
    classes: int = 10
    sparsities: tuple[float, ...] = (0.95,)  # of the final runs
    tuned_at: float = 0.95
    tuned_for: int | None = None  # epochs, where its candidates were trained for another regime
    telling: int | None = None  # the first so many inputs say something
    state: int | None = None  # bytes of training state, in the place of a sparsity: how wide is open then
    margin: float = MARGIN  # percentage points that count as level
    on_map: bool = True  # a row of the one picture; all are rows of its table

    def experiment(self, name: str, recipes: tuple[Contender, ...], **options) -> Experiment:
        """Of these recipes, in this regime."""
        about = {"network": self.network, "epochs": self.epochs, "data_set": self.data_set, "telling": self.telling}
        return Experiment(name, self.told, recipes, backend="sparse", test_once=True, brief=True, **about | options)


@dataclass(frozen=True)
class Candidate:
    """What a contender may be: a recipe, and how wide and how sparse the network is where that is open."""

    recipe: Contender
    width: int = 1
    sparsity: float | None = None  # None: the regime's


# --- who contends -----------------------------------------------------------------------------------------------------


def _rigl(regime: Regime) -> dict:
    """Its options: forty updates in a training, or what is left of them at their early end."""
    return {"update_interval": max(1, regime.epochs * -(-regime.examples // 64) // 40)}


def _sparse(algorithm: str, regime: Regime) -> list[Recipe]:
    """At three rates, and with two shares that an update drops (a mask that stays: two allocations).

    A single layer leaves no allocation to choose: its mask is tried at six rates, its update with one share.
    """
    rates, ways = (_RATES, 1) if regime.network == "LinearClassifier" else (_THREE, 2)
    stays = algorithm == "static"
    choices = [("erk", None), ("uniform", None)] if stays else [("erk", 0.3), ("erk", 0.5)]
    topology = _rigl(regime) if algorithm == "RigL" else {}
    return [
        Recipe(f"{allocation}, {rate:g}" if stays else f"{allocation}, {share}, {rate:g}", "",
               {"allocation": allocation, "init": "fan_in"}, algorithm,
               topology if stays else topology | {"drop_fraction": share},
               learning_rate=rate, learning_rate_schedule="cosine")
        for (allocation, share), rate in product(choices[:ways], rates)
    ]  # fmt: skip


def _at_rates(**options) -> list[Recipe]:
    return [Recipe(f"{rate:g}", "", learning_rate=rate, learning_rate_schedule="cosine", **options) for rate in _RATES]


def _regularised(field: str, strengths: tuple[float, float], **options) -> list[Recipe]:
    return [
        Recipe(f"{strength:g}, {rate:g}", "", learning_rate=rate, learning_rate_schedule="cosine",
               **options | {field: strength})
        for strength, rate in product(strengths, _THREE)
    ]  # fmt: skip


def _structured(regime: Regime, structure: int | str | None = None, moves: bool = True) -> list[Recipe]:
    """RigL, or a mask that stays, at one sparsity in all layers but a first convolution; in groups, if asked."""
    sparsify = {"allocation": "uniform", "init": "fan_in"}
    sparsify |= {"densities": {"conv1": 1.0}} if regime.network == "SlideCNN" else {}
    sparsify |= {"structure": structure} if structure else {}
    if not moves:
        return _at_rates(sparsify=sparsify, algorithm="static")
    grow = {"grow": f"gradient by {structure}"} if structure else {}
    return [
        Recipe(f"{share}, {rate:g}", "", sparsify, "RigL", _rigl(regime) | grow | {"drop_fraction": share},
               learning_rate=rate, learning_rate_schedule="cosine")
        for share, rate in product((0.3, 0.5), _THREE)
    ]  # fmt: skip


_L1 = partial(_regularised, "l1", (1e-4, 4e-4))


def _selected(regime: Regime) -> list[Recipe]:
    """Half and twice as many inputs as say something; where that is not known, an eighth and half of all."""
    known = regime.telling
    numbers = (
        (known // 2, 2 * known) if known and 2 * known < regime.inputs else (regime.inputs // 8, regime.inputs // 2)
    )
    return [
        Recipe(f"{inputs} inputs, {rate:g}", "", small=True, learning_rate=rate, learning_rate_schedule="cosine",
               inputs=inputs)
        for inputs, rate in product(numbers, _THREE)
    ]  # fmt: skip


_FORESTS = [Forest(f"{features}, {leaf}", features, leaf) for features, leaf in product(("sqrt", 0.02), (1, 2, 5))]

CONTENDERS = {  # name -> its candidates in a regime, six each
    "RigL": partial(_sparse, "RigL"),
    "RigL, L1": lambda regime: _L1(sparsify=_ERK, algorithm="RigL", topology=_rigl(regime)),
    "SET": partial(_sparse, "SET"),
    "static mask": partial(_sparse, "static"),
    "small dense": lambda _: _at_rates(small=True),
    "small dense, L1": lambda _: _L1(small=True),
    "dense": lambda _: _at_rates(),
    "dense, weight decay": lambda _: _regularised("weight_decay", (1.0, 10.0)),
    "dense, L1": lambda _: _L1(),
    "selected inputs, small dense": _selected,
    "random forest": lambda _: _FORESTS,
    "RigL, uniform": _structured,
    "RigL, constant fan-in": partial(_structured, structure=ROW),
    "RigL, N of 16": partial(_structured, structure=16),
    "static mask, uniform": partial(_structured, moves=False),
    "static mask, constant fan-in": partial(_structured, structure=ROW, moves=False),
}
_EVERYBODY = tuple(CONTENDERS)[:11]
_FOUR = ("RigL", "static mask", "small dense", "dense")
_IN_GROUPS = ("RigL, uniform", "RigL, constant fan-in", "RigL, N of 16", "static mask, uniform",
              "static mask, constant fan-in", "small dense")  # fmt: skip
_SPARSER_THAN_16 = tuple(name for name in _IN_GROUPS if name != "RigL, N of 16")


def candidates(contender: str, regime: Regime) -> tuple[Candidate, ...]:
    """What it chooses from in this regime, each under a name of its own."""
    if regime.state:
        found = _within(contender, regime)
    else:
        found = [Candidate(recipe) for recipe in CONTENDERS[contender](regime)]
    return tuple(replace(c, recipe=replace(c.recipe, name=f"{contender}: {c.recipe.name}")) for c in found)


def _within(contender: str, regime: Regime) -> list[Candidate]:
    """As wide as six candidates allow, and as sparse as the bytes ask for; a dense one has one width."""
    widths = [width for width in WIDTHS if _sparsity_within(contender, regime, width) is not None]
    if contender == "small dense":
        widths = widths[-1:]  # which is only counted from
    recipes = CONTENDERS[contender](regime)[: 6 // len(widths)]
    return [
        Candidate(replace(recipe, name=f"{width} x, {recipe.name}"), width, _sparsity_within(contender, regime, width))
        for width, recipe in product(widths, recipes)
    ]


def _sparsity_within(contender: str, regime: Regime, width: int) -> float | None:
    """At which a network `width` times as wide is trained within the regime's bytes; None where it needs no zero."""
    kind = NETWORKS[regime.network].wider(width)
    widths = [prod(kind.image), *kind.hidden, kind.classes]
    total, biases = sum(a * b for a, b in pairwise(widths)), sum(widths[1:])
    weight, row = (_TRAINING + INDEX, INDEX) if contender != "small dense" else (_TRAINING, 0)
    pointers = row * (biases + len(widths) - 1)
    left = (regime.state - pointers - _TRAINING * biases) // weight
    return None if left >= total else 1 - left / total


# --- the regimes ------------------------------------------------------------------------------------------------------

WIDTHS = (1, 3, 9)  # times the hidden units, where the bytes are given
_SPARSITIES = (0.9, 0.95, 0.98, 0.99)

REGIMES: dict[str, tuple[Regime, ...]] = {
    "noise": tuple(
        Regime(
            f"noise-{times}",
            f"MNIST, {times} x as many inputs of noise" if times else "MNIST, 6,000 images",
            f"mnist-6000-noise-{times}",
            inputs=784 * (1 + times),
            examples=6_000,
            epochs=20,
            contenders=_EVERYBODY,
            sparsities=_SPARSITIES,
            tuned_at=0.98,
            telling=784,
            on_map=times in (0, 9, 19),
        )
        for times in NOISE
    ),
    "fashion": (
        Regime("fashion", "Fashion-MNIST, LeNet-300-100", "fashion-mnist", inputs=784, examples=60_000, epochs=10,
               contenders=_FOUR),
        Regime("fashion-noise-9", "Fashion-MNIST, 9 x as many inputs of noise", "fashion-mnist-6000-noise-9",
               inputs=7_840, examples=6_000, epochs=20, contenders=_EVERYBODY, sparsities=(0.98,), tuned_at=0.98,
               telling=784),
    ),
    "few": (
        Regime("few-of-many", "20 telling inputs of 2,000", "few-of-many", inputs=2_000, examples=6_000, epochs=20,
               contenders=_EVERYBODY, classes=4, sparsities=(0.95, 0.98), tuned_at=0.98, telling=20),
        Regime("parity", "the parity of 3 inputs of 200", "parity", inputs=200, examples=60_000, epochs=10,
               contenders=_EVERYBODY, classes=2, telling=3),
    ),
    "classes": tuple(
        Regime(f"classes-{used}", told, f"classes-{used}", inputs=256, examples=48_000, epochs=8, contenders=_FOUR,
               network="LinearClassifier", classes=2_000, sparsities=(0.9,), tuned_at=0.9)
        for used, told in (("own", "2,000 classes, each of 26 features of its own"),
                           ("all", "2,000 classes, each of all 256 features"))
    ),
    "length": tuple(
        Regime(f"{size}-images-{epochs}-epochs", f"MNIST, {size:,} images, {epochs} epochs", f"mnist-{size}",
               inputs=784, examples=size, epochs=epochs, contenders=_FOUR, tuned_for=10,
               margin=MARGINS["mnist"] if size == 60_000 else MARGIN,
               on_map=(size, epochs) in ((1_000, 10), (60_000, 50)))
        for size, epochs in product(SIZES, (10, 30, 50))
    ),
    "memory": tuple(
        Regime(f"{data_set}-{megabytes}-MB", f"{told}, {megabytes} MB to train in", data_set, inputs=inputs,
               examples=examples, epochs=epochs, contenders=("RigL", "static mask", "small dense"), network=network,
               state=megabytes * _MEGABYTE, margin=MARGINS[data_set.removesuffix("-60000")], on_map=megabytes == 1)
        for (data_set, told, inputs, examples, epochs, network), megabytes in product(
            (("mnist-60000", "MNIST", 784, 60_000, 5, "LeNet300100"), ("mnist1d", "MNIST-1D", 40, 4_000, 60, "MLP1D")),
            (1, 4, 16),
        )
    ),
    "structure": tuple(
        Regime(f"structure-{network}-{tuned_at}", f"MNIST, {told}, zeros in groups", "mnist", inputs=784,
               examples=60_000, epochs=10, contenders=contenders, network=network, sparsities=sparsities,
               tuned_at=tuned_at, margin=MARGINS["mnist"], on_map=False)
        for network, told in (("LeNet300100", "LeNet-300-100"), ("SlideCNN", "the slides' network"))
        for contenders, sparsities, tuned_at in ((_IN_GROUPS, (13 / 16, 14 / 16, 15 / 16), 15 / 16),
                                                 (_SPARSER_THAN_16, (0.98,), 0.98))
    ),
}  # fmt: skip
_ABOUT = {
    "noise": "most inputs are noise",
    "fashion": "clothes in the place of digits, alone and beside noise",
    "few": "few of many inputs say something, one by one or only together",
    "classes": "many classes on one linear layer",
    "length": "more images, and longer trainings, on LeNet-300-100",
    "memory": "so many bytes of training state, whatever the width",
    "structure": "zeros anywhere, as many in every row, as many in every 16 inputs",
}


def first_layer() -> Experiment:
    """Where the first layer's connections go beside noise: three ways that differ in nothing else."""
    regime = next(regime for regime in REGIMES["noise"] if regime.name == "noise-9")
    moved = next(c.recipe for c in candidates("RigL, L1", regime) if c.recipe.name.endswith("0.0004, 0.002"))
    ways = {
        "grown by gradient": moved,
        "grown at random": replace(moved, topology=moved.topology | {"grow": "random"}),
        "never moved": replace(moved, algorithm="static", topology={}),
    }
    recipes = tuple(replace(recipe, name=name) for name, recipe in ways.items())
    experiment = regime.experiment("first-layer", recipes, seeds=FINAL[:1], sparsities=(0.98,), watched=True)
    return replace(experiment, about="where the first layer's connections go, beside nine times as much noise")


# --- tuning and choosing ----------------------------------------------------------------------------------------------


def _trials(contender: str, regime: Regime) -> list[Experiment]:
    """The training of each candidate on held-out examples, in their order."""
    alike = replace(regime, epochs=regime.tuned_for or regime.epochs)
    return [
        alike.experiment(
            f"tuning of {contender}",
            (candidate.recipe,),
            seeds=TUNED,
            data_set=f"{regime.data_set}-validation",
            sparsities=(candidate.sparsity or regime.tuned_at,),
            width=candidate.width,
        )
        for candidate in candidates(contender, alike)
    ]


def tuning(family: str) -> Family:
    """All candidates on held-out examples. What several regimes are tuned by is trained once."""
    parts = [trial for regime in REGIMES[family] for contender in regime.contenders for trial in
             _trials(contender, regime)]  # fmt: skip
    return Family(f"{family}-tuning", f"{_ABOUT[family]}: what each contender chooses from", tuple(parts))


Tuned = Mapping[str, float]  # key of a candidate's run -> accuracy (percent) on held-out examples


def tuned(results: Mapping) -> Tuned:
    """Of a recorded tuning."""
    return {key_of(run["config"]): run["summary"]["test_accuracy"] for run in results["runs"]}


def held_out(found: Tuned, contender: str, regime: Regime) -> list[list[float]]:
    """Accuracy (percent) on held-out examples, one a seed: a list a candidate, in their order."""
    return [[found[key] for key in trial.runs() if key in found] for trial in _trials(contender, regime)]


def winner(found: Tuned, contender: str, regime: Regime) -> Candidate:
    """The rule: the candidate with the highest mean on held-out examples, of equal ones the first.

    ValueError where one was not trained.
    """
    accuracies = held_out(found, contender, regime)
    if missing := [place for place, seeds in enumerate(accuracies, start=1) if len(seeds) < len(TUNED)]:
        raise ValueError(f"{contender} in {regime.name} is not tuned yet: candidate {missing[0]} lacks a run")
    means = [statistics.mean(seeds) for seeds in accuracies]
    taken = candidates(contender, regime)[means.index(max(means))]
    return replace(taken, recipe=replace(taken.recipe, name=contender))


def final(family: str, found: Tuned) -> Family:
    """What the rule takes of the recorded tuning, from fresh seeds."""
    parts = []
    for regime in REGIMES[family]:
        for contender in regime.contenders:
            taken = winner(found, contender, regime)
            sparsities = regime.sparsities if taken.sparsity is None else (taken.sparsity,)
            parts.append(
                regime.experiment(family, (taken.recipe,), seeds=FINAL, sparsities=sparsities, width=taken.width)
            )
    return Family(family, _ABOUT[family], tuple(parts))


@cache
def decided(family: str, folder: Path) -> Family | None:
    """The final runs, where all of the tuning is recorded in this folder."""
    try:
        return final(family, tuned(load_results(f"{family}-tuning", folder)))
    except (FileNotFoundError, ValueError):
        return None


FAMILIES: dict[str, Family] = {
    family.name: family
    for name in REGIMES
    for family in (tuning(name), decided(name, results_folder()))
    if family
}  # fmt: skip
