"""The runner for real: in processes that are killed, and on a Dask cluster."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from dst_tutorial.studies.experiments import Experiment
from dst_tutorial.studies.runner import run_missing

dask, distributed = pytest.importorskip("dask"), pytest.importorskip("distributed")

EXPERIMENT = Experiment("runner", "a test", ("static", "erk-rigl"), (1, 2), epochs=2,
                        network="MLP1D", data_set="mnist1d")  # fmt: skip
SCRIPT = """
import sys
from test_runner import EXPERIMENT
from dst_tutorial.studies.runner import run_missing
run_missing(EXPERIMENT, __import__("pathlib").Path(sys.argv[1]), executor=sys.argv[2], address=sys.argv[3] or None,
    workers=2, progress=False)
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


@pytest.fixture(scope="module")
def address(data):
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as cluster:
        yield cluster.scheduler_address


def test_a_dask_cluster_gives_the_same_results(address, reference, tmp_path):
    file = run_missing(EXPERIMENT, tmp_path, executor="dask", address=address, progress=False)
    assert what_was_measured(file) == reference
    assert len(reference) == 4


@pytest.mark.parametrize("executor", ["local", "dask"])
def test_killed_midway_it_repeats_no_finished_run_and_loses_none(executor, address, reference, tmp_path):
    where = address if executor == "dask" else ""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", SCRIPT, str(tmp_path), executor, where]
    process = subprocess.Popen(command, env=environment, start_new_session=True)
    file = tmp_path / "runner.json"
    give_up = time.monotonic() + 600
    while not lines(file) and process.poll() is None and time.monotonic() < give_up:
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, "it ended before it was killed"
    kept = lines(file)
    assert 1 <= len(kept) < 4, "it was to be killed midway"

    run_missing(EXPERIMENT, tmp_path, executor=executor, address=where or None, progress=False)
    finished = {line.rstrip(",") for line in lines(file)}
    assert {line.rstrip(",") for line in kept} <= finished  # with their dates and seconds: not repeated
    assert what_was_measured(file) == reference


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"executor": "slurm"}, "unknown executor 'slurm'; choose from local, dask"),
        ({"executor": "dask"}, r"needs the address of a scheduler \(tcp://"),
        ({"address": "tcp://127.0.0.1:1"}, "the dask executor, and no other, needs the address"),
    ],
)
def test_a_mistake_says_what_to_do(options, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        run_missing(EXPERIMENT, tmp_path, progress=False, **options)
    assert not list(tmp_path.iterdir())


def test_an_address_where_nobody_answers_says_so(tmp_path):
    patience = dask.config.set({"distributed.comm.timeouts.connect": "2s"})
    with patience, pytest.raises(OSError, match=r"127\.0\.0\.1:1"):
        run_missing(EXPERIMENT, tmp_path, executor="dask", address="tcp://127.0.0.1:1", progress=False)


def test_workers_of_several_threads_are_refused(tmp_path):
    """The random state that builds a network is a process's: two runs in one would disturb each other."""
    with (
        distributed.LocalCluster(n_workers=1, threads_per_worker=2, processes=False, dashboard_address=None) as cluster,
        pytest.raises(ValueError, match="start the workers with --nthreads 1"),
    ):
        run_missing(EXPERIMENT, tmp_path, executor="dask", address=cluster.scheduler_address, progress=False)
