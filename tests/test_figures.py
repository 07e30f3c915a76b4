import hashlib
import json

import numpy as np
import pytest

from dst_tutorial import figures, plots
from dst_tutorial.experiments import load_masks, load_results
from dst_tutorial.measures import CHANGES, PackedMask, changes
from dst_tutorial.paths import figures_folder


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("figures")
    return folder, figures.write_all(folder)


def test_the_same_results_give_the_same_bytes(written, tmp_path):
    folder, manifest = written
    assert figures.write_all(tmp_path) == manifest
    for name in manifest["files"]:
        assert (folder / name).read_bytes() == (tmp_path / name).read_bytes()


def test_the_readers_matplotlib_settings_do_not_matter(written):
    folder, _ = written
    with plots.mpl.rc_context({"font.size": 30, "axes.facecolor": "red", "savefig.dpi": 10}):
        figure = figures.training_memory()
        assert figures.rendered(figure, "png") == (folder / "training_memory.png").read_bytes()


def test_the_manifest_names_every_file(written):
    folder, manifest = written
    assert sorted(p.name for p in folder.iterdir()) == sorted([*manifest["files"], "manifest.json"])
    assert json.loads((folder / "manifest.json").read_text()) == manifest
    for name, entry in manifest["files"].items():
        assert entry["sha256"] == hashlib.sha256((folder / name).read_bytes()).hexdigest()
        assert entry["from"]
        if name.endswith(("svg", "png")):
            assert len(entry["alt"]) > 40


def test_what_is_committed_is_what_the_results_give(written):
    folder, manifest = written
    committed = json.loads((figures_folder() / "manifest.json").read_text(encoding="utf-8"))
    assert committed["results"] == manifest["results"], "the results are newer than the figures: run `make figures`"
    assert list(committed["files"]) == list(manifest["files"])
    for name, entry in committed["files"].items():
        assert hashlib.sha256((figures_folder() / name).read_bytes()).hexdigest() == entry["sha256"], name
        if name.startswith("results_table"):  # pictures may differ by the version of matplotlib, numbers may not
            assert (figures_folder() / name).read_bytes() == (folder / name).read_bytes()


def test_the_table_shows_the_recorded_numbers():
    results = load_results("slides")
    table = figures.markdown(figures.results_rows(results))
    dense = [r["summary"]["test_accuracy"] for r in results["runs"] if r["config"]["recipe"]["name"] == "dense"]
    assert f"{np.mean(dense):.2f} ± {np.std(dense, ddof=1):.2f}%" in table
    assert "67,175 + 2,186" in table
    assert "98.98%" in table
    latex = figures.latex(figures.results_rows(results))
    assert r"98.98\%" in latex
    assert latex.count(r"\\") == 1 + len(figures.results_rows(results))


def test_every_weight_of_the_mask_picture_is_drawn():
    """Each strip is wider than 1,000 pixels in the PNG: no row or column is skipped."""
    figure = figures.mask_evolution("slides")
    figure.draw_without_rendering()
    for axes in figure.axes:
        box = axes.get_window_extent()
        scale = 200 / figure.dpi
        assert box.width * scale >= 2 * 1000
        assert box.height * scale >= 2 * 10
        assert axes.images[0].get_array().shape == (10, 1000)


@pytest.mark.parametrize("palette", plots.PALETTES)
def test_the_picture_shows_the_masks(palette):
    recorded = load_masks("slides")
    figure = figures.mask_evolution(palette)
    strips = [axes.images[0].get_array() for axes in figure.axes]
    assert len(strips) == 11
    for epoch, strip in enumerate(strips):
        counts = np.bincount(np.asarray(strip).ravel(), minlength=4)
        moved = 50 if epoch and epoch % 2 == 0 else 0
        assert counts[CHANGES.index("active")] + counts[CHANGES.index("grown")] == 500
        assert counts[CHANGES.index("dropped")] == counts[CHANGES.index("grown")] <= moved
    assert [s.epoch for s in recorded.snapshots] == [0, 2, 4, 6, 8, 10]


def test_changes():
    before, after = (PackedMask.of(np.array(m, dtype=bool)) for m in ([[0, 1, 1, 0]], [[0, 1, 0, 1]]))
    assert [CHANGES[c] for c in changes(before, after)[0]] == ["inactive", "active", "dropped", "grown"]


def test_packed_masks_are_a_bit_a_weight():
    mask = np.random.default_rng(0).random((7, 3, 5)) < 0.3
    packed = PackedMask.of(mask)
    assert packed.bits.nbytes == 14
    assert (packed.unpack() == mask).all()
    assert (packed.active, packed.size) == (mask.sum(), 105)
