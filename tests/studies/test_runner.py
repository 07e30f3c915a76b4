"""The runner for real: in processes that are killed."""

import json
import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from dst_tutorial.studies.experiment import Experiment
from dst_tutorial.studies.runner import run_missing

EXPERIMENT = Experiment("runner", "a test", ("static", "erk-rigl"), (1, 2), epochs=2,
                        network="MLP1D", data_set="mnist1d")  # fmt: skip
SCRIPT = """
import sys
import test_runner
from dst_tutorial.studies.runner import run_missing
run_missing(getattr(test_runner, sys.argv[2]), __import__("pathlib").Path(sys.argv[1]), workers=2, progress=False)
"""


LONG = Experiment("orphans", "a test", ("static", "erk-rigl"), (1, 2), epochs=3000, network="MLP1D", data_set="mnist1d")


def what_was_measured(file):
    """All that a run came to, but for clocks and dates, by config."""
    return {
        json.dumps(r["config"]): (
            {k: v for k, v in r["summary"].items() if k != "seconds_per_epoch"},
            r["exploration_rate"],
            [{k: v for k, v in epoch.items() if k != "seconds"} for epoch in r["epochs"]],
        )
        for r in json.loads(file.read_text())["runs"]
    }


def lines(file):
    return file.read_text().splitlines()[1:-1] if file.exists() else []


@pytest.fixture(scope="module", autouse=True)
def data(tmp_path_factory):
    """A data folder of their own: the checkpoints'. The cluster's processes inherit it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DST_TUTORIAL_DATA", str(tmp_path_factory.mktemp("data")))
        yield


@pytest.fixture(scope="module")
def reference(data, tmp_path_factory):
    return what_was_measured(run_missing(EXPERIMENT, tmp_path_factory.mktemp("reference"), progress=False))


def test_two_workers_give_the_same_results_as_one(reference, tmp_path):
    file = run_missing(EXPERIMENT, tmp_path, workers=2, progress=False)
    assert what_was_measured(file) == reference
    assert len(reference) == 4


def test_killed_midway_it_repeats_no_finished_run_and_loses_none(reference, tmp_path):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", SCRIPT, str(tmp_path), "EXPERIMENT"]
    process = subprocess.Popen(command, env=environment, start_new_session=True)
    file = tmp_path / "runner.json"
    give_up = time.monotonic() + 600
    while not lines(file) and process.poll() is None and time.monotonic() < give_up:
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, "it ended before it was killed"
    kept = lines(file)
    assert 1 <= len(kept) < 4, "it was to be killed midway"

    run_missing(EXPERIMENT, tmp_path, progress=False)
    finished = {line.rstrip(",") for line in lines(file)}
    assert {line.rstrip(",") for line in kept} <= finished  # with their dates and seconds: not repeated
    assert what_was_measured(file) == reference


@pytest.mark.skipif(sys.platform == "win32", reason="there an orphan keeps its parent's number")
def test_no_worker_outlives_a_killed_sweep(data, tmp_path):
    """The sweep alone is killed, in the midst of trainings that would go on for minutes."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "DST_TUTORIAL_DATA": str(tmp_path)}
    process = subprocess.Popen([sys.executable, "-c", SCRIPT, str(tmp_path), "LONG"], env=environment)
    give_up = time.monotonic() + 300
    while len(list(tmp_path.rglob("*.safetensors"))) < 2 and process.poll() is None and time.monotonic() < give_up:
        time.sleep(0.1)
    workers = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    assert process.wait() == -signal.SIGKILL, "it ended before it was killed"
    _, alive = psutil.wait_procs(workers, timeout=60)
    for worker in alive:
        worker.kill()
    assert len(workers) >= 2
    assert not alive
