"""Two worker processes train as two replicas of one process do, in stock `fit`."""

import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import kerasrec

WORKER = pathlib.Path(__file__).with_name("worker.py")
ROOT = pathlib.Path(kerasrec.__file__).parents[1]
TOLERANCE = 1e-5


def start(*arguments):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    environment.pop("TF_CONFIG", None)
    return subprocess.Popen(
        [sys.executable, str(WORKER), *map(str, arguments)],
        env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def finish(processes):
    """The outputs of processes that end well; all of them end when one fails."""
    outputs = []
    try:
        for process in processes:
            output, errors = process.communicate(timeout=1200)
            assert process.returncode == 0, errors[-3000:]
            outputs.append(output)
    finally:
        for process in processes:
            process.kill()
            process.communicate()
    return outputs


def read(path):
    with np.load(path) as held:
        arrays = dict(held)
    return json.loads(str(arrays.pop("history"))), arrays


def write_rows(folder):
    """570 rows, which is no multiple of the batch, in three files of unequal size."""
    rng = np.random.default_rng(1)
    for at, rows in enumerate((300, 0, 270)):
        users, items = rng.integers(0, 48, rows), rng.integers(0, 38, rows)
        label = (users + items) % 2
        table = pa.table({"user": users, "item": items, "label": label})
        pq.write_table(table, folder / f"{at}.parquet", row_group_size=80)


@pytest.mark.slow
@pytest.mark.parametrize(
    "model", ["MatrixFactorization", "EmbeddingMLP", "SASRec", "StackedLSTMClassifier", "sharded"]
)
def test_two_workers_train_as_two_replicas(model, tmp_path, free_ports):
    write_rows(tmp_path)
    ports = free_ports(2)
    together, *apart = (tmp_path / f"{name}.npz" for name in ("together", "first", "second"))
    processes = [
        start(model, together),
        *(start(model, path, index, *ports) for index, path in enumerate(apart)),
    ]
    outputs = finish(processes)
    assert outputs[0].strip() == "64 rows a step: 32 for each of 2 replicas on 1 worker"
    assert outputs[1].strip() == "64 rows a step: 32 for each of 2 replicas on 2 workers"
    history, weights = read(together)
    assert history["loss"][-1] < history["loss"][0]
    for path in apart:
        found, arrays = read(path)
        assert found.keys() == history.keys()
        for name, values in history.items():
            np.testing.assert_allclose(found[name], values, rtol=0, atol=TOLERANCE, err_msg=name)
        for name, values in weights.items():
            np.testing.assert_allclose(arrays[name], values, rtol=0, atol=TOLERANCE)


@pytest.mark.slow
@pytest.mark.parametrize("options", [[], ["--save_freq", "7"]], ids=["epochs", "steps"])
def test_a_killed_worker_goes_on_to_the_same_weights(options):
    script = ROOT / "benchmarks" / "kill_workers.py"
    command = [sys.executable, str(script), "--kills", "1", "--epochs", "2", *options]
    run = subprocess.run(
        command, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stdout + run.stderr[-3000:]
    assert "weights are equal: reached" in run.stdout and "-9" in run.stdout
