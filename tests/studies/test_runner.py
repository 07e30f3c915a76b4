"""The runner for real: in processes that are killed."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from dst_tutorial.studies.experiments import Experiment
from dst_tutorial.studies.runner import run_missing

EXPERIMENT = Experiment("runner", "a test", ("static", "erk-rigl"), (1, 2), epochs=2,
                        network="MLP1D", data_set="mnist1d")  # fmt: skip
SCRIPT = """
import sys
from test_runner import EXPERIMENT
from dst_tutorial.studies.runner import run_missing
run_missing(EXPERIMENT, __import__("pathlib").Path(sys.argv[1]), workers=2, progress=False)
"""


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
    process = subprocess.Popen([sys.executable, "-c", SCRIPT, str(tmp_path)], env=environment, start_new_session=True)
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
