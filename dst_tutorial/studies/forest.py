"""A random forest: what many a practitioner would try before any network."""

import time
from dataclasses import asdict, dataclass

from ..training import Dataset, sklearn


@dataclass(frozen=True)
class Forest:
    """scikit-learn's `RandomForestClassifier` with these settings; all else as it comes."""

    name: str
    max_features: float | str = "sqrt"  # of the inputs, that a split chooses from
    min_samples_leaf: int = 1
    n_estimators: int = 100

    has_sparsity = False


def grow(forest: Forest, data: Dataset, seed: int) -> tuple[dict, int]:
    """A forest on `data`: its summary, as that of a trained network where they have the same, and its bytes.

    Its nodes stand for weights; it multiplies nothing.
    """
    settings = {name: value for name, value in asdict(forest).items() if name != "name"}
    model = sklearn().ensemble.RandomForestClassifier(**settings, random_state=seed, n_jobs=1)
    rows = data.train_images.flatten(1).numpy()
    started = time.perf_counter()
    model.fit(rows, data.train_labels.numpy())
    seconds = time.perf_counter() - started
    right = model.predict(data.test_images.flatten(1).numpy()) == data.test_labels.numpy()
    trees = [tree.tree_ for tree in model.estimators_]
    nodes = sum(int(tree.node_count) for tree in trees)
    summary = {
        "recipe": forest.name,
        "seed": seed,
        "sparsity": 0.0,
        "data_set": data.name,
        "train_size": len(data.train_labels),
        "test_size": len(data.test_labels),
        "test_accuracy": 100 * float(right.mean()),
        "test_evaluations": 1,
        "active_weights": nodes,
        "seconds_per_epoch": [seconds],
    }
    return summary, sum(int(tree.__getstate__()["nodes"].nbytes + tree.value.nbytes) for tree in trees)
