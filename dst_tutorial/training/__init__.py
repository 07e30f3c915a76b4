"""Training a network, dense or sparse.

Begin with `loop.py`: `fit`, `evaluate` and the History that a run leaves. `models.py` and `data.py` have what is
trained, and on what, `tasks.py` tasks that are harder on some networks than on others; `optim.py` an Adam for few
weights, `recipes.py` the named ways to train, which `by_recipe.py` follows; `checkpoint.py` saves and loads.
"""

from .by_recipe import Run, build, engine, rehearse, train
from .data import Dataset, is_cached, load_mnist, load_mnist_6000
from .files import DataError
from .loop import Epoch, History, Snapshot, evaluate, fit, only_ours
from .models import NETWORKS, LeNet300100, LinearClassifier, SlideCNN, mlp
from .optim import Adam
from .recipes import RECIPES, Recipe, algorithm_of, find_recipe, with_options
from .tasks import DATASETS, NOISE, SIZES, beside_noise, few_of_many, many_classes, most_telling, parity, sklearn
