"""A server in a thread, over an export of ours or a SavedModel made by hand."""

import asyncio
import contextlib
import http.client
import json
import shutil
import threading

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from kerasrec.data import Vocabulary
from kerasrec.models import MatrixFactorization
from kerasrec.schema import Categorical, Schema
from kerasrec.serving import export
from kerasrec.serving.artifact.signature_defs import CLASSIFY, PREDICT, REGRESS
from kerasrec.serving.server import Settings
from kerasrec.serving.server.app import running


class Client:
    """Asks one server by REST."""

    def __init__(self, base, name, ports):
        self.base, self.name = base, name
        self.rest_port, self.grpc_port = ports

    def raw(self, method, path, body=None, headers=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.rest_port, timeout=600)
        with contextlib.closing(connection):
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            return answer.status, answer.read()

    def get(self, path="", **kwargs):
        status, data = self.raw("GET", f"/v1/models/{self.name}{path}", **kwargs)
        return status, json.loads(data)

    def post(self, body, verb="predict", version="", **kwargs):
        text = body if isinstance(body, bytes) else json.dumps(body)
        status, data = self.raw("POST", f"/v1/models/{self.name}{version}:{verb}", text, **kwargs)
        return status, json.loads(data)

    def metrics(self):
        status, data = self.raw("GET", "/monitoring/prometheus/metrics")
        assert status == 200
        return data.decode()


@contextlib.contextmanager
def _serving(base, name=None, **settings):
    """A server in a thread, which ends with the block."""
    settings = Settings(rest_port=0, grpc_port=0, **{"poll_seconds": 0.1, **settings})
    name = name or base.name
    ready, outcome = threading.Event(), {}

    async def main():
        outcome["loop"], outcome["stop"] = asyncio.get_running_loop(), asyncio.Event()
        async with running(base, name, settings) as ports:
            outcome["ports"] = ports
            ready.set()
            await outcome["stop"].wait()

    def run():
        try:
            asyncio.run(main())
        except BaseException as error:  # the test is told
            outcome["error"] = error
        finally:
            ready.set()

    thread = threading.Thread(target=run)
    thread.start()
    ready.wait()
    try:
        if "error" not in outcome:
            yield Client(base, name, outcome["ports"])
    finally:
        if "ports" in outcome:
            outcome["loop"].call_soon_threadsafe(outcome["stop"].set)
        thread.join()
    if "error" in outcome:
        raise outcome["error"]


@pytest.fixture(scope="session")
def serving():
    """The function `serving(base, name=None, **settings)`, a context that gives a `Client`."""
    return _serving


class HandMade(tf.Module):
    """y = 2 x + c, by predict, classify and regress; `fragile` refuses negative numbers."""

    def __init__(self, c):
        super().__init__()
        self.c = tf.Variable(c, dtype=tf.float32)

    @tf.function(input_signature=[tf.TensorSpec((None,), tf.float32, "x")])
    def predict(self, x):
        return {"y": 2.0 * x + self.c, "name_bytes": tf.strings.as_string(x, precision=1)}

    @tf.function(input_signature=[tf.TensorSpec((None,), tf.float32, "x")])
    def fragile(self, x):
        with tf.control_dependencies([tf.debugging.assert_non_negative(x, "negative")]):
            return {"y": x + self.c}

    @tf.function(input_signature=[tf.TensorSpec((), tf.int32, "n")])
    def scalar(self, n):
        return {"doubled": 2 * n}

    def _parse(self, examples):
        spec = {"x": tf.io.FixedLenFeature((), tf.float32)}
        return 2.0 * tf.io.parse_example(examples, spec)["x"] + self.c

    @tf.function(input_signature=[tf.TensorSpec((None,), tf.string, "inputs")])
    def regress(self, examples):
        return {"outputs": self._parse(examples)[:, None]}

    @tf.function(input_signature=[tf.TensorSpec((None,), tf.string, "inputs")])
    def classify(self, examples):
        y = self._parse(examples)
        scores = tf.stack([y, -y], axis=1)
        classes = tf.tile([["up", "down"]], [tf.shape(y)[0], 1])
        return {"classes": classes, "scores": scores}


def _save_hand_made(path, c=0.5):
    module = HandMade(c)
    functions = {
        name: getattr(module, name) for name in ("fragile", "scalar", "regress", "classify")
    }
    tf.saved_model.save(
        module, str(path), signatures={"serving_default": module.predict, **functions}
    )
    # tf.saved_model.save knows one method only.
    file = path / "saved_model.pb"
    saved = saved_model_pb2.SavedModel.FromString(file.read_bytes())
    definitions = saved.meta_graphs[0].signature_def
    for name, method in (("regress", REGRESS), ("classify", CLASSIFY)):
        assert definitions[name].method_name == PREDICT
        definitions[name].method_name = method
    file.write_bytes(saved.SerializeToString())
    return path


@pytest.fixture(scope="session")
def save_hand_made():
    """The function `save_hand_made(path, c)`, which writes a version."""
    return _save_hand_made


@pytest.fixture(scope="session")
def hand_made(tmp_path_factory):
    """A folder with version 1 of `HandMade`."""
    base = tmp_path_factory.mktemp("served") / "half"
    base.mkdir()
    _save_hand_made(base / "1")
    return base


@pytest.fixture(scope="session")
def movies(tmp_path_factory):
    """A folder with version 1 of an export of ours: 5 users, 40 items, all scores positive."""
    users = Vocabulary.fit(["ann", "bob", "né", "dan", "eve"])
    items = Vocabulary(np.arange(100, 140), np.arange(40, 0, -1), "item_id")
    schema = Schema(user=Categorical("user_id", 7), item=Categorical("item_id", 42))
    model = MatrixFactorization(schema, embedding_dim=4, stddev=1.0)
    base = tmp_path_factory.mktemp("served") / "movies"
    export(model, base, vocabularies={"user_id": users, "item_id": items}, k=5)
    return base


@pytest.fixture
def own_movies(movies, tmp_path):
    """A copy of `movies` that a test may change."""
    return shutil.copytree(movies, tmp_path / "movies")
