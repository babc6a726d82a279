"""Robustness of exports and of the server against kill -9 at random moments.

    python benchmarks/kill.py [--kills 50] [--seed 0]

First, a process that exports a model over and over, keeping three old versions, is killed. Then a
server that follows the directory is killed while another process exports. After every kill the
newest version of the directory must load completely (its checksums, its graph) and answer as the
model does. Only the folder of the killed export may be left over, until the next export removes it.
A restarted server must serve the newest version or a later one. With the default arguments the
output is also written to docs/benchmarks/kills.md.
"""

import argparse
import collections
import importlib
import json
import os
import pathlib
import random
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request

import numpy as np
import pages

USERS, ITEMS, DIM, K = 1000, 20_000, 64, 5
KEEP = 3

ABOUT = """# Killed exports and servers

`kill -9` at random moments; what is left must be a directory whose newest version is whole. This \
page is written by `benchmarks/kill.py`.
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=50, help="of each kind")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--nursery", action="store_true", help=argparse.SUPPRESS)
    pages.add_options(parser)
    options = parser.parse_args()
    if options.nursery:
        nursery()
    settings = {"kills": options.kills, "seed": options.seed}
    page = pages.Page(
        "kills", __file__, settings, remake=options.page, keep=pages.whole(parser, options)
    )

    def run() -> None:
        with tempfile.TemporaryDirectory() as folder:
            moments = random.Random(options.seed)
            expected = answers()
            processes = Nursery(pathlib.Path(folder), pathlib.Path(folder, "served"))
            kill_exports(processes, expected, moments, options.kills)
            kill_servers(processes, expected, moments, options.kills)
            processes.close()

    shown, _ = page.printed(run)
    head = page.head(f"seeds     moments {page.settings['seed']}, model 0")
    page.write("\n".join([ABOUT, "```text", *head, shown, "```", ""]))


def parts():
    """Return the model and its vocabularies, always the same."""
    import keras

    from kerasrec.data import Vocabulary
    from kerasrec.models import MatrixFactorization
    from kerasrec.schema import Categorical, Schema

    keras.utils.set_random_seed(0)
    users = Vocabulary(np.arange(USERS), np.ones(USERS, int), "user_id")
    items = Vocabulary(np.arange(ITEMS), np.arange(ITEMS, 0, -1), "item_id")
    schema = Schema(
        user=Categorical("user_id", users.num_ids), item=Categorical("item_id", items.num_ids)
    )
    model = MatrixFactorization(schema, embedding_dim=DIM, stddev=1.0)
    return model, {"user_id": users, "item_id": items}


def nursery() -> None:
    """Start exports and servers on request from stdin, by a fork that saves the imports.

    TensorFlow does not run here, so there are no threads that a fork could lose.
    """
    for module in (
        "tensorflow",
        "keras_rs",
        "kerasrec.models.matrix_factorization",
        "kerasrec.server.running",
        "kerasrec.serving.exporting",
    ):
        importlib.import_module(module)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the killed are buried at once
    for line in sys.stdin:
        kind, base, log = json.loads(line)
        if child := os.fork():
            print(child, flush=True)
            continue
        try:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            os.dup2(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
            {"export": export_forever, "serve": serve_until_killed}[kind](base)
        finally:
            os._exit(1)
    os._exit(0)


def export_forever(base: str) -> None:
    """Export repeatedly, and print a line before each export for the parent."""
    from kerasrec.serving import export

    model, vocabularies = parts()
    while True:
        os.write(2, b"export\n")
        export(model, base, vocabularies=vocabularies, k=K, keep=KEEP)


def serve_until_killed(base: str) -> None:
    """Serve as `kerasrec serve` does."""
    from kerasrec.server import Settings, serve

    serve(base, settings=Settings(rest_port=0, grpc_port=0, poll_seconds=0.1))


class Nursery:
    """The forking process and its children."""

    def __init__(self, folder: pathlib.Path, base: pathlib.Path) -> None:
        self.base, self.folder = base, folder
        self.number = 0
        self.process = subprocess.Popen(
            [sys.executable, __file__, "--nursery"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def start(self, kind: str) -> tuple[int, pathlib.Path]:
        """Return the process id and the output file of a new child."""
        self.number += 1
        log = self.folder / f"log{self.number}"
        log.touch()
        print(json.dumps([kind, str(self.base), str(log)]), file=self.process.stdin, flush=True)
        return int(self.process.stdout.readline()), log

    def close(self) -> None:
        """Stop the process."""
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait()


def kill(pid: int) -> None:
    """Kill a process with SIGKILL and wait until it is gone."""
    os.kill(pid, signal.SIGKILL)
    while pathlib.Path(f"/proc/{pid}").exists():
        time.sleep(0.005)


def wait_for(condition, seconds: float = 300.0):
    """Wait for a condition and return its first true value."""
    end = time.perf_counter() + seconds
    while not (value := condition()):
        assert time.perf_counter() < end, "waited in vain"
        time.sleep(0.02)
    return value


def answers() -> list[list[int]]:
    """Return the best items of ten users, computed by NumPy."""
    model, _ = parts()
    queries = np.asarray(model.query_embedding({"user_id": np.arange(2, 12)}))
    items = np.asarray(model.item_embedding({"item_id": np.arange(2, ITEMS + 2)}))
    return np.argsort(-(queries @ items.T), axis=1, kind="stable")[:, :K].tolist()


def check(base: pathlib.Path, expected: list[list[int]]) -> int:
    """Check that the newest version loads and answers correctly; return its number."""
    from kerasrec.serving import load

    loaded = load(base)
    assert loaded.recommend({"user_id": list(range(10))}).item_id.tolist() == expected
    return int(loaded.path.name)


def kill_exports(nursery, expected, moments, kills: int) -> None:
    """Kill exports at moments from the first to shortly after the last."""
    base = nursery.base
    pid, log = nursery.start("export")
    wait_for(lambda: log.read_bytes().count(b"export\n") > 2)
    began = time.perf_counter()
    wait_for(lambda: log.read_bytes().count(b"export\n") > 3)
    length = time.perf_counter() - began
    kill(pid)
    started = time.perf_counter()
    left = collections.Counter()
    before = check(base, expected)
    first = before
    for _ in range(kills):
        pid, log = nursery.start("export")
        wait_for(lambda log=log: b"export\n" in log.read_bytes())
        time.sleep(moments.uniform(0.0, 1.2 * length))
        kill(pid)
        newest = check(base, expected)
        assert newest >= before, f"version {before} is lost, {newest} is the newest"
        before = newest
        leftovers = list(base.glob(".export-*"))
        assert len(leftovers) <= 1, leftovers
        left[len(leftovers)] += 1
    pid, log = nursery.start("export")
    wait_for(lambda: log.read_bytes().count(b"export\n") > 1)
    wait_for(lambda: len(list(base.glob(".export-*"))) <= 1)
    kill(pid)
    versions = sorted(int(path.name) for path in base.glob("[0-9]*"))
    assert len(versions) <= KEEP + 2
    seconds = time.perf_counter() - started
    print(
        f"exports  {kills} killed, each within {1.2 * length:.1f} s ({seconds:.0f} s in all)\n"
        f"         {left[1]} left a folder behind, which the next export removed\n"
        f"         {before - first} versions were finished before the kill\n"
        "         after every kill the newest version loaded whole and answered right\n"
        f"         {len(versions)} versions are kept"
    )


def kill_servers(nursery, expected, moments, kills: int) -> None:
    """Kill servers while they start, serve and swap versions."""
    base = nursery.base
    exporter, _ = nursery.start("export")
    began = time.perf_counter()
    pid, log = nursery.start("serve")
    wait_for(lambda: ready(log))
    length = time.perf_counter() - began
    kill(pid)
    started = time.perf_counter()
    seen = collections.Counter()
    before = check(base, expected)
    for _ in range(kills):
        pid, log = nursery.start("serve")
        end = time.perf_counter() + moments.uniform(0.0, length + 6.0)
        port = None
        while time.perf_counter() < end:
            port = port or ready(log)
            if port:
                ask(port, expected)
                seen["answers"] += 1
            time.sleep(0.02)
        kill(pid)
        seen["swaps"] += max(0, log.read_bytes().count(b'"version is served"') - 1)
        seen["starting" if port is None else "serving"] += 1
        newest = check(base, expected)
        assert newest >= before
        before = newest
    pid, log = nursery.start("serve")
    port = wait_for(lambda: ready(log))
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/v1/models/served") as answer:
        states = json.load(answer)["model_version_status"]
    served = max(int(state["version"]) for state in states if state["state"] == "AVAILABLE")
    assert served >= before, (served, before)
    kill(pid)
    kill(exporter)
    seconds = time.perf_counter() - started
    print(
        f"servers  {kills} killed, {seen['starting']} while they started, {seen['serving']} while "
        f"they served ({seconds:.0f} s in all)\n"
        f"         {seen['answers']} answers, all right, and {seen['swaps']} swaps of versions "
        "before the kills\n"
        "         after every kill the newest version loaded whole and answered right\n"
        "         a server that is started again serves the newest version"
    )


def ready(log: pathlib.Path) -> int | None:
    """Return the REST port once it is logged, else None."""
    for line in log.read_bytes().splitlines():
        if b'"event": "ready"' in line:
            return json.loads(line)["rest_port"]
    return None


def ask(port: int, expected: list[list[int]]) -> None:
    inputs = {"user_id": list(range(10)), "exclude": [[]] * 10}
    body = json.dumps({"signature_name": "recommend", "inputs": inputs}).encode()
    url = f"http://127.0.0.1:{port}/v1/models/served:predict"
    with urllib.request.urlopen(url, body) as answer:
        assert json.load(answer)["outputs"]["item_id"] == expected


if __name__ == "__main__":
    main()
