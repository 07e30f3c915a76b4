"""What the tests share: one thread, a small data set of made-up images, and MNIST where it is at hand."""

import pytest
import torch
from hypothesis import settings

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
