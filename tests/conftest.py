"""What the tests share: one thread, a small data set of made-up images, and MNIST where it is at hand."""

import pytest
import torch
from hypothesis import settings

from dst_tutorial import kernels
from dst_tutorial.training import data

torch.set_num_threads(1)
settings.register_profile("here", deadline=None)  # a first call of torch takes seconds
settings.load_profile("here")


def make_dataset(train: int = 256, test: int = 64, name: str = "mnist") -> data.Dataset:
    """Random images whose label is where they are bright: learnable in a few steps."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(10, (train + test,), generator=generator)
    images = torch.randn(train + test, 1, 28, 28, generator=generator) * 0.3
    for i, label in enumerate(labels):
        images[i, 0, 2 * int(label) : 2 * int(label) + 4] += 1.5
    return data.Dataset(name, images[:train], labels[:train], images[train:], labels[train:])


@pytest.fixture(scope="session")
def dataset() -> data.Dataset:
    return make_dataset()


@pytest.fixture(scope="session")
def mnist() -> data.Dataset:
    if not data.is_cached():
        pytest.skip("needs the full MNIST: run `python -m dst_tutorial data` with a network")
    return data.load_mnist()


on_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")


BACKENDS = [
    ("cpu", "reference"),
    ("cpu", "library"),
    ("cpu", "cpu"),
    pytest.param(("cuda", "reference"), marks=on_gpu),
    pytest.param(("cuda", "library"), marks=on_gpu),
]


@pytest.fixture(params=BACKENDS, ids=lambda param: f"{param[1]} on {param[0]}")
def device(request):
    """Runs a test once with every backend: gives the device."""
    device, backend = request.param
    kernels.use(backend)
    yield device
    kernels.use(None)


def filled(layer, seed):
    """Biases start at zero: give them values, so that a test can see them."""
    if layer.bias is not None:
        layer.bias.data.normal_(generator=torch.Generator(layer.bias.device).manual_seed(seed))
    return layer
