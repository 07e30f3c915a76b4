"""The functions behind the explorers over the whole range of their controls, and the explorers without a browser."""

import base64
import io
import itertools
import re
import subprocess
import sys
import time
from itertools import pairwise
from threading import Event, Thread

import ipywidgets as ipw
import matplotlib as mpl
import numpy as np
import pytest
import torch
from conftest import PEAK, make_dataset, record_made_up_regimes
from matplotlib.figure import Figure
from PIL import Image

from dst_tutorial import SlideCNN, mlp, sparsify, teaching
from dst_tutorial.show import plots
from dst_tutorial.show.figures import LAYERS
from dst_tutorial.studies import results
from dst_tutorial.studies.atlas import CHOICES, EPOCHS, POINTS, Point, load_atlas
from dst_tutorial.studies.results import load_masks
from dst_tutorial.teaching.notebook import by_mode, in_256_colours, mode, png, unattended
from dst_tutorial.teaching.widgets import breakeven, dst, machine, masks, noise, signals, storage
from dst_tutorial.teaching.widgets.dst import DstExplorer, draw_dst
from dst_tutorial.teaching.widgets.explorer import explorer
from dst_tutorial.teaching.widgets.masks import gif
from dst_tutorial.teaching.widgets.observatory import OBSERVATIONS
from dst_tutorial.teaching.widgets.signals import draw_signals
from dst_tutorial.teaching.widgets.storage import SPARSITIES
from dst_tutorial.timing.breakeven import DENSE, SPARSE
from dst_tutorial.timing.machine import Roofline, kinds_at
from dst_tutorial.topology.algorithms import SET, RigL
from dst_tutorial.topology.measures import Mask, changes, neurons, out_degrees, paths
from dst_tutorial.training import NOISE
from dst_tutorial.training.loop import History, Snapshot, fit
from dst_tutorial.training.optim import Adam


@pytest.fixture(autouse=True, scope="module")
def small_data():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(signals, "_images", lambda: make_dataset(10, 64).test_images)
        yield


@pytest.mark.parametrize("sparsity", SPARSITIES)
def test_signals_at_every_sparsity(sparsity):
    figure = draw_signals(sparsity)
    dense, kept, drawn, fan_in = (line.get_ydata() for line in figure.axes[0].lines)
    assert len(dense) == len(kept) == len(drawn) == len(fan_in) == 6
    assert kept[-1] < dense[-1] < drawn[-1]
    assert fan_in[-1] > 10 * kept[-1]
    assert fan_in[-1] / drawn[-1] > 2 * kept[-1] / dense[-1]  # each against dense under its own rule


# --- the DST explorer -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def recorded():
    return load_atlas()


def test_dst_at_every_point(recorded):
    for point in POINTS:
        figure, entry = draw_dst(**point._asdict()), recorded.points[point]
        lines = {line.get_label(): line.get_ydata() for line in figure.axes[0].lines}
        (name,) = (n for n in lines if n != "static mask, recorded")
        assert tuple(lines["static mask, recorded"]) == recorded.points[point.static].mean
        assert tuple(lines[name]) == entry.mean
        explored, kept = (line.get_ydata() for line in figure.axes[2].lines[:2])
        at = CHOICES["update_interval"].index(point.update_interval)
        assert (explored[at], kept[at]) == (100 * entry.explored, 100 * entry.kept)
        assert f"ends at {entry.mean[-1]:.1f} ± {entry.sd[-1]:.1f}%" in figure.get_label()


def test_a_fresh_run_is_drawn_on_top():
    figure = draw_dst([50.0, 60.0], (0.5, 0.25), sparsity=0.9)
    fresh = next(line for line in figure.axes[0].lines if line.get_label() == "fresh run")
    assert list(fresh.get_ydata()) == [50, 60]
    assert [line.get_ydata()[0] for line in figure.axes[2].lines[2:4]] == [50, 25]
    assert "A fresh run has come to 60.0% in epoch 2." in figure.get_label()


@pytest.fixture
def box(monkeypatch):
    monkeypatch.setattr("dst_tutorial.studies.atlas.load_mnist_6000", lambda: make_dataset(640, 64))
    return DstExplorer()


def image(picture):
    """What is drawn, without the words around it."""
    return re.search(r'src="([^"]*)"', picture.value)[1]


def finish(box, seconds=60):
    box._thread.join(seconds)
    assert not box._thread.is_alive()


def test_every_slider_changes_the_dst_explorer(box):
    for name, values in CHOICES.items():
        control = box.controls[name]
        seen = set()
        for value in values:
            control.value = value or dst.NEVER
            assert getattr(box.point, name) == value
            seen.add(image(box.picture))
        assert len(seen) == len(values), name
        control.value = getattr(Point(), name)


def test_it_trains_the_point_where_the_sliders_stand(box):
    box.controls["sparsity"].value = 0.8
    before = box.picture.value
    box.train.click()
    assert box.train.disabled
    finish(box)
    assert "fresh run has come to" in box.picture.value != before
    assert re.match(rf"Done: seed 1000, {EPOCHS} epochs, [\d.]+%", box.status.value)
    assert not box.train.disabled
    assert box.stop.disabled
    box.controls["sparsity"].value = 0.9  # another point has no fresh run
    assert "fresh" not in box.picture.value
    box.train.click()
    finish(box)
    assert "seed 1001" in box.status.value


def test_it_can_be_stopped_and_answers_meanwhile(box, monkeypatch):
    slow = dst.train_point

    def train_point(point, seed, on_epoch):
        return slow(point, seed, on_epoch=lambda epoch: (time.sleep(0.3), on_epoch(epoch))[1])

    monkeypatch.setattr(dst, "train_point", train_point)
    box.train.click()
    assert not box.stop.disabled
    before = image(box.picture)
    box.controls["allocation"].value = "uniform"
    assert image(box.picture) != before
    box.stop.click()
    finish(box)
    assert box.status.value.startswith("Recorded: ")  # of the point that is shown
    box.controls["allocation"].value = "erk"
    assert re.match(r"Stopped: seed 1000, [1-7] epochs?,", box.status.value)


def test_a_failing_training_says_so(box, monkeypatch):
    monkeypatch.setattr(dst, "train_point", lambda *_, **__: 1 / 0)
    box.train.click()
    finish(box)
    assert "ZeroDivisionError" in box.picture.value
    assert not box.train.disabled


def test_the_sample_and_a_stale_atlas_are_named(monkeypatch):
    monkeypatch.setattr("dst_tutorial.studies.atlas.load_mnist_6000", lambda: make_dataset(64, 64, "mnist-sample-6000"))
    monkeypatch.setattr("dst_tutorial.studies.atlas.fingerprint", lambda: "another")
    box = DstExplorer()
    assert "<b>stale</b>" in box.status.value
    box.run(Point(), 7)
    assert "do not compare" in box.status.value


# --- noise ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def made_up(tmp_path_factory):
    return record_made_up_regimes(tmp_path_factory.mktemp("results"))


@pytest.fixture
def noises(made_up, monkeypatch):
    """The noise explorer's module on made-up results, and on a few digits."""
    monkeypatch.setattr(results, "results_folder", lambda: made_up)
    monkeypatch.setattr(noise, "load_mnist_6000", lambda: make_dataset(name="mnist-6000"))
    monkeypatch.setattr(noise, "TEST", 64)
    noise._data.cache_clear()
    yield noise
    for cached in (noise._by_noise, noise._what_is_read, noise._data):
        cached.cache_clear()


def test_noise_at_every_point(noises):
    labels = {noises.draw_noise(times, sparsity).get_label() for times in NOISE for sparsity in noises.SPARSITIES}
    assert all("RigL 75.0% at 0 x" in label and "RigL 10% at the start, 50% in the end" in label for label in labels)


def test_every_slider_changes_the_noise_explorer(noises):
    box = noises.NoiseExplorer()
    for name, values in (("times", NOISE), ("sparsity", noises.SPARSITIES), ("contender", noises.TRAINED)):
        seen = set()
        for value in values:
            box.controls[name].value = value
            assert getattr(box.point, name) == value
            seen.add(image(box.picture))
        assert len(seen) == len(values), name


@pytest.mark.parametrize("contender", ["RigL, L1", "static mask"])
def test_it_trains_any_sparse_contender_beside_noise(noises, contender):
    box = noises.NoiseExplorer()
    box.controls["times"].value, box.controls["contender"].value = 1, contender
    box.train.click()
    finish(box)
    assert f"A fresh run of {contender} has come to" in box.picture.value
    assert f"{contender}, now" in box.picture.value
    box.controls["times"].value = 3  # another point has no fresh run
    assert "fresh" not in box.picture.value


@pytest.mark.parametrize("sparsity", SPARSITIES)
def test_storage_at_every_point(sparsity):
    for size in storage.SIZES:
        label = teaching.draw_storage(sparsity, size).get_label()
        shown = float(re.search(r"CSR, int32 ([\d.]+)%", label).group(1))
        n = round((1 - sparsity) * size * size)
        assert shown == pytest.approx(100 * (8 * n + 4 * (size + 1)) / (4 * size * size), abs=4 if size < 100 else 0.2)


# --- masks ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layer", LAYERS)
def test_a_mask_at_every_point(layer):
    recorded = load_masks("slides")
    for update in range(len(recorded.snapshots)):
        now = recorded.snapshots[update].masks[layer]
        for palette in plots.PALETTES:
            figure = teaching.draw_moment(recorded, layer, update, palette)
            image = figure.axes[-1 if len(figure.axes) == 1 else 1].images[0].get_array()
            rows, columns = now.shape[0], now.size // now.shape[0]
            assert (
                f"{now.active:,} of {now.size:,} active, sparsity {1 - now.active / now.size:.3%}" in figure.get_label()
            )
            if image.shape == (rows, columns):
                assert (np.isin(image, (1, 3)) == now.unpack().reshape(image.shape)).all()
                box = figure.axes[0].get_window_extent()
                for pixels in (box.width / image.shape[1], box.height / image.shape[0]):
                    assert pixels == pytest.approx(round(pixels), abs=1e-6)
                    assert pixels > 0.9
            else:  # in cells, of a pixel at least
                png(figure)  # lays it out
                box = figure.axes[1].get_window_extent()
                assert box.width >= image.shape[1]
                assert box.height >= image.shape[0]
                down, across = (-(-size // n) for size, n in zip((rows, columns), image.shape, strict=True))
                whole = now.unpack().reshape(rows, columns)
                last = whole[(image.shape[0] - 1) * down :, (image.shape[1] - 1) * across :]
                assert image[0, 0] == pytest.approx(whole[:down, :across].mean())
                assert image[-1, -1] == pytest.approx(last.mean())
                units, inputs = re.search(r"units ([\d,]+) to .*? inputs ([\d,]+) to", figure.get_label()).groups()
                top, left = (int(number.replace(",", "")) for number in (units, inputs))
                before = recorded.snapshots[max(update - 1, 0)].masks[layer]
                part = figure.axes[0].images[0].get_array()
                states = changes(before, now).reshape(rows, columns)
                assert (part == states[top : top + len(part), left : left + part.shape[1]]).all()
                down, across = part.shape
                moved = states[: rows // down * down, : columns // across * across] >= 2
                blocks = moved.reshape(rows // down, down, columns // across, across).sum((1, 3))
                assert (part >= 2).sum() == blocks.max()  # where most has moved


@pytest.fixture(scope="module")
def histories():
    found = {}
    for name, algorithm, seed in (("set", SET, 1), ("erk-rigl", RigL, 2)):
        model = sparsify(mlp(784, 30, 20, 10), 0.9, seed=seed, kind="sparse")
        engine = algorithm(model, Adam(model.parameters()), seed=seed,
                           unit="steps", update_interval=5, stop=0.9)  # fmt: skip
        found[name] = fit(model, make_dataset(320, 64), epochs=4, topology=engine, progress=False)
    return found


def test_the_time_machine_scrubs_and_plays(histories):
    box = teaching.time_machine(histories["set"])
    last = len(histories["set"].snapshots) - 1
    assert last > 2
    seen = set()
    for update in range(last + 1):
        box.play.value = update  # what the browser does at every tick
        assert box.update.value == update
        seen.add(image(box.picture))
    assert len(seen) == last + 1
    for layer in box.layer.options:
        box.layer.value = layer
        assert layer in box.picture.value


def test_a_gif_has_every_update(histories):
    history = histories["set"]
    with Image.open(io.BytesIO(gif(history, "fc2"))) as moving:
        assert moving.n_frames == len(history.snapshots)
        frames = []
        for i in range(moving.n_frames):
            moving.seek(i)
            frames.append(np.asarray(moving.convert("L")).astype(int))
    assert all((a != b).any() for a, b in pairwise(frames))
    with Image.open(io.BytesIO(gif(history, "fc2", most=3))) as few:
        assert few.n_frames == 3


def test_the_time_machine_gives_a_gif_to_the_browser(histories, monkeypatch):
    box = teaching.time_machine(histories["set"])
    box.save.click()
    name, data = re.search(r'download="(.*?)" href="data:image/gif;base64,(.*?)"', box.status.value).groups()
    assert name == "mask_fc2.gif"
    assert base64.b64decode(data).startswith(b"GIF89a")
    monkeypatch.setattr(masks, "gif", lambda *_: 1 / 0)
    box.save.click()
    assert "ZeroDivisionError" in box.status.value


def test_what_has_no_masks_is_refused():
    with pytest.raises(ValueError, match="no masks"):
        teaching.time_machine(History())
    with pytest.raises(ValueError, match="there are none in"):
        teaching.observatory({"dense": History()})
    with pytest.raises(ValueError, match="no run at all"):
        teaching.observatory({})


# --- the observatory --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("what", OBSERVATIONS)
def test_every_observation_of_every_layer(histories, what):
    seen = set()
    for layer in ("all layers", "fc1", "fc2", "fc3"):
        figure = teaching.draw_observation(histories, what, layer)
        assert figure.get_label()
        seen.add(png(figure))
        teaching.draw_observation({"set": histories["set"]}, what, layer)
    assert len(seen) == 4  # each layer has a picture of its own


def test_convolutions_are_observed_too():
    model = sparsify(SlideCNN((3, 4), (20,), 8), 0.8)
    engine = SET(model, torch.optim.Adam(model.parameters()), unit="steps", update_interval=2)
    data = make_dataset(64, 64)
    small = type(data)("mnist", data.train_images[..., :8, :8], data.train_labels, data.test_images[..., :8, :8],
                       data.test_labels)  # fmt: skip
    history = fit(model, small, epochs=2, batch_size=16, topology=engine, progress=False)
    for what in OBSERVATIONS:
        for layer in ("all layers", "conv2"):
            teaching.draw_observation({"set": history}, what, layer)


def test_the_pictures_show_the_measures(histories):
    last = histories["set"].snapshots[-1].masks
    figure = teaching.draw_observation({"set": histories["set"]}, "inputs read")
    assert (figure.axes[1].images[0].get_array().ravel() == out_degrees(last["fc1"])).all()
    figure = teaching.draw_observation({"set": histories["set"]}, "paths")
    assert (figure.axes[1].images[0].get_array().ravel() == paths(last)).all()
    figure = teaching.draw_observation({"set": histories["set"]}, "units lost")
    dead = [units.dead for units in list(neurons(last).values())[:-1]]
    assert figure.axes[0].lines[0].get_ydata()[-1] == pytest.approx(100 * np.concatenate(dead).mean())


def test_runs_of_two_networks_are_refused(histories):
    other = History(snapshots=[Snapshot(0, 0, {"a": Mask.of([[True]])})])
    with pytest.raises(ValueError, match="not of one network"):
        teaching.draw_observation({"one": histories["set"], "two": other}, "age", "a")


WIDE = f"""{PEAK}
import torch
from dst_tutorial import RigL, SparseSequential, SparseLinear
from dst_tutorial.topology.algorithms import SET
from dst_tutorial.topology.measures import masks_of
from dst_tutorial.training.optim import Adam
from dst_tutorial.training.loop import History, Snapshot
from dst_tutorial.teaching import draw_moment, draw_observation
from dst_tutorial.teaching.widgets.observatory import OBSERVATIONS
wide = 100_000
net = SparseSequential(SparseLinear(784, wide, density=1e-2), SparseLinear(wide, wide, density=1e-4),
                       SparseLinear(wide, 10, density=1e-1))
engine = SET(net, Adam(net.parameters()), unit="steps", update_interval=1, duration=10)
history = History(snapshots=[Snapshot(0, 0, masks_of(net))])
for step in (1, 2):
    net(torch.randn(8, 784)).sum().backward()
    engine.step()
    history.snapshots.append(Snapshot(step, 1, masks_of(net)))
for what in OBSERVATIONS:
    draw_observation({{"set": history}}, what, "1")
draw_moment(history, "1", 2)
print(peak())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is told in other units elsewhere")
def test_a_network_100_000_units_wide_is_observed_in_two_gigabytes():
    done = subprocess.run([sys.executable, "-c", WIDE], capture_output=True, text=True, check=False)
    assert not done.returncode, done.stderr
    assert float(done.stdout) < 2  # a dense mask of its middle layer alone would take ten


# --- predict, run, reveal ---------------------------------------------------------------------------------------------


def a_figure(drawn=None):
    if drawn is not None:
        drawn.append(1)
    return plots.Answer(plots.training_curves({"dense": [[90.0, 95.0]]}), 95.0, 2)


def test_a_prediction_reveals_only_what_was_committed():
    drawn = []
    box = teaching.predict("How accurate?", lambda: a_figure(drawn), low=0, high=100, start=50)
    title, row, picture = box.children
    guess, commit = row.children
    assert not drawn
    assert "<img" not in picture.value
    guess.value = 93
    commit.click()
    assert drawn == [1]
    assert "You said 93%; it is 95%." in picture.value
    assert guess.disabled
    assert commit.disabled
    assert "How accurate?" in title.value


@pytest.mark.parametrize(("axis", "place"), [("x", 1.5), ("y", 93.0)])
def test_a_guess_is_drawn_where_it_lies_and_the_answer_is_ringed(axis, place):
    answer = a_figure() if axis == "y" else plots.Answer(a_figure().figure, 2, 95.0)
    figure = plots.with_guess(answer, place, "so much", axis)
    line, ring = figure.axes[0].lines[-2:]
    assert set(line.get_xdata() if axis == "x" else line.get_ydata()) == {place}
    assert (ring.get_xdata()[0], ring.get_ydata()[0]) == (2, 95.0)


@pytest.mark.parametrize(("axis", "place"), [("x", 40.0), ("y", -10.0), ("y", 1000.0), ("x", -3.0)])
def test_a_guess_far_off_is_an_arrow_and_the_picture_stays(axis, place):
    answer = a_figure()
    axes = answer.figure.axes[0]
    before = axes.get_xlim(), axes.get_ylim(), len(axes.lines)
    plots.with_guess(plots.Answer(answer.figure, None), place, "so much", axis)
    assert (axes.get_xlim(), axes.get_ylim(), len(axes.lines)) == before
    (arrow,) = axes.texts
    assert arrow.get_text() == "your guess"
    assert arrow.arrow_patch is not None


def test_a_guess_below_zero_on_a_logarithmic_axis_is_far_off():
    answer = a_figure()
    answer.figure.axes[0].set_yscale("log")
    plots.with_guess(answer, -1.0, "so much")
    assert answer.figure.axes[0].texts[0].arrow_patch is not None


def test_predictions_step_aside_where_nobody_is_there(monkeypatch):
    assert not unattended()
    monkeypatch.setenv("DST_TUTORIAL_UNATTENDED", "1")
    assert isinstance(teaching.predict("?", a_figure, low=0, high=1, start=0), Figure)


def test_a_prediction_that_cannot_be_drawn_says_so():
    box = teaching.predict("?", lambda: 1 / 0, low=0, high=1, start=0)
    box.children[1].children[1].click()
    assert "ZeroDivisionError" in box.children[2].value


# --- storage and break-even -------------------------------------------------------------------------------------------


def test_break_even_at_every_point():
    for width in (16, 40):  # those of the explorer would take a minute
        for batch in breakeven.BATCHES:
            figure = teaching.draw_break_even(width, batch, rounds=1)
            lines = {line.get_label(): line for line in figure.axes[0].lines}
            assert list(lines) == [*DENSE, *SPARSE]
            assert all((line.get_ydata() > 0).all() and len(line.get_ydata()) == 6 for line in lines.values())
            assert f"{width} x {width}, batch {batch}" in figure.get_suptitle()


def test_what_a_machine_does_at_best_at_every_point(monkeypatch):
    monkeypatch.setattr(machine, "_here", lambda: Roofline(100.0, 10.0))
    points = itertools.product(machine.MACHINES, machine.WIDTHS[::3], machine.BATCHES, (SPARSITIES[0], SPARSITIES[-1]))
    for name, width, batch, sparsity in points:
        figure = teaching.draw_at_best(name, width, batch, sparsity)
        left, right = figure.axes
        kinds = kinds_at(sparsity)
        times = dict(zip(kinds, [bar.get_width() for bar in left.patches], strict=True))
        assert times["CSR"] <= times["dense"] <= times["Dense+Mask"] or sparsity <= 0.5
        limit = "memory" if batch == 1 else "(memory|arithmetic)"
        assert re.search(rf"At best: dense [\d.,e-]+ ms, limited by {limit}, and", figure.get_label())
        energy = np.reshape([bar.get_width() for bar in right.patches], (len(kinds), 2))
        assert (energy > 0).all()
        assert times["dense"] == 1
        assert energy[0].sum() == pytest.approx(1)
        for axes, longest in ((left, max(times.values())), (right, energy.sum(axis=1).max())):
            assert axes.get_xlim() == (0, 1.6)  # it stays while a slider moves
            assert longest < 1.3
    with pytest.raises(ValueError, match="unknown machine 'T5'"):
        teaching.draw_at_best("T5", 256, 1, 0.95)


def test_this_machine_is_measured_once():
    assert machine._here() is machine._here()


def test_bytes_at_every_point():
    told = {}
    for sparsity in storage.FROM_DENSE:
        for batch in storage.IMAGES:
            label = teaching.draw_training_bytes(sparsity, batch).get_label()
            forms = (form.split(": ") for form in label.partition("\n")[2].split("; "))
            told[sparsity, batch] = {form: re.findall(r"([\d.]+) MB", kinds) for form, kinds in forms}
    megabytes = {point: {form: sum(map(float, mb)) for form, mb in forms.items()} for point, forms in told.items()}
    assert all(set(forms) == {"dense", "Dense+Mask", "truly sparse"} for forms in megabytes.values())
    assert len({forms["dense"] for forms in megabytes.values()}) == len(storage.IMAGES)  # sparsity saves it nothing
    assert megabytes[0.0, 1]["truly sparse"] > megabytes[0.0, 1]["dense"]  # the indices
    assert megabytes[0.99, 1]["truly sparse"] < megabytes[0.99, 1]["dense"] / 20


def test_an_explorer_draws_at_once_and_at_every_move():
    drawn = []

    def draw(level):
        drawn.append(level)
        figure = Figure(figsize=(1, 1))
        figure.set_label(f"level <{level}>")
        return figure

    slider = ipw.IntSlider(value=3)
    box = explorer(draw, level=slider)
    picture = box.children[1]
    first = picture.value
    assert 'alt="level &lt;3&gt;"' in first
    slider.value = 5
    assert drawn == [3, 5]
    assert "level &lt;5&gt;" in picture.value != first


def test_an_error_at_the_first_value_is_raised_and_a_later_one_shown():
    def draw(level):
        if level > 3:
            raise RuntimeError("too <high>")
        return Figure(figsize=(1, 1))

    with pytest.raises(RuntimeError):
        explorer(draw, level=ipw.IntSlider(value=4))
    slider = ipw.IntSlider(value=1)
    box = explorer(draw, level=slider)
    slider.value = 5
    assert box.children[1].value == "<pre>RuntimeError: too &lt;high&gt;</pre>"
    slider.value = 2
    assert "<img" in box.children[1].value


def controls_of(box):
    for child in box.children:
        if hasattr(child, "children"):
            yield from controls_of(child)
        elif not isinstance(child, ipw.HTML):
            yield child


def test_the_explorers_have_labelled_keyboard_controls(histories):
    boxes = [
        teaching.storage_explorer(),
        teaching.signal_explorer(),
        teaching.dst_explorer(),
        teaching.time_machine(histories["set"]),
        teaching.observatory(histories),
        teaching.break_even_explorer(),
        teaching.machine_explorer(),
        teaching.memory_explorer(),
        teaching.predict("?", a_figure, low=0, high=1, start=0),
    ]
    for box in boxes:
        controls = list(controls_of(box))
        assert controls
        for control in controls:
            assert control.description or isinstance(control, ipw.Play)
            assert not getattr(control, "continuous_update", False)


def test_a_picture_takes_its_room_at_once_and_never_shrinks():
    slider = ipw.IntSlider(value=5)
    picture = explorer(lambda inches: Figure(figsize=(2, inches)), inches=slider).children[1]
    assert 'width="200" height="500"' in picture.value
    tallest = picture.layout.min_height
    slider.value = 2
    assert 'height="200"' in picture.value
    assert picture.layout.min_height == tallest


def test_the_clock(monkeypatch):
    for name, value in (("demo", 1), ("class", 2), ("full", 3)):
        monkeypatch.setenv("DST_TUTORIAL_MODE", name)
        assert by_mode(demo=1, classroom=2, full=3) == value
    monkeypatch.setenv("DST_TUTORIAL_MODE", "fast")
    with pytest.raises(ValueError, match="DST_TUTORIAL_MODE is 'fast'; choose from demo, class, full"):
        mode()


def test_figures_carry_their_alt_text():
    figure = plots.signal_strength({"dense": {"fc1": 1.0, "fc2": 0.5}})
    assert figure.get_label() == "How strong the signal is after each layer. After the last: dense 0.5."
    assert png(figure).startswith(b"\x89PNG")


def test_a_picture_in_256_colours_looks_the_same():
    figure = plots.inputs_read({"ramp": np.arange(784.0).reshape(28, 28)})
    plain = png(figure, 2)
    packed = in_256_colours(plain)
    assert len(packed) < len(plain) / 2
    was, now = (np.asarray(Image.open(io.BytesIO(content)).convert("RGB"), int) for content in (plain, packed))
    assert np.mean(np.abs(was - now) > 32) < 1e-3  # a few pixels of letters' edges
    assert np.abs(was - now).mean() < 2


def test_pictures_of_two_threads_leave_matplotlibs_settings_alone():
    """A live training draws in its thread while a slider draws in another."""
    before, first_is_in, first_may_go, order = dict(mpl.rcParams), Event(), Event(), []

    def first():
        with plots.style():
            first_is_in.set()
            first_may_go.wait(10)
            order.append("first")

    def second():
        first_is_in.wait(10)
        with plots.style():
            order.append("second")

    threads = [Thread(target=first), Thread(target=second)]
    for thread in threads:
        thread.start()
    first_is_in.wait(10)
    time.sleep(0.05)
    first_may_go.set()
    for thread in threads:
        thread.join(10)
    assert order == ["first", "second"]
    assert dict(mpl.rcParams) == before
