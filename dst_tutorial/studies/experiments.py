"""The runs behind every recorded number.

`experiment.py` has what an experiment is. `runner.py` does the runs and keeps of each its config, summary, epochs and
provenance; `results.py` reads them.
"""

from . import atlas
from .ablation import ADDED, BASE, MATTER, PATH, TAKEN
from .experiment import Experiment, Family
from .regimes import FAMILIES, first_layer
from .selection import CONTENDERS, ONLY_AT_95, TUNED_AT

FRESH = (200, 201, 202, 203, 204)  # no run before the recipes were frozen had one of these seeds
FRESHER = tuple(range(210, 220))  # nor one of these, for what is claimed loudest

EXPERIMENTS: dict[str, Experiment | Family] = {
    experiment.name: experiment
    for experiment in (
        Experiment(
            "slides",
            "the slides' results table: dense, Dense+Mask with DST, and two controls (static mask, fan-in init)",
            recipes=("dense", "slides", "slides-static", "slides-fan-in"),
            seeds=(42, 43, 44),
            epochs=10,
            keep_masks=("slides", 42),
        ),
        Experiment(
            "algorithms",
            "SET, RigL and gradual pruning on the slides' network and budget, and their controls",
            recipes=("erk-rigl", "static", "small-dense", "set", "gmp", "dense-cosine"),
            seeds=(42, 43, 44, 45, 46),
            epochs=10,
        ),
        Experiment(
            "mnist1d",
            "SET, RigL and their controls on MNIST-1D, where accuracy does not saturate",
            recipes=("dense-cosine", "small-dense", "static", "set", "erk-rigl"),
            seeds=tuple(range(42, 52)),
            epochs=60,
            sparsities=(0.8, 0.9, 0.95),
            network="MLP1D",
            data_set="mnist1d",
        ),
        Experiment(
            "forms",
            "truly sparse training beside dense training and a dense network of as many weights: what each costs",
            recipes=("uniform-rigl", "erk-rigl", "dense-cosine", "small-dense"),
            seeds=(42, 43, 44),
            epochs=10,
            backend="sparse",
        ),
        Experiment(
            "selection",
            "what each contender chooses from, on images held out of the training set",
            recipes=tuple(c for name, those in CONTENDERS.items() if name not in ONLY_AT_95 for c in those),
            seeds=(100, 101),
            epochs=10,
            sparsities=TUNED_AT,
            data_set="mnist-validation",
            backend="sparse",
        ),
        Experiment(
            "selection-lean",
            "the same within a tenth of the dense multiplications",
            recipes=tuple(c for name in ONLY_AT_95 for c in CONTENDERS[name]),
            seeds=(100, 101),
            epochs=10,
            data_set="mnist-validation",
            backend="sparse",
        ),
        Experiment(
            "frontier",
            "the best recipe, its controls and its rivals, frozen before: fresh seeds, test images looked at once",
            recipes=(
                *("modern", "lean", "modern-static", "tuned-gmp", "tuned-small-dense", "tuned-narrow-dense"),
                *("tuned-narrow-lean", "tuned-dense", "tuned-dense-constant"),
                *("fused-small-dense", "fused-narrow-dense", "fused-narrow-lean"),
            ),
            seeds=FRESH,
            epochs=10,
            sparsities=(0.9, 0.95, 0.98, 0.99, 0.995),
            backend="sparse",
            test_once=True,
        ),
        Experiment(
            "headline",
            "what is claimed loudest, once more: three sparse recipes and their rivals on ten seeds of their own",
            recipes=(
                *("modern", "lean", "erk-rigl", "tuned-dense", "dense-cosine", "tuned-small-dense"),
                *("fused-small-dense", "fused-narrow-lean"),
            ),
            seeds=FRESHER,
            epochs=10,
            backend="sparse",
            test_once=True,
        ),
        Experiment(
            "atlas",
            "short trainings at every point of a grid, for the explorers",
            recipes=atlas.RECIPES,
            seeds=atlas.SEEDS,
            epochs=atlas.EPOCHS,
            sparsities=atlas.CHOICES["sparsity"],
            network="LeNet300100",
            data_set="mnist-6000",
            backend="sparse",
            condensed=True,
        ),
        Experiment(
            "ablation",
            "what each ingredient is worth: alone on top of the slides' protocol, and taken from the best recipe",
            recipes=("slides", BASE, *ADDED, *PATH, *TAKEN),
            seeds=FRESH,  # so that every row is paired with the frontier's
            epochs=10,
            backend="sparse",
            test_once=True,
        ),
        first_layer(),
        *(
            Experiment(
                f"ablation-{network.lower()}",
                f"the rows that matter, on {about}",
                recipes=(BASE, *(r for r in (*ADDED, *TAKEN) if r.name in MATTER), *PATH, "modern",
                         "tuned-small-dense", "tuned-dense", "tuned-dense-constant"),
                seeds=(*FRESH, *range(205, 210)),
                epochs=epochs,
                network=network,
                data_set=data_set,
                backend="sparse",
                test_once=True,
            )
            for network, data_set, epochs, about in (
                ("LeNet300100", "mnist", 10, "LeNet-300-100"),
                ("MLP1D", "mnist1d", 60, "MNIST-1D, where accuracy does not saturate"),
            )
        ),
    )
}  # fmt: skip
EXPERIMENTS |= FAMILIES
