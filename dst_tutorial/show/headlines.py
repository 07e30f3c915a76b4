"""Our own headlines: each sentence of the README and of "What we saw" that compares or counts, and what carries it.

`python -m dst_tutorial claims` looks each up in the recorded results and fails where a result no longer carries its
sentence. What a notebook finds out while it runs, it asserts in its own cells: the ledger says by which line.
"""

import json
import math
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import cache

from scipy import stats

from ..paths import figures_folder
from ..studies import (
    DST,
    REGIMES,
    Point,
    Regime,
    Standing,
    by_recipe_and_sparsity,
    difference,
    differences,
    effects,
    in_regime,
    latest_first,
    load_atlas,
    load_results,
    load_timings,
    machine,
    standings,
    typical_seconds,
)
from ..timing import row_of, rows_of
from . import checks
from .checks import ARTEFACT, NOT_REPRODUCED, REPRODUCED, Finding
from .figures import accuracies_at_95, claim_changes, cores
from .tables import Rows, markdown

Check = Callable[[], tuple[str, bool]]  # -> (what was measured, does it carry the sentence?)


@dataclass(frozen=True)
class Headline:
    """A sentence, where it stands, and what carries it."""

    where: str  # "README", or a notebook's number
    begins: str  # the sentence's first words; one of "What we saw" is a whole item of the list
    source: str  # result files; or "its cells"
    checks: tuple[Check, ...] = ()
    cells: tuple[str, ...] = ()  # lines of that notebook's code that assert it


# --- what carries a sentence ------------------------------------------------------------------------------------------


def gap(experiment: str, recipe: str, rival: str, verdict: str, *sparsities: float) -> Check:
    """The paired difference of two recipes has this verdict, at these sparsities (95% if none)."""

    def check() -> tuple[str, bool]:
        found = differences(load_results(experiment), recipe, rival)
        chosen = {s: found.get(s, found.get(0.0)) for s in sparsities or (0.95,)}
        told = ", ".join(f"{one.told} at {100 * s:g}%" for s, one in chosen.items())
        return f"{recipe} - {rival}: {told}", all(one.verdict == verdict for one in chosen.values())

    return check


def mean_gap(experiment: str, recipe: str, rival: str, low: float, high: float, *sparsities: float) -> Check:
    """The mean difference lies in between, in points, at these sparsities (at all of the experiment's if none)."""

    def check() -> tuple[str, bool]:
        found = differences(load_results(experiment), recipe, rival)
        chosen = {s: found[s] for s in sparsities or found}
        told = ", ".join(f"{one} at {100 * s:g}%" for s, one in chosen.items())
        return f"{recipe} - {rival}: {told}", all(low <= one.mean <= high for one in chosen.values())

    return check


def added(row: str, verdict: str, least: float = -math.inf) -> Check:
    """Added to the slides' protocol, a row of the ablation has this verdict, and at least so many points."""

    def check() -> tuple[str, bool]:
        one = effects(accuracies_at_95())["added to the slides' protocol"][row]
        return f"{row}: {one.told}", one.verdict == verdict and one.mean >= least

    return check


def on(claim: str, verdict: str, *networks: str) -> Check:
    """A claim has this verdict on these networks ("more": it holds there)."""

    def check() -> tuple[str, bool]:
        found = {network: claim_changes()[claim][network] for network in networks}
        told = ", ".join(f"{one.told} on {network}" for network, one in found.items())
        return f"{claim}: {told}", all(one.verdict == verdict for one in found.values())

    return check


def explored(experiment: str, recipe: str, below: float) -> Check:
    """In every run, less than that share of all positions was ever active."""

    def check() -> tuple[str, bool]:
        runs = [run for run in load_results(experiment)["runs"] if run["summary"]["recipe"] == recipe]
        most = max(run["exploration_rate"] for run in runs)
        return f"{recipe}: {100 * most:.2f}% explored at most", most < below

    return check


def times(work: str, batch: int, method: str, than: str, low: float, high: float = float("inf")) -> Check:
    """In every recorded benchmark of the slides' network, one thread: `method` takes so many times as long."""

    def check() -> tuple[str, bool]:
        ratios = []
        for run in load_timings("benchmark", case="slides", work=work, batch=batch, threads=1, sparsity=0.95):
            one, other = (row_of(rows_of(run), name) for name in (method, than))
            ratios += [one.times(other)] if one and other else []
        told = " and ".join(f"{ratio:.1f}" for ratio in sorted(ratios))
        return f"{work}, batch {batch}: {method} takes {told} times as long as {than}", (
            bool(ratios) and low <= min(ratios) and max(ratios) <= high
        )

    return check


def more_cores(method: str, low: float, high: float) -> Check:
    """On the machine of the latest benchmark, all threads make training steps of 64 so many times as fast as one."""

    def check() -> tuple[str, bool]:
        gains = _gains(method)
        said = ", ".join(f"{network} {gain:.2f}" for network, (_, gain) in gains.items())
        return f"{method}, times faster than on one thread: {said}", (
            low <= min(gain for _, gain in gains.values()) and max(gain for _, gain in gains.values()) <= high
        )

    return check


def longer_gains_more(method: str, least: float) -> Check:
    """Rank correlation of what these steps take on one thread and what they gain by more."""

    def check() -> tuple[str, bool]:
        found = float(stats.spearmanr(*zip(*_gains(method).values(), strict=True)).statistic)
        return f"{method}, rank correlation of length and gain: {found:.2f}", found >= least

    return check


def _gains(method: str) -> dict[str, tuple[float, float]]:
    """Network -> (milliseconds on one thread, times faster on all), of training steps of 64."""
    runs = latest_first(load_timings("benchmark", work="training step", batch=64))
    here = [run for run in runs if machine(run) == machine(runs[0])]
    return {told["network"]: found[method] for told, found in cores(here)}


def seconds(experiment: str, recipe: str, rival: str, low: float, high: float) -> Check:
    """`rival` trains so many times as long as `recipe`, in the runs of an experiment at one sparsity."""

    def check() -> tuple[str, bool]:
        found = {
            name: typical_seconds(runs) for (name, _), runs in by_recipe_and_sparsity(load_results(experiment)).items()
        }
        ratio = found[rival] / found[recipe]
        return f"{rival} trains {ratio:.1f} times as long as {recipe}", low <= ratio <= high

    return check


def claimed(check: Callable[[], Finding], *verdicts: str) -> Check:
    """What became of a number on the slides."""

    def look() -> tuple[str, bool]:
        found = check()
        return found.measured, found.verdict in (verdicts or (REPRODUCED,))

    return look


def in_the_atlas(sparsity: float, grow: str, interval: int, low: float, high: float) -> Check:
    """The explorer's point is so many points ahead of its static mask."""

    def check() -> tuple[str, bool]:
        points = load_atlas().points
        gain = difference(points[Point(sparsity, interval, grow=grow)].final, points[Point(sparsity).static].final)
        return f"by {grow} every {interval} steps at {100 * sparsity:g}%: {gain}", low <= gain.mean <= high

    return check


@cache
def _map() -> list[Standing]:
    """All regimes at all sparsities; worked out once for a ledger."""
    return standings(every=True)


def stands(regime: str, column: str, verdict: str, low: float = -math.inf, high: float = math.inf) -> Check:
    """On the map of regimes, moving connections minus a column: this verdict, and so many points."""

    def check() -> tuple[str, bool]:
        row = next(row for row in _map() if row.told.startswith(regime))
        one = row.gap(column)
        told = f"{row.told}: {row.sides[DST].name} - {row.sides[column].name}: {one.told}"
        return told, one.verdict == verdict and low <= one.mean <= high

    return check


def counted(column: str, verdict: str, low: int = 0, high: int = 0) -> Check:
    """At all sparsities of all regimes, so often does moving connections minus a column have this verdict."""

    def check() -> tuple[str, bool]:
        found = [row.gap(column).verdict for row in _map() if column in row.sides]
        number = found.count(verdict)
        return f"minus {column}: {verdict} in {number} of {len(found)}", low <= number <= high

    return check


def _regime(family: str, begins: str, sparsity: float) -> Regime:
    return next(r for r in REGIMES[family] if r.told.startswith(begins) and sparsity in r.sparsities)


def beside(name: str, rival: str, family: str, regime: str, sparsity: float, verdict: str, low: float = -math.inf,
           high: float = math.inf) -> Check:  # fmt: skip
    """In one regime at one sparsity, one contender minus another: this verdict, and so many points."""

    def check() -> tuple[str, bool]:
        here = _regime(family, regime, sparsity)
        mine, other = (in_regime(family, here, sparsity)[who].by_seed for who in (name, rival))
        one = difference([mine[seed] for seed in mine], [other[seed] for seed in mine], here.margin)
        return f"{here.told}, {100 * sparsity:g}%: {name} - {rival}: {one.told}", (
            one.verdict == verdict and low <= one.mean <= high
        )

    return check


def beside_longer(name: str, rival: str, family: str, regime: str, sparsity: float, low: float, high: float) -> Check:
    """In one regime at one sparsity, a contender trains so many times as long as another."""

    def check() -> tuple[str, bool]:
        here = _regime(family, regime, sparsity)
        mine, other = (in_regime(family, here, sparsity)[who].seconds for who in (name, rival))
        return (
            f"{here.told}, {100 * sparsity:g}%: {name} {mine:.1f} s, {rival} {other:.1f} s",
            low <= mine / other <= high,
        )

    return check


# --- the sentences ----------------------------------------------------------------------------------------------------


_GROUPED, _SLIDES = (13 / 16, 14 / 16, 15 / 16, 0.98), "MNIST, the slides"
_NOISE, _FEW = "MNIST, 9 x as many inputs of noise, 98%", "20 telling inputs of 2,000, 98%"


def _cells(where: str, begins: str, *cells: str) -> Headline:
    return Headline(where, begins, "its cells", cells=cells)


HEADLINES: tuple[Headline, ...] = (
    _cells("01", "A trained network can lose most of its weights",
           "assert lost[0.7] < 3", 'assert curves["at random"][0.7] < curves["smallest first"][0.7] - 10'),
    _cells("01", "At 95% it needs fine-tuning", 'assert tuned > curves["smallest first"][0.95] + 20'),
    _cells("01", "COO, CSR and CSC store", "assert (csr.indptr == row_pointers).all()"),
    Headline("01", "95% fewer weights are about 90% less memory", "counted",
             (claimed(checks.memory_saved, NOT_REPRODUCED), claimed(checks.overhead_at_low_sparsity))),
    _cells("01", "The same budget of weights",
           'assert min(ends["ERK"], ends["dense convolutions"]) > ends["uniform"]', "assert 0.12 < share < 0.14"),
    _cells("01", "ERK spends it by the layers' shapes",
           "assert all(abs(ours[name] - theirs[name]) <= 1 for name in shapes)"),
    _cells("02", "A masked layer is a dense layer", "assert (mine.weight.grad[~mask] == 0).all()"),
    _cells("02", "A uniform 95% of the slides' network",
           "assert (active, biases) == (67_175, 2_186)", "assert conv1.sum() == 8 and blind >= 8"),
    Headline("02", "Dense+Mask holds more bytes than dense", "counted, results/benchmark.json",
             (claimed(checks.masks_save_nothing), times("training step", 64, "Dense+Mask", "dense", 1.0, 2.0))),
    Headline("02", "Weights drawn for the dense fan-in", "results/slides.json, its cells",
             (gap("slides", "slides-fan-in", "slides", "undecided"),),
             ('assert signal["N(0, 2/k)"] > signal["rescaled"] > 100 * signal["the dense values"]',
              'assert min(accuracy["rescaled"], accuracy["N(0, 2/k)"]) > accuracy["the dense values"]')),
    _cells("03", "A topology update drops", "assert after.sum() == before.sum()"),
    _cells("03", "The engine drops and grows", "assert torch.equal(layer.mask, after)"),
    Headline("03", "The slides' table is reproduced", "results/slides.json",
             (claimed(checks.gap), mean_gap("slides", "dense", "slides", 2, 3))),
    Headline("03", "A static mask from the same seeds", "results/slides.json",
             (mean_gap("slides", "slides", "slides-static", 0.2, 0.3),)),
    Headline("03", "Five updates of 10% explore less than 7.5%", "results/slides.json, its cells",
             (explored("slides", "slides", 0.075),), ("assert conv1_moves == 0",)),
    Headline("03", "In the explorer's short trainings", "results/atlas.json",
             (*(in_the_atlas(0.95, "gradient", n, 0.8, 1) for n in (20, 100)),
              in_the_atlas(0.95, "random", 5, -2, -0.2),
              *(in_the_atlas(0.99, "gradient", n, 10, 20) for n in (20, 100)),
              *(in_the_atlas(0.99, "random", n, 0, 10) for n in (20, 100)))),
    _cells("04", "SET and RigL are the loop of notebook 3", "assert torch.equal(layer.mask, ours)"),
    Headline("04", "On the slides' network at 95%, RigL", "results/algorithms.json",
             (gap("algorithms", "erk-rigl", "static", "more"), mean_gap("algorithms", "erk-rigl", "static", 0.2, 0.3),
              gap("algorithms", "set", "static", "level"))),
    Headline("04", "On MNIST-1D RigL is ahead", "results/mnist1d.json",
             (gap("mnist1d", "erk-rigl", "static", "more", 0.9, 0.95),
              mean_gap("mnist1d", "erk-rigl", "static", 2, 2.9, 0.9),
              mean_gap("mnist1d", "erk-rigl", "static", 3.5, 4.5, 0.95),
              gap("mnist1d", "set", "static", "level", 0.95))),
    Headline("04", "RigL against a small dense network",
             "results/algorithms.json, results/mnist1d.json, results/headline.json",
             (gap("algorithms", "erk-rigl", "small-dense", "undecided"),
              gap("mnist1d", "erk-rigl", "small-dense", "undecided", 0.8, 0.9, 0.95),
              gap("headline", "erk-rigl", "tuned-small-dense", "less"),
              mean_gap("headline", "erk-rigl", "tuned-small-dense", -0.3, -0.2))),
    Headline("04", "Dense is more than four points ahead", "results/mnist1d.json",
             tuple(mean_gap("mnist1d", recipe, "dense-cosine", -20, -4) for recipe in ("erk-rigl", "set", "static"))),
    _cells("05", "The sparsity is the same after every update",
           "assert mask.active == recorded.masks_at(0)[name].active"),
    _cells("05", "Newcomers go first", "assert share > 0.5"),
    _cells("05", "Updating as often, SET explores far more", 'assert found["set"][-1] > found["erk-rigl"][-1] > 0.075',
           'assert came_back["erk-rigl"] > came_back["set"]'),
    _cells("05", "RigL's topology comes to read",
           'assert in_the_middle(degrees["RigL"]) > 1.2 * in_the_middle(degrees["start"])',
           'assert middle["each epoch, decay"] > middle["each epoch, no decay"] + 0.1'),
    _cells("05", "Two seeds end with two topologies", 'assert found["at the end"][1] < 0.25'),
    _cells("05", "At 99% and more many units are lost",
           'assert all(sum(shares["RigL"][s]) > sum(shares["start"][s]) for s in (0.99, 0.995))'),
    Headline("06", "Ten times cannot vary by more than three means", "the slides' numbers",
             (claimed(checks.ten_runs, ARTEFACT),)),
    _cells("06", "A fair benchmark compares outputs first", 'raise AssertionError("unlike work was timed")'),
    Headline("06", "torch's CSR on a CPU", "results/benchmark.json",
             (times("inference", 100, "torch CSR", "Dense+Mask", 0.7, 1.1),)),
    Headline("06", "Kernels made for it are more than ten times faster", "results/benchmark.json",
             (times("inference", 100, "torch CSR", "truly sparse", 10),
              times("inference", 100, "Dense+Mask", "truly sparse", 10),
              times("inference", 100, "ONNX Runtime, dense", "truly sparse", 1.5),
              times("inference", 1, "ONNX Runtime, dense", "truly sparse", 1.5))),
    Headline("06", "In bytes CSR pays from 50% on", "counted", (claimed(checks.overhead_at_low_sparsity),)),
    _cells("07", "Truly sparse training is loops", "assert np.allclose(dx, dense.T @ g)"),
    _cells("07", "It is the same algorithm as Dense+Mask", "assert gap < 1e-9 and overlap == 1 and len(masks) >= 5"),
    _cells("07", "It holds a sixteenth", 'assert held["Dense+Mask"] >= 16 * ours'),
    Headline("07", "A training step of the slides' network at 95%", "results/benchmark.json, its cells",
             (times("training step", 64, "Dense+Mask", "truly sparse", 8, 13),),
             ('assert step_ms["Dense+Mask"][1] > 3 * ours',
              'assert small["small dense, our layers"] < small["small dense, torch"]')),
    _cells("07", "A network with ten billion possible weights",
           "assert most < 1000 and moved.any() and last.test_accuracy > 15"),
    Headline("07", "In three seeds a small dense network", "results/forms.json",
             (mean_gap("forms", "small-dense", "erk-rigl", 0.15, 0.25),
              gap("forms", "small-dense", "erk-rigl", "undecided"))),
    Headline("08", "The slides' sparse network is 2.3 points", "results/slides.json, results/ablation.json",
             (claimed(checks.gap), *(added(row, "more", 1.7) for row in (
                 "conv1 dense (RigL's Uniform)", "ERK", "RigL", "RigL, conv1 stays", "RigL, dropped at random")))),
    Headline("08", "At 95%, on one thread, `lean` trains", "results/headline.json",
             (seconds("headline", "lean", "tuned-dense", 5, 6), gap("headline", "lean", "tuned-dense", "less"),
              mean_gap("headline", "lean", "tuned-dense", -0.3, -0.2),
              seconds("headline", "modern", "tuned-dense", 2, 2.5),
              gap("headline", "modern", "tuned-dense", "undecided"),
              mean_gap("headline", "modern", "tuned-dense", -0.15, -0.05))),
    Headline("08", "In our kernels a small dense network", "results/headline.json, results/ablation*.json",
             (gap("headline", "fused-small-dense", "tuned-dense", "level"),
              seconds("headline", "fused-small-dense", "tuned-dense", 2.3, 2.7),
              gap("headline", "modern", "tuned-small-dense", "level"),
              on("the best recipe is ahead of small dense", "more", "LeNet-300-100"))),
    Headline("08", "A mask that never moves from `modern`'s start", "results/ablation*.json, results/frontier.json",
             (on("moving connections helps (best recipe)", "level", "SlideCNN"),
              gap("frontier", "modern", "modern-static", "more", 0.995),
              mean_gap("frontier", "modern", "modern-static", 1.3, 1.5, 0.995),
              on("moving connections helps (best recipe)", "more", "LeNet-300-100", "MNIST-1D"))),
    Headline("08", "A falling learning rate costs", "results/ablation*.json",
             (on("a falling learning rate helps (slides)", "less", "SlideCNN", "LeNet-300-100", "MNIST-1D"),
              on("a falling learning rate helps (best recipe)", "more", "SlideCNN", "LeNet-300-100"))),
    Headline("09", "Beside nine times as many inputs of noise",
             "results/noise.json, results/noise-tuning.json",
             (stands(_NOISE, "small dense", "more", 7.5, 8),
              stands(_NOISE, "static mask", "more", 13.5, 14.5),
              stands(_NOISE, "dense", "undecided"), stands(_NOISE, "remedy", "less", -5, -4.5))),
    _cells("09", "RigL's first layer comes to read the middle",
           'assert middle["grown by gradient"] > max(2, middle["grown at random"])'),
    Headline("09", "Where 20 of 2,000 inputs tell the class", "results/few.json, results/few-tuning.json",
             (stands(_FEW, "small dense", "more", 33, 34), stands(_FEW, "static mask", "more", 34, 35),
              stands(_FEW, "remedy", "level"))),
    _cells("09", "Where only three inputs together tell the class",
           'assert found["selection, small dense"] < 55 and found["small dense"] > 95',
           'assert found["static mask"] < found["RigL"] < found["small dense"]'),
    Headline("09", "Where each of 2,000 classes has few features", "results/classes.json, results/classes-tuning.json",
             (stands("2,000 classes, each of 26", "small dense", "more", 48.5, 49.5),
              stands("2,000 classes, each of 26", "dense", "less", -39.9, -38.5),
              stands("2,000 classes, each of all", "small dense", "more", 1.5, 2.5),
              stands("2,000 classes, each of all", "dense", "less", -88.5, -87))),
    Headline("09", "In none of our regimes is a mask that stays ahead", "all of the map's results",
             (gap("frontier", "modern", "tuned-small-dense", "less", 0.9),
              counted("small dense", "less", 5, 5), stands("MNIST-1D, 4 MB", "small dense", "less"),
              *(stands(f"MNIST, the slides' network, zeros in groups, {100 * s:g}%", "small dense", "less")
                for s in _GROUPED),
              counted("static mask", "less"), counted("dense", "more", 3, 3),
              beside("SET", "static mask", "noise", "MNIST, 19 x", 0.9, "less", -1.45, -1.35),
              stands("MNIST, 19 x as many inputs of noise, 95%", "dense", "more"),
              stands("20 telling inputs of 2,000, 95%", "dense", "more"))),
    _cells("10", "Memory comes in lines", "assert some > 2 * together"),
    _cells("10", "For one input memory is the limit",
           "assert moved / roof.gigabytes_per_second > operations / roof.gflops", "assert memory > 100 * arithmetic"),
    Headline("10", "Zeros in groups cost the slides' network", "results/structure.json, results/structure-tuning.json",
             (*(beside("RigL, uniform", f"RigL, {kind}", "structure", _SLIDES, s, verdict)
                for kind, verdicts in (("constant fan-in", ("undecided", "undecided", "level", "level")),
                                       ("N of 16", ("level", "undecided", "undecided")))
                for s, verdict in zip(_GROUPED[: len(verdicts)], verdicts, strict=True)),
              *(beside("RigL, uniform", "RigL, constant fan-in", "structure", "MNIST, LeNet", s, "more", low, high)
                for s, low, high in ((15 / 16, 0.35, 0.45), (0.98, 6.3, 6.45))))),
    Headline("10", "On the slides' network a small dense", "results/structure.json, results/structure-tuning.json",
             (*(beside(f"RigL, {kind}", "small dense", "structure", _SLIDES, s, "less", -0.55, -0.15)
                for kind in ("uniform", "constant fan-in", "N of 16")
                for s in (_GROUPED if kind != "N of 16" else _GROUPED[:3])),
              beside_longer("small dense", "RigL, uniform", "structure", _SLIDES, 13 / 16, 2, 3),
              beside_longer("small dense", "RigL, uniform", "structure", _SLIDES, 0.98, 4, 5))),
    Headline("10", "On the recorded machine a second core", "results/benchmark.json",
             (more_cores("dense", 1.2, 2.05), more_cores("truly sparse", 1.0, 1.95),
              longer_gains_more("truly sparse", 0.7))),
)  # fmt: skip
REPEATED = {  # in the same words
    "README": (
        "The slides' sparse network is",
        "At 95%, on one thread",
        "In our kernels a small dense",
        "A mask that never moves from `modern`'s start",
        "Where 20 of 2,000 inputs tell the class",
        "Beside nine times as many inputs of noise",
        "In none of our regimes is a mask that stays ahead",
        "Zeros in groups cost the slides' network",
        "torch's CSR on a CPU",
    ),
    "00": (
        "95% fewer weights are about 90% less memory",
        "Dense+Mask holds more bytes than dense",
        "A static mask from the same seeds",
        "The slides' sparse network is",
        "In our kernels a small dense",
        "Ten times cannot vary by more than three means",
        "torch's CSR on a CPU",
        "Where 20 of 2,000 inputs tell the class",
    ),
}
HEADLINES += tuple(
    replace(headline, where=where)
    for where, repeated in REPEATED.items()
    for headline in HEADLINES
    if headline.begins.startswith(repeated)
)


# --- the ledger -------------------------------------------------------------------------------------------------------

HEAD = """\
# Our headlines

Each sentence of the README and of the notebooks' "What we saw" that compares or counts, and what carries it.
{} sentences; {} rest on recorded results or on counting, the others on assertions that stop the notebook if they fail.

Written by `python -m dst_tutorial claims`, which fails where a result no longer carries its sentence. *Level*, *more*,
*less* and *undecided* are verdicts on paired differences, with 95% intervals over seeds (notebook 04).

"""


def sentences(where: str) -> list[str]:
    """The items of the README's "What we found" or of a notebook's "What we saw", line breaks aside."""
    checkout = figures_folder().parent
    if where == "README":
        prose = (checkout / "README.md").read_text(encoding="utf-8")
    else:
        (path,) = (checkout / "notebooks").glob(f"{where}_*.ipynb")
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        prose = "\n\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")
    claimed = re.search(r"^## What we (?:saw|found)$(.*?)^## ", prose, re.S | re.M).group(1)
    return [" ".join(item.partition("\n\n")[0].split()) for item in re.split(r"^- ", claimed, flags=re.M)[1:]]


def stated(headlines: Iterable[Headline] | None = None) -> list[dict]:
    """The ledger's rows; "carried": do the results carry the sentence now?"""
    rows = []
    _map.cache_clear()
    for headline in HEADLINES if headlines is None else headlines:
        found = [check() for check in headline.checks]
        said = [sentence for sentence in sentences(headline.where) if sentence.startswith(headline.begins)]
        rows.append(
            {
                "where": headline.where,
                "sentence": said[0] if said else headline.begins,
                "from": headline.source,
                "measured": "; ".join([*(told for told, _ in found), *(f"`{line}`" for line in headline.cells)]),
                "carried": len(said) == 1 and all(holds for _, holds in found),
            }
        )
    return rows


def not_carried(rows: Iterable[dict]) -> list[str]:
    """A complaint for each sentence that the results do not carry, or that is not there."""
    told = "{where}: {sentence!r} is not there, or not carried by {from}: {measured}"
    return [told.format(**row) for row in rows if not row["carried"]]


def takeaways(rows: Iterable[dict]) -> str:
    """What the README found, in place of the list on slide 10."""
    said = [row["sentence"] for row in rows if row["where"] == "README"]
    return "# Slide 10: key takeaways\n\n" + "".join(f"- {sentence}\n" for sentence in said)


def headline_ledger(rows: list[dict]) -> str:
    """The ledger as Markdown."""
    columns = ("where", "sentence", "from", "measured")
    counted = sum(row["from"] != "its cells" for row in rows)
    table: Rows = [{column: row[column].replace("|", "\\|") for column in columns} for row in rows]
    return HEAD.format(len(rows), counted) + markdown(table)
