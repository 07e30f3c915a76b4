import hashlib
import io
import itertools
import json
import statistics
from dataclasses import asdict

import matplotlib as mpl
import matplotlib.image
import numpy as np
import pytest

from dst_tutorial.paths import figures_folder
from dst_tutorial.show import figures, gallery, plots, tables
from dst_tutorial.show.figures import shapes
from dst_tutorial.show.pictures import rendered
from dst_tutorial.studies import slides
from dst_tutorial.studies.results import load_masks, load_results
from dst_tutorial.teaching.exercises import csr_benchmark
from dst_tutorial.timing import Row
from dst_tutorial.topology.measures import CHANGES, Mask, changes


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("figures")
    return folder, gallery.write_all(folder)


def test_the_same_results_give_the_same_bytes(written, tmp_path, monkeypatch):
    """Drawn twice; of the ten masks, which take longest, one in either palette."""
    folder, manifest = written
    masks = [name for name in gallery.FIGURES if name.startswith("slide7") and "conv2" not in name]
    monkeypatch.setattr(gallery, "FIGURES", {k: v for k, v in gallery.FIGURES.items() if k not in masks})
    again = gallery.write_all(tmp_path)["files"]
    assert len(again) > 0.6 * len(manifest["files"])
    for name in again.keys() - {"README.md"}:  # it lists the others
        assert again[name] == manifest["files"][name]
        assert (folder / name).read_bytes() == (tmp_path / name).read_bytes()


def test_the_readers_matplotlib_settings_do_not_matter(written):
    folder, _ = written
    with mpl.rc_context({"font.size": 30, "axes.facecolor": "red", "savefig.dpi": 10}):
        figure = shapes.training_memory()
        assert rendered(figure, "png") == (folder / "slide3_training_memory.png").read_bytes()


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
        if (
            name.endswith((".md", ".tex")) and name != "README.md"
        ):  # pictures may differ by the version of matplotlib, numbers may not
            assert (figures_folder() / name).read_bytes() == (folder / name).read_bytes()


def test_a_resumed_run_has_no_peak_of_memory():
    results = load_results("forms")
    for run, peak in zip(results["runs"], itertools.cycle([None, 100e6, 100e6, 100e6, 100e6]), strict=False):
        run["peak_bytes"] = peak
    assert {row["peak memory"] for row in figures.form_rows(results)} == {"100 MB"}
    for run in results["runs"]:
        run["peak_bytes"] = None
    assert {row["peak memory"] for row in figures.form_rows(results)} == {"not measured"}


def test_a_manifest_in_a_conflict_is_named(tmp_path):
    (tmp_path / "manifest.json").write_text("<<<<<<< HEAD\n{}")
    with pytest.raises(ValueError, match=r"manifest\.json is damaged"):
        gallery.changed_results(tmp_path)


def test_the_table_shows_the_recorded_numbers():
    results = load_results("slides")
    table = tables.markdown(figures.results_rows(results))
    dense = [r["summary"]["test_accuracy"] for r in results["runs"] if r["config"]["recipe"]["name"] == "dense"]
    assert f"{np.mean(dense):.2f} ± {np.std(dense, ddof=1):.2f}%" in table
    assert "67,175 + 2,186" in table
    assert "98.98%" in table
    latex = tables.latex(figures.results_rows(results))
    assert r"98.98\%" in latex
    assert latex.count(r"\\") == 1 + len(figures.results_rows(results))


@pytest.mark.parametrize("layer", figures.LAYERS)
def test_every_weight_of_a_mask_is_the_same_whole_number_of_pixels(layer):
    figure = figures.mask_evolution(layer, "slides")
    figure.draw_without_rendering()
    for axes in figure.axes:
        rows, columns = axes.images[0].get_array().shape
        box = axes.get_window_extent()
        for corner in box.extents:
            assert corner == pytest.approx(round(corner), abs=1e-3)
        for pixels in (box.width / columns, box.height / rows):
            assert pixels == pytest.approx(round(pixels), abs=1e-3)
            assert pixels > 0.9
    assert figure.dpi >= 200  # so `rendered` and notebooks keep this resolution
    width, height = figure.get_size_inches()
    assert width <= 13
    assert height <= 7.5  # a slide's


UPDATES = (2, 4, 6, 8, 10)


@pytest.mark.parametrize("palette", plots.PALETTES)
@pytest.mark.parametrize("layer", figures.LAYERS)
def test_the_picture_shows_what_each_update_changed(layer, palette):
    recorded = load_masks("slides")
    assert tuple(s.epoch for s in recorded.snapshots) == (0, *UPDATES)
    figure = figures.mask_evolution(layer, palette)
    images = [np.asarray(axes.images[0].get_array()) for axes in figure.axes]
    shape = recorded.masks_at(0)[layer].shape
    if layer == "conv1":  # it never moves
        (whole,) = images
        assert whole.shape == (16, 9)
        assert CHANGES.index("dropped") not in whole
        assert "ever moves" in figure.get_suptitle()
        return
    whole = [image for image in images if image.size == np.prod(shape)]
    assert len(images) == 5 * (1 + (layer == "fc4"))
    assert len(whole) == 5 * (layer in ("conv2", "fc4"))
    for epoch, image in zip(UPDATES, whole, strict=False):
        expected = changes(recorded.masks_at(epoch - 1)[layer], recorded.masks_at(epoch)[layer])
        assert (image == expected.reshape(image.shape)).all()
    parts = [image for image in images if image.size < np.prod(shape)]
    for image in parts:
        assert CHANGES.index("dropped") in image or CHANGES.index("grown") in image


def test_each_pixel_of_a_mask_in_the_file_is_that_weight():
    """Read the PNG back: the colours of the last panel are its changes, weight by weight."""
    figure = figures.mask_evolution("conv2")
    axes = figure.axes[-1]
    image = mpl.image.imread(io.BytesIO(rendered(figure, "png")))[..., :3]
    figure.draw_without_rendering()
    left, bottom, right, top = (round(edge) for edge in axes.get_window_extent().extents)
    panel = image[len(image) - top : len(image) - bottom, left:right]
    cell = (right - left) // 144
    expected = np.array([mpl.colors.to_rgb(c) for c in plots.PALETTES["okabe-ito"]])[axes.images[0].get_array()]
    assert expected.shape == (32, 144, 3)
    assert np.abs(panel - expected.repeat(cell, 0).repeat(cell, 1)).max() < 0.01


def test_no_picture_is_larger_than_a_slide(written):
    for name, entry in written[1]["files"].items():
        if "size" in entry:
            width, height = (float(n) for n in entry["size"].removesuffix(" in").split(" x "))
            assert width <= 13.33, name
            assert height <= 7.5, name
            slide = gallery.FIGURES[name.rsplit(".", 1)[0]].slide
            assert name.startswith(f"slide{slide}_") if slide else not name.startswith("slide")


@pytest.mark.parametrize("mean_deviation", slides.DEVIATIONS.items())
def test_ten_calls_give_the_slides_mean_and_deviation(mean_deviation):
    key, deviation = mean_deviation
    cold, warm = slides.cold_and_warm(slides.MILLISECONDS[key], deviation)
    assert (cold, warm) == csr_benchmark.cold_and_warm(slides.MILLISECONDS[key], deviation, 10)  # what 05 teaches
    calls = [cold] + [warm] * 9
    assert statistics.mean(calls) == pytest.approx(slides.MILLISECONDS[key])
    assert statistics.pstdev(calls) == pytest.approx(deviation)
    assert warm > 0


def test_changes():
    before, after = (Mask.of(np.array(m, dtype=bool)) for m in ([[0, 1, 1, 0]], [[0, 1, 0, 1]]))
    assert [CHANGES[c] for c in changes(before, after)[0]] == ["inactive", "active", "dropped", "grown"]


def test_the_algorithms_table_shows_what_each_accuracy_costs():
    results = load_results("algorithms")
    rows = {row[""]: row for row in figures.algorithm_rows(results)}
    assert (rows["RigL"]["weights + biases"], rows["RigL"]["multiplications"]) == ("67,173 + 2,186", "12.9%")
    assert (rows["small dense"]["sparsity"], rows["small dense"]["multiplications"]) == (
        "dense, size of 95%",
        "45.8%",
    )
    rigl = [r["summary"]["test_accuracy"] for r in results["runs"] if r["config"]["recipe"]["name"] == "erk-rigl"]
    assert rows["RigL"]["test accuracy"] == f"{np.mean(rigl):.2f} ± {np.std(rigl, ddof=1):.2f}%"
    assert rows["static mask"]["explored"] == "5.0%"


def test_small_dense_networks_have_a_row_a_sparsity():
    rows = figures.algorithm_rows(load_results("mnist1d"))
    assert [row[""] for row in rows].count("small dense") == [row[""] for row in rows].count("RigL") == 3
    assert [row[""] for row in rows].count("dense, cosine learning rate") == 1


# --- topologies -------------------------------------------------------------------------------------------------------


def test_ages_leave_a_margin_for_what_was_there_from_the_start():
    age = {"set": np.array([0, 0, 1, 4, 4, 4, 4, 4]), "static": np.zeros(3, dtype=int)}
    figure = plots.ages(age, {"set": 4, "static": 0})
    assert figure.axes[0].lines[0].get_ydata().tolist() == [25, 37.5, 37.5, 37.5, 37.5]
    assert "SET: 62% are there from the start" in figure.get_label()


def test_inputs_read_are_on_one_scale():
    figure = plots.inputs_read({"a": np.eye(8), "b": 5 * np.ones((8, 8))})
    assert [axes.images[0].get_clim() for axes in figure.axes[:2]] == [(0, 5), (0, 5)]
    assert "b: 5.0 a pixel in the middle half" in figure.get_label()


def test_neurons_lost_stack_up():
    figure = plots.neurons_lost({"start": {0.9: (0.1, 0.2), 0.99: (0.3, 0.4)}, "RigL": {0.9: (0, 0), 0.99: (0.5, 0)}})
    tops = sorted(bar.get_y() + bar.get_height() for bar in figure.axes[0].patches)
    assert tops == pytest.approx([0, 0, 10, 30, 30, 50, 50, 70])
    assert "start: 30.0% at 90%, 70.0% at 99%" in figure.get_label()


def test_drop_schedules_end_where_updates_do():
    figure = plots.drop_schedules({"cosine": [0.3, 0.15, 0.0]}, stop=0.75)
    assert figure.axes[0].lines[0].get_xdata().tolist() == [0, 37.5, 75]
    assert "cosine from 30% to 0%" in figure.get_label()


def test_what_more_threads_are_worth_is_read_of_runs_on_the_same_machine():
    def run(threads, ms, cpu="a cpu"):
        rows = [
            asdict(Row(name, "cpu", False, 0.0, 0.0, [ms * times]))
            for name, times in (("dense", 8), ("truly sparse", 1))
        ]
        return {"case": "slides", "work": "training step", "batch": 64, "threads": threads, "rows": rows,
                "provenance": {"cpu": cpu}}  # fmt: skip

    found = figures.cores_rows([run(2, 1.0), run(4, 0.5), run(1, 1.5), run(1, 9.0), run(1, 7.0, "another cpu")])
    assert [row["threads"] for row in found] == ["2", "4"]
    assert [row["truly sparse"] for row in found] == ["1.50 ms, 1.50 times", "1.50 ms, 3.00 times"]
    assert {row["Dense+Mask"] for row in found} == {"–"}
    assert {row["machine"] for row in found} == {"a cpu"}
