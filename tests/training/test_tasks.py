"""The made tasks: what tells the class, and what does not."""

import sys

import numpy as np
import pytest
import torch
from conftest import make_dataset
from hypothesis import given
from hypothesis import strategies as st
from sklearn.feature_selection import SelectKBest, f_classif

from dst_tutorial.training import data as mnist_data
from dst_tutorial.training.tasks import (
    DATASETS,
    beside_noise,
    few_of_many,
    many_classes,
    most_telling,
    parity,
    sklearn,
)


@given(times=st.integers(0, 4), seed=st.integers(0, 3))
def test_the_images_stand_before_the_noise_and_stay_as_they_are(times, seed):
    whole = make_dataset(64, 32)
    noisy = beside_noise(whole, times, seed)
    for part in ("train_images", "test_images"):
        before, after = getattr(whole, part), getattr(noisy, part)
        assert after.shape == (len(before), 1, 784 * (1 + times))
        assert torch.equal(after[:, 0, :784], before.flatten(1))
    assert torch.equal(noisy.train_labels, whole.train_labels)
    assert noisy.name == f"mnist-noise-{times}"


def test_the_noise_is_normal_and_other_for_every_image_and_seed():
    whole = make_dataset(64, 32)
    one, same, other = (beside_noise(whole, 2, seed).train_images[:, 0, 784:] for seed in (0, 0, 1))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    assert (abs(one.mean()) < 0.02, abs(one.std() - 1) < 0.02) == (True, True)
    assert len({tuple(row[:5].tolist()) for row in one}) == 64


def test_the_class_is_the_parity_of_the_first_inputs_and_nothing_less_tells_it():
    made = parity(20, 3, sizes=(8_000, 500))
    bits = (made.train_images[:, 0] + 1) / 2
    assert set(bits.unique().tolist()) == {0.0, 1.0}
    assert torch.equal(bits[:, :3].sum(1).long() % 2, made.train_labels)
    alone = [np.corrcoef(bits[:, i], made.train_labels)[0, 1] for i in range(20)]
    assert np.abs(alone).max() < 0.05
    pair = (bits[:, 0] != bits[:, 1]).float()
    assert abs(np.corrcoef(pair, made.train_labels)[0, 1]) < 0.05


def test_the_first_inputs_tell_the_class_and_the_others_do_not():
    made = few_of_many(100, 10, sizes=(3_000, 500))
    scores, _ = f_classif(made.train_images.flatten(1).numpy(), made.train_labels.numpy())
    assert np.median(scores[:10]) > 10 > np.percentile(scores[10:], 95)
    assert made.train_labels.unique().tolist() == [0, 1, 2, 3]
    assert len(made.test_labels) == 500


@pytest.mark.parametrize("used", [6, 32])
def test_a_class_is_marked_by_so_many_features(used):
    made = many_classes(used, classes=50, features=32, each=200)
    for split, each in ((made.train_labels, 200), (made.test_labels, 4)):
        assert split.bincount().tolist() == [each] * 50
    means = torch.stack([made.train_images[made.train_labels == c, 0].mean(0) for c in range(50)])
    assert ((means.abs() > 0.5).sum(1) == used).all()
    assert means.norm(dim=1).mean() == pytest.approx(7, rel=0.02)


@given(inputs=st.integers(1, 40), seed=st.integers(0, 5))
def test_the_selection_is_that_of_scikit_learn(inputs, seed):
    made = few_of_many(40, 6, sizes=(200, 50), seed=seed)
    oracle = SelectKBest(f_classif, k=inputs).fit(made.train_images[:, 0], made.train_labels).get_support()
    chosen = most_telling(made, inputs)
    assert np.array_equal(chosen.train_images[:, 0], made.train_images[:, 0][:, oracle])
    assert np.array_equal(chosen.test_images[:, 0], made.test_images[:, 0][:, oracle])


def test_the_selection_never_looks_at_the_test_images():
    made = few_of_many(40, 6, sizes=(200, 50))
    one = most_telling(made, 5)
    made.test_images[:] = 0
    assert torch.equal(one.train_images, most_telling(made, 5).train_images)
    for wrong in (0, 41):
        with pytest.raises(ValueError, match="inputs must be from 1 to 40"):
            most_telling(made, wrong)


def test_an_input_that_never_changes_is_selected_last():
    made = few_of_many(10, 4, sizes=(200, 50))
    made.train_images[:, 0, 3] = 1.0
    assert not (most_telling(made, 9).train_images == 1.0).all(0).any()


def test_all_that_has_a_name_holds_out_a_sixth(monkeypatch):
    for name in ("few-of-many", "mnist1d"):
        whole, part = DATASETS[name](), DATASETS[f"{name}-validation"]()
        assert part.name == f"{name}-validation"
        assert len(part.test_labels) == len(whole.train_labels) // 6
        assert torch.equal(torch.cat([part.train_images, part.test_images]), whole.train_images)


def test_a_part_of_the_sample_is_known_as_the_sample(monkeypatch):
    """So that no result is ever recorded on it."""
    monkeypatch.setattr(mnist_data, "load_mnist", lambda: make_dataset(name="mnist-sample"))
    assert beside_noise(make_dataset(name="mnist-sample"), 1).is_sample


def test_without_scikit_learn_one_is_told_what_to_do(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn", None)
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(ModuleNotFoundError, match=r"needs scikit-learn.*make setup.*pip install scikit-learn"):
        sklearn()
