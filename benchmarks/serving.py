"""Load test of `kerasrec serve`: throughput, latency, version swaps, invalid requests.

    python benchmarks/serving.py [--seconds 60]

The catalogue has 100,000 items x 64 dimensions. 32 clients on the same machine, each with its own
connection, request the ten best items of one user after the other and check every answer against
those of the two exported models. There are four runs: REST; gRPC, half as long; REST while the
version is swapped every 5 seconds between the two models; REST while others send invalid requests.
Then 20 swaps without load show the memory alone. With the default arguments the output is also
written to docs/benchmarks/serving.md. The clients share the cores with the server.
"""

import argparse
import asyncio
import contextlib
import json
import os
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile
import time

import numpy as np
import pages

ITEMS, USERS, DIM, K = 100_000, 10_000, 64, 10
CLIENTS, GARBAGE_CLIENTS, SWAP_SECONDS, IDLE_SWAPS = 32, 4, 5.0, 20
ASKED = 512  # users whose answers are known beforehand
HOST = "127.0.0.1"

ABOUT = """# The server under load

`kerasrec serve` with 100,000 items x 64 dimensions, exact top-10 for one user a request, 32 \
clients on the same machine, whose work is done by the same cores. Every answer is compared with \
those of the exported models. This page is written by `benchmarks/serving.py`.
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60.0, help="length of each run")
    pages.add_options(parser)
    options = parser.parse_args()
    page = pages.Page(
        "serving",
        __file__,
        {"seconds": options.seconds},
        packages=("aiohttp", "grpcio", "tensorflow-serving-api"),
        remake=options.page,
        keep=pages.whole(parser, options),
    )
    with tempfile.TemporaryDirectory() as folder:
        shown, failed = page.printed(lambda: measure(pathlib.Path(folder), options.seconds))
    head = page.head("seeds     models 0 and 1, users 0")
    page.write("\n".join([ABOUT, "```text", *head, shown, "```", ""]))
    sys.exit(failed)


def measure(folder: pathlib.Path, seconds: float) -> int:
    """Run all measurements; return 1 if a valid request failed."""
    made = [export(folder / f"model{seed}", seed) for seed in (0, 1)]
    expected = [answers(path) for path in made]
    base = folder / "served" / "catalogue"
    base.mkdir(parents=True)
    shutil.copytree(made[0], base / "1", copy_function=os.link)
    command = [sys.executable, "-m", "kerasrec.cli", "serve", str(base)]
    log = (folder / "server.log").open("w+b")  # noqa: SIM115 - closed when the server has ended
    server = subprocess.Popen(
        [*command, "--rest_port=0", "--grpc_port=0", "--poll_seconds=0.5"], stderr=log
    )
    try:
        ports = wait_until_ready(server, log)
        run = Run(server.pid, base, made, expected, *ports)
        print(f"{'run':<26}{'requests/s':>11}{'p50 ms':>8}{'p99 ms':>8}{'failed':>8}  memory MiB")
        for kind in ("REST", "gRPC", "REST, swaps", "REST, garbage"):
            asyncio.run(run.measure(kind, seconds / 2 if kind == "gRPC" else seconds))
        asyncio.run(run.swap_only(log))
    finally:
        server.terminate()
        code = server.wait(30)
        log.close()
    print(f"\nSIGTERM: the server ended with code {code}")
    return int(bool(run.wrong) or code != 0)


def export(directory: pathlib.Path, seed: int) -> pathlib.Path:
    import keras

    from kerasrec.data import Vocabulary
    from kerasrec.models import MatrixFactorization
    from kerasrec.schema import Categorical, Schema
    from kerasrec.serving import export

    keras.utils.set_random_seed(seed)
    users = Vocabulary(np.arange(USERS), np.ones(USERS, int), "user_id")
    items = Vocabulary(np.arange(ITEMS), np.arange(ITEMS, 0, -1), "item_id")
    schema = Schema(
        user=Categorical("user_id", users.num_ids), item=Categorical("item_id", items.num_ids)
    )
    model = MatrixFactorization(schema, embedding_dim=DIM, stddev=1.0)
    return export(model, directory, vocabularies={"user_id": users, "item_id": items}, k=K)


def answers(path: pathlib.Path) -> list[list[int]]:
    """Return the expected lists of the queried users."""
    from kerasrec.serving import load

    return load(path).recommend({"user_id": list(range(ASKED))}).item_id.tolist()


def wait_until_ready(server: subprocess.Popen, log) -> tuple[int, int]:
    while server.poll() is None:
        log.seek(0)
        for line in log.read().splitlines():
            record = json.loads(line)
            if record["event"] == "ready":
                return record["rest_port"], record["grpc_port"]
        time.sleep(0.1)
    raise SystemExit("the server ended before it was ready")


class Run:
    """One server, its expected answers, and the clients that query it."""

    def __init__(self, pid, base, made, expected, rest_port, grpc_port) -> None:
        self.pid, self.base, self.made, self.expected = pid, base, made, expected
        self.rest_port, self.grpc_port = rest_port, grpc_port
        self.newest = 1
        self.wrong: list[str] = []

    async def measure(self, kind: str, seconds: float) -> None:
        """Print one result line, and further remarks."""
        self.latencies: list[float] = []
        self.failed = 0
        self.by_model = [0, 0]
        self.refused: dict[str, dict[int, int]] = {}
        before = resident(self.pid)
        end = time.perf_counter() + seconds
        client = self.grpc_client if kind == "gRPC" else self.rest_client
        tasks = [client(number, end) for number in range(CLIENTS)]
        swaps = self.newest
        if kind == "REST, swaps":
            tasks.append(self.swap(end))
        if kind == "REST, garbage":
            tasks += [self.garbage(number, end) for number in range(GARBAGE_CLIENTS)]
        await asyncio.gather(*tasks)
        rate = len(self.latencies) / seconds
        p50, p99 = np.percentile(self.latencies, [50, 99]) * 1e3
        print(
            f"{kind:<26}{rate:>11.0f}{p50:>8.1f}{p99:>8.1f}{self.failed:>8}  "
            f"{before:.0f} -> {resident(self.pid):.0f}"
        )
        if self.failed:
            self.wrong.append(kind)
        if kind == "REST, swaps":
            print(
                f"    {self.newest - swaps} swaps; answers of the first model {self.by_model[0]}, "
                f"of the second {self.by_model[1]}, of neither or of both {self.failed}"
            )
        for name, statuses in sorted(self.refused.items()):
            print(f"    {name}: {', '.join(f'{n} x {s}' for s, n in sorted(statuses.items()))}")
            if any(not 400 <= status < 500 for status in statuses):
                self.wrong.append(name)

    def check(self, user: int, items: list[int]) -> None:
        """Count an answer by the model that gave it."""
        of = [lists[user] == items for lists in self.expected]
        if sum(of) == 1:
            self.by_model[of.index(True)] += 1
        else:
            self.failed += 1

    async def rest_client(self, number: int, end: float) -> None:
        users = random.Random(number)
        connection = await asyncio.open_connection(HOST, self.rest_port)
        while (started := time.perf_counter()) < end:
            user = users.randrange(ASKED)
            body = b'{"signature_name":"recommend","inputs":{"user_id":[%d],"exclude":[[]]}}' % user
            try:
                status, data = await ask(connection, body)
                self.latencies.append(time.perf_counter() - started)
                if status == 200:
                    self.check(user, json.loads(data)["outputs"]["item_id"][0])
                else:
                    self.failed += 1
            except (OSError, EOFError):
                self.failed += 1
                connection = await asyncio.open_connection(HOST, self.rest_port)
        connection[1].close()

    async def grpc_client(self, number: int, end: float) -> None:
        import grpc
        import tensorflow as tf
        from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

        users = random.Random(number)
        exclude = tf.make_tensor_proto(np.zeros((1, 0), np.int64))
        options = [("grpc.use_local_subchannel_pool", 1)]
        async with grpc.aio.insecure_channel(f"{HOST}:{self.grpc_port}", options) as channel:
            stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
            while (started := time.perf_counter()) < end:
                user = users.randrange(ASKED)
                request = predict_pb2.PredictRequest()
                request.model_spec.name, request.model_spec.signature_name = (
                    "catalogue",
                    "recommend",
                )
                request.inputs["user_id"].CopyFrom(tf.make_tensor_proto(np.int64([user])))
                request.inputs["exclude"].CopyFrom(exclude)
                try:
                    response = await stub.Predict(request, timeout=30)
                    self.latencies.append(time.perf_counter() - started)
                    self.check(user, tf.make_ndarray(response.outputs["item_id"])[0].tolist())
                except grpc.RpcError:
                    self.failed += 1

    async def swap(self, end: float) -> None:
        """Publish the models in turns."""
        await asyncio.sleep(SWAP_SECONDS)
        while time.perf_counter() < end:
            self.publish()
            await asyncio.sleep(SWAP_SECONDS)

    def publish(self) -> None:
        """Publish a version of the other model; keep only the previous one."""
        source = self.made[self.newest % 2]
        self.newest += 1
        staging = self.base / ".staging"
        shutil.copytree(source, staging, copy_function=os.link)
        staging.rename(self.base / str(self.newest))
        shutil.rmtree(self.base / str(self.newest - 2), ignore_errors=True)

    async def swap_only(self, log) -> None:
        """Print the memory after swaps without load."""
        memory = [resident(self.pid)]
        for _ in range(IDLE_SWAPS):
            self.publish()
            event = b'"event": "version is unloaded", "version": %d}' % (self.newest - 1)
            while log.seek(0) or event not in log.read():
                await asyncio.sleep(0.02)
            memory.append(resident(self.pid))
        print(
            f"\n{IDLE_SWAPS} swaps without load: {memory[0]:.0f} MiB before, "
            f"{memory[IDLE_SWAPS // 2]:.0f} after half of them, {memory[-1]:.0f} after all"
        )

    async def garbage(self, number: int, end: float) -> None:
        """Send invalid requests, about 20 per second in total."""
        kinds = {
            "malformed JSON": b'{"signature_name":"recommend","inputs":{"user_id":[',
            "wrong type": b'{"signature_name":"score","inputs":{"user_id":["x"],"item_id":[1]}}',
            "unknown signature": b'{"signature_name":"nothing","inputs":{"user_id":[1]}}',
            "body of 10 MB": b" " * 10_000_000,
        }
        name = list(kinds)[number]
        statuses = self.refused.setdefault(name, {})
        while time.perf_counter() < end:
            reader, writer = await asyncio.open_connection(HOST, self.rest_port)
            try:
                status, _ = await ask((reader, writer), kinds[name])
            except (OSError, EOFError):
                status = 0
            statuses[status] = statuses.get(status, 0) + 1
            writer.close()
            await asyncio.sleep(0.2)


async def ask(connection, body: bytes) -> tuple[int, bytes]:
    """Send one POST over an open connection."""
    reader, writer = connection
    head = f"POST /v1/models/catalogue:predict HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: "
    writer.write(head.encode() + b"%d\r\n\r\n" % len(body))
    with contextlib.suppress(ConnectionError):  # refused before it was read; the answer tells why
        writer.write(body)
        await writer.drain()
    lines = (await reader.readuntil(b"\r\n\r\n")).lower().split(b"\r\n")
    length = next(int(line[15:]) for line in lines if line.startswith(b"content-length:"))
    return int(lines[0].split()[1]), await reader.readexactly(length)


def resident(pid: int) -> float:
    """Return the resident memory in MiB."""
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 1024


if __name__ == "__main__":
    main()
