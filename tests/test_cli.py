import json
import os
import re
import shutil
import signal
import subprocess
import sys
from types import SimpleNamespace

import pytest
from conftest import make_dataset
from typer.testing import CliRunner

from dst_tutorial import __main__ as cli
from dst_tutorial import doctor, studies, training
from dst_tutorial.paths import results_folder
from dst_tutorial.show import gallery
from dst_tutorial.studies import recorded
from dst_tutorial.timing import METHODS, Roofline, benchmark, breakeven


def run(*arguments, **environment):
    """The command line in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "dst_tutorial", *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
    )


@pytest.fixture
def invoke(monkeypatch):
    """The command line in this process, on a made-up data set."""
    monkeypatch.setattr(training, "load_mnist", lambda folder=None: make_dataset())
    monkeypatch.setitem(training.DATASETS, "mnist", make_dataset)
    monkeypatch.setattr(benchmark, "load_mnist", make_dataset)
    return lambda *arguments: CliRunner().invoke(cli.app, arguments, catch_exceptions=False)


def test_train_prints_one_json_document_on_standard_output():
    done = run("train", "--recipe", "slides", "--epochs", "1", "--train-size", "64", "--seed", "7", "--json")
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert {
        "recipe": "slides", "backend": "masked", "sparsity": 0.95, "seed": 7, "epochs": 1, "train_size": 64,
        "active_weights": 67_175, "total_weights": 1_343_456,
    }.items() <= summary.items()  # fmt: skip
    assert summary["data_set"] in ("mnist", "mnist-sample")
    assert 0 <= summary["test_accuracy"] <= 100
    assert summary["test_loss"] > 0
    assert len(summary["seconds_per_epoch"]) == 1


@pytest.mark.parametrize("recipe", ["slides", "set", "erk-rigl", "static"])
def test_every_sparse_recipe_trains_truly_sparse(invoke, recipe):
    """And comes to the same as masked, but for rounding."""
    runs = []
    for backend in ("masked", "sparse"):
        done = invoke("train", "--recipe", recipe, "--epochs", "2", "--sparsity", "0.8", "--train-size", "128",
                     "--network", "LeNet300100", "--backend", backend, "--json")  # fmt: skip
        assert done.exit_code == 0, done.output
        runs.append(json.loads(done.stdout))
    masked, sparse = runs
    assert (masked["backend"], sparse["backend"]) == ("masked", "sparse")
    assert sparse["test_loss"] == pytest.approx(masked["test_loss"], rel=0.01)
    same = ("active_weights", "total_weights", "biases", "macs", "dense_macs")
    assert [sparse[name] for name in same] == [masked[name] for name in same]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--recipe", "nope"], "unknown recipe 'nope'; choose from dense, slides"),
        (["--recipe", "slides", "--sparsity", "1"], "sparsity is the fraction of zeros and must be in [0, 1)"),
        (["--recipe", "dense", "--train-size", "70000"], "train_size must be from 1 to"),
        (["--recipe", "dense", "--data-set", "cifar"], "unknown data set 'cifar'; choose from mnist, mnist-validation"),
        (["--recipe", "dense", "--network", "VGG"], "unknown network 'VGG'; choose from SlideCNN, LeNet300100, MLP1D"),
        (["--recipe", "dense", "--network", "MLP1D"], "MLP1D does not read mnist"),
        (["--recipe", "slides", "--backend", "csr"], "unknown backend 'csr'; choose from masked, sparse"),
        (["--recipe", "dense", "--train-size", "64", "--checkpoint", "."], "must be a file"),
    ],
)
def test_a_mistake_ends_in_one_line_and_status_2(arguments, message, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["dst_tutorial", "train", *arguments])
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit) as end:
        cli.main()
    signal.signal(signal.SIGTERM, before)
    said = capsys.readouterr()
    assert end.value.code == 2
    assert said.out == ""
    assert message in said.err.splitlines()[-1]
    assert "Traceback" not in said.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--help"], "Train a network by a recipe"),
        (["train", "--help"], "update-interval"),
        (["bench", "--help"], "torch-csr"),
        (["trian"], "Did you mean 'train'?"),
        (["train", "--recpie", "slides"], "--recipe"),
        (["train"], "name one recipe, such as `train erk-rigl`"),
        (["train", "slides", "--recipe", "set"], "name one recipe"),
        (["train", "slides", "--epochs", "0"], "--epochs"),
        (["train", "slides", "--drop-fraction", "2"], "--drop-fraction"),
        (["sweep"], "Missing argument"),
    ],
)
def test_help_and_a_misspelt_command_do_not_wait_for_torch(arguments, said):
    code = "import sys; from dst_tutorial.__main__ import main\ntry: main()\nfinally: assert 'torch' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True,
                          env={**os.environ, "COLUMNS": "300"})  # fmt: skip
    assert done.returncode == (0 if "--help" in arguments else 2), done.stderr
    assert said in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "erk-rigel"], "unknown recipe 'erk-rigel' (did you mean 'erk-rigl'?); choose from dense, slides"),
        (["train", "rigl"], "unknown recipe 'rigl' (did you mean 'erk-rigl'?); choose from"),
        (["train", "dense", "--network", "slidecnn"], "unknown network 'slidecnn' (did you mean 'SlideCNN'?)"),
        (["train", "dense", "--data-set", "MNIST"], "(did you mean 'mnist'?)"),
        (["train", "static", "--update-interval", "5"], "'static' has no option 'update_interval': it moves no"),
        (
            ["train", "gmp", "--drop-fraction", "0.5"],
            "'gmp' has no option 'drop_fraction': it has update_interval, unit",
        ),
        (["sweep", "slide"], "unknown experiment 'slide' (did you mean 'slides'?)"),
        (
            ["bench", "--work", "training"],
            "unknown work 'training' (did you mean 'training-step'?); choose from inference",
        ),
        (["bench", "--method", "torch csrr"], "unknown method 'torch-csrr' (did you mean 'torch-csr'?)"),
    ],
)
def test_it_says_what_may_have_been_meant(arguments, message, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["dst_tutorial", *arguments])
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    with pytest.raises(SystemExit):
        cli.main()
    assert message in capsys.readouterr().err.splitlines()[-1]


def test_no_methods_name_has_a_comma_on_the_command_line(monkeypatch, capsys):
    """And each is spelt in one way alone."""
    monkeypatch.setattr(sys, "argv", ["dst_tutorial", "bench", "--method", "nope"])
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    with pytest.raises(SystemExit):
        cli.main()
    listed = capsys.readouterr().err.strip().partition("choose from ")[2].split(", ")
    assert len(set(listed)) == len(METHODS)
    assert all(re.fullmatch(r"[a-z0-9-]+", name) for name in listed)
    assert cli._spelt(listed, METHODS, "method") == list(METHODS) == cli._spelt(METHODS, METHODS, "method")


def test_the_interval_and_the_drop_fraction_are_options(invoke):
    """The recipe's own values give the recipe's own run, and others another one."""

    def train(*options):
        arguments = ("set", "--epochs", "3", "--sparsity", "0.8", "--network", "LeNet300100", *options, "--json")
        return json.loads(invoke("train", *arguments).stdout)

    own, same = train(), train("--update-interval", "1", "--drop-fraction", "0.3")
    assert same["test_loss"] == own["test_loss"]
    assert (same["update_interval"], same["drop_fraction"]) == (1, 0.3)
    for other in (("--update-interval", "2"), ("--drop-fraction", "0.5")):
        assert train(*other)["test_loss"] != own["test_loss"]


def test_an_unwritable_data_folder_ends_in_one_line(tmp_path):
    (tmp_path / "file").touch()
    done = run("data", "--json", DST_TUTORIAL_DATA=str(tmp_path / "file"))
    assert done.returncode == 2
    assert "Set DST_TUTORIAL_DATA to a folder that can" in done.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    "command", ["doctor", "data", "train", "bench", "break-even", "scaling", "sweep", "figures", "claims"]
)
def test_every_command_has_help_and_json(invoke, command):
    done = invoke(command, "--help")
    assert done.exit_code == 0
    assert "--json" in done.output


def test_train_as_a_table(invoke):
    done = invoke("train", "--recipe", "dense", "--epochs", "2", "--train-size", "64")
    assert "dense (dense, SlideCNN) on mnist: 64 training and 64 test images: 1,343,456 of 1,343,456" in done.output
    assert "100% of the dense multiplications" in done.output


def test_train_another_network_on_another_data_set(invoke):
    options = ("--recipe", "erk-rigl", "--epochs", "3", "--data-set", "mnist1d", "--sparsity", "0.9", "--json")
    summary = json.loads(invoke("train", *options).stdout)
    assert (summary["network"], summary["data_set"], summary["train_size"]) == ("MLP1D", "mnist1d", 4000)
    assert (summary["active_weights"], summary["total_weights"]) == (28_774, 287_744)
    assert summary["macs"] / summary["dense_macs"] == pytest.approx(0.1, abs=1e-4)


def test_data(invoke):
    assert json.loads(invoke("data", "--json").stdout)["train_size"] == 256
    assert "256 training" in invoke("data").output


def test_figures(invoke, tmp_path, monkeypatch):
    monkeypatch.setattr(gallery, "FIGURES", {"slide6_training_curves": gallery.FIGURES["slide6_training_curves"]})
    manifest = json.loads(invoke("figures", "--out", str(tmp_path), "--json").stdout)
    assert (tmp_path / "slide6_results.tex").exists()
    assert "slide6_training_curves.svg" in manifest["files"]
    on_slides = json.loads(invoke("figures", "--slides", "--out", str(tmp_path / "slides"), "--json").stdout)
    sizes = [of["files"]["slide6_training_curves.svg"]["size"] for of in (manifest, on_slides)]
    assert sizes == ["8.0 x 4.2 in", "12.3 x 6.9 in"]
    refused = invoke("figures", "--slides")
    assert refused.exit_code == 2
    assert "--out" in refused.output


def test_bench(invoke, tmp_path, monkeypatch, caplog):
    """The made-up data set has 64 test images."""
    monkeypatch.setattr(recorded, "results_folder", lambda: tmp_path)
    methods = ["Dense+Mask", "dense", "torch CSR", "truly sparse"]
    options = ["slides", "--batch", "20", "--rounds", "2", "--threads", "1", "--device", "cpu", "--work", "inference"]
    options += [word for method in methods for word in ("--method", method)]
    (result,) = json.loads(invoke("bench", *options, "--record", "--json").stdout)["runs"]
    assert [row["method"] for row in result["rows"]] == methods
    assert recorded.load_timings("benchmark") == [result]
    assert (result["sparsity"], result["batch"], result["threads"]) == (0.95, 20, 1)
    expected = []
    monkeypatch.setattr(studies, "expected_seconds", lambda *_, **task: expected.append(task) or 600.0)
    caplog.set_level("INFO")
    table = invoke("bench", *options).output
    assert caplog.messages[0] == "1 benchmark(s), about 10.0 minutes in all"
    assert expected[0]["methods"] == methods
    for method in methods:
        assert re.search(rf"\| slides \| inference, batch 20 \| 1 \| {re.escape(method)} \| [\d.]+ \[", table)
    with pytest.raises(ValueError, match=r"unknown case 'slide' \(did you mean 'slides'\?\); choose from slides"):
        invoke("bench", "slide")
    with pytest.raises(ValueError, match=r"did you mean 0\.95"):
        invoke("bench", "--sparsity", "95")


def test_bench_names_who_is_absent(invoke, monkeypatch):
    monkeypatch.setitem(sys.modules, "sparselab", None)
    options = ("linear", "--batch", "2", "--rounds", "1", "--threads", "1", "--work", "inference")
    told = invoke("bench", *options, "--method", "dense", "--method", "SparseLab, convolutions dense").output
    assert "absent: SparseLab, convolutions dense: sparselab is not installed: `pip install sparselab`" in told


def test_break_even(invoke, tmp_path, monkeypatch):
    monkeypatch.setattr(recorded, "results_folder", lambda: tmp_path)
    monkeypatch.setattr(breakeven, "roofline", lambda device: Roofline(100.0, 10.0))
    options = ("--width", "20", "--batch", "3", "--rounds", "1", "--threads", "1")
    result = json.loads(invoke("break-even", *options, "--record", "--json").stdout)
    assert recorded.load_timings("breakeven") == [result]
    told = invoke("break-even", *options).output
    assert "100 GFLOP/s, 10 GB/s" in told
    assert told.count("takes no longer than") == len(breakeven.SPARSE) * len(breakeven.DENSE)


def test_sweep(invoke, tmp_path, monkeypatch):
    def run(experiment, folder, **options):
        assert folder is None  # among the results that ship
        return tmp_path / "-".join(map(str, options.values()))

    monkeypatch.setattr(studies, "run_missing", run)
    assert json.loads(invoke("sweep", "slides", "--workers", "2", "--json").stdout)["file"].endswith("/2")
    with pytest.raises(ValueError, match="unknown experiment 'nope'; choose from slides, algorithms, mnist1d"):
        invoke("sweep", "nope")


def test_a_sweep_of_many_runs_keeps_them_out_of_the_results_that_ship(invoke, tmp_path, monkeypatch):
    def run(experiment, folder, **options):
        assert experiment.name == "atlas"
        assert folder == tmp_path / "runs"
        folder.mkdir()
        (folder / "atlas.json").write_text('{"runs": [1, 2]}')

    monkeypatch.setattr(cli, "data_folder", lambda: tmp_path)
    monkeypatch.setattr(studies, "run_missing", run)
    monkeypatch.setattr(studies, "condense", lambda runs: tmp_path / f"of {len(runs)}")
    assert json.loads(invoke("sweep", "atlas", "--json").stdout) == {"file": str(tmp_path / "of 2"), "runs": 2}


@pytest.mark.parametrize("kind", ["breakeven", "scaling"])
def test_what_cannot_be_recorded_is_not_measured(kind, invoke, tmp_path, monkeypatch):
    def never(*args, **options):
        raise AssertionError("it was measured")

    monkeypatch.setattr(recorded, "results_folder", lambda: tmp_path)
    monkeypatch.setattr(breakeven, {"breakeven": "measure", "scaling": "scaling"}[kind], never)
    (tmp_path / f"{kind}.json").write_text('{"runs": [')
    with pytest.raises(ValueError, match=rf"{kind}\.json is damaged"):
        invoke(kind.replace("breakeven", "break-even"), "--record")


@pytest.mark.parametrize("name", ["slides.json", "slides_masks.npz", "benchmark.json"])
def test_a_damaged_result_file_ends_in_one_line_that_names_it(name, tmp_path, monkeypatch, capsys):
    folder = shutil.copytree(results_folder(), tmp_path / "results")
    for module in (studies.results, recorded):
        monkeypatch.setattr(module, "results_folder", lambda: folder)
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content[: len(content) // 2])
    monkeypatch.setattr(sys, "argv", ["dst_tutorial", "claims", "--out", str(tmp_path / "claims.md")])
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code == 2
    (said,) = capsys.readouterr().err.splitlines()
    assert said.startswith(f"error: {folder / name} is damaged")


@pytest.mark.skipif(sys.platform == "win32", reason="a shell's way to close it")
def test_standard_error_may_be_closed():
    """Progress bars and logs go nowhere then."""
    command = [
        sys.executable,
        "-m",
        "dst_tutorial",
        "train",
        "dense",
        "--epochs",
        "1",
        "--data-set",
        "mnist1d",
        "--json",
    ]
    environment = {name: value for name, value in os.environ.items() if name != "TQDM_DISABLE"}
    done = subprocess.run(["sh", "-c", 'exec "$@" 2>&-', "sh", *command], stdout=subprocess.PIPE, env=environment)
    assert done.returncode == 0
    assert json.loads(done.stdout)["epochs"] == 1

    child = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'import sys; print(sys.stderr is None)'])"
    code = f"from dst_tutorial import __main__ as cli; cli.app = lambda **_: exec({child!r}); cli.main()"
    command = ["sh", "-c", 'exec "$@" 2>&-', "sh", sys.executable, "-c", code]
    assert subprocess.run(command, stdout=subprocess.PIPE).stdout == b"False\n"  # nor do a sweep's workers trip


# --- doctor -----------------------------------------------------------------------------------------------------------


def test_doctor_names_a_mend_for_each_failure(invoke, monkeypatch):
    monkeypatch.setattr(doctor, "is_cached", lambda: False)
    monkeypatch.setattr(doctor, "jupyter_path", lambda *below: [])
    done = invoke("doctor", "--json")
    assert done.exit_code == 1
    report = json.loads(done.stdout)
    failed = {f["check"]: f["mend"] for f in report["findings"] if not f["ok"]}
    assert set(failed) == {"data", "kernel python3", "widgets"}
    assert "python -m dst_tutorial data" in failed["data"]
    assert all(failed.values())
    assert "mend: `pip install ipywidgets`" in invoke("doctor").output


def test_doctor_leaves_colabs_own_jupyter_alone(monkeypatch):
    """There an upgrade of ipykernel would break the runtime."""
    monkeypatch.setenv("COLAB_RELEASE_TAG", "release")
    looked_at = {finding.check for finding in doctor.examine()}
    assert "package torch" in looked_at
    assert not looked_at & {
        "package ipykernel",
        "package jupyterlab",
        "package ipywidgets",
        "kernel python3",
        "widgets",
    }


def test_doctor_sees_a_kernel_that_runs_another_python(monkeypatch, tmp_path):
    kernel = tmp_path / "python3" / "kernel.json"
    kernel.parent.mkdir()
    monkeypatch.setattr(doctor, "jupyter_path", lambda *below: [str(tmp_path)])
    for python, ok in ((sys.executable, True), ("python", True), ("/gone/bin/python", False)):
        kernel.write_text(json.dumps({"argv": [python, "-m", "ipykernel_launcher"]}))
        (finding,) = doctor._kernel()
        assert finding.ok == ok
        assert python in finding.found


def test_doctor_finds_missing_and_old_packages(monkeypatch):
    def version(name):
        if name == "ipywidgets":
            raise doctor.importlib.metadata.PackageNotFoundError(name)
        return "1.0" if name == "torch" else "999"

    monkeypatch.setattr(doctor.importlib.metadata, "version", version)
    failed = {f.check: f for f in doctor.examine() if not f.ok}
    assert failed["package ipywidgets"].found == "missing"
    assert failed["package torch"].found == "1.0"
    assert 'pip install "torch>=' in failed["package torch"].mend


def test_doctor_sees_a_folder_it_cannot_write(monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("DST_TUTORIAL_DATA", str(tmp_path / "file"))
    failed = {f.check: f.mend for f in doctor.examine() if not f.ok}
    assert "DST_TUTORIAL_DATA" in failed["write to data folder"]


def test_logs_go_to_standard_error(tmp_path):
    """Without network and npm the sample's warning is logged, and standard output is still one JSON document."""
    code = "from dst_tutorial import __main__ as cli, training; training.files.MNIST.sources.clear(); cli.main()"
    done = subprocess.run(
        [sys.executable, "-c", code, "data", "--json"],
        capture_output=True,
        text=True,
        env={**os.environ, "DST_TUTORIAL_DATA": str(tmp_path)},
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["data_set"] == "mnist-sample"
    assert "this is the SAMPLE" in done.stderr


def test_a_loss_that_is_no_number_is_null(capsys):
    cli._answer(True, {"test_loss": float("nan"), "list": [float("inf"), 1.5, None]})
    assert json.loads(capsys.readouterr().out) == {"test_loss": None, "list": [None, 1.5, None]}


def test_doctor_says_where_the_repository_is_a_placeholder(monkeypatch):
    def told(url):
        about = {"Project-URL": ["Homepage, x", f"Repository, {url}"]}
        monkeypatch.setattr(doctor.importlib.metadata, "metadata", lambda _: SimpleNamespace(get_all=about.get))
        (finding,) = doctor._published()
        return finding.found

    assert "badges lead nowhere" in told("https://github.com/OWNER/it")
    assert told("https://github.com/some-one/dst-tutorial") == "https://github.com/some-one/dst-tutorial"
