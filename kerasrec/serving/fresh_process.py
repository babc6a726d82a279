"""Run requests against a SavedModel in a process with TensorFlow only.

    python -I fresh_process.py MODEL REQUESTS RESULT

The model is loaded as in TensorFlow Serving: tag `serve`, init operation, signatures, no Python
objects. RESULT is a JSON file with an `error`, or with the `outputs` of each request in batches of
1, 7 and 64, the milliseconds of each signature, the number of kinds of operations and the size of
the graph, the number of warm-up requests, and the TensorFlow version.
"""

import base64
import json
import os
import pathlib
import statistics
import sys
import time
from typing import Any

FORBIDDEN = ("kerasrec", "keras", "keras_rs", "tf_keras")
BATCHES = (1, 7, 64)
WARM_CALLS = 10
WARM_UP_FILE = "assets.extra/tf_serving_warmup_requests"


def main(model: str, requests: str, result: str) -> None:
    """Read the requests, run them and write the result.

    Args:
        model: folder of the SavedModel.
        requests: path of the JSON file to replay.
        result: path of the JSON file to write.
    """
    imported = [name for name in FORBIDDEN if name in sys.modules]
    if imported:
        raise SystemExit(f"this process must not hold {imported}: run the file by its own path")
    # From here on, importing one of them is an error: TensorFlow runs without Keras.
    sys.modules.update(dict.fromkeys(FORBIDDEN))  # type: ignore[arg-type]
    os.environ.update(TF_CPP_MIN_LOG_LEVEL="3", CUDA_VISIBLE_DEVICES="-1")
    recorded = json.loads(pathlib.Path(requests).read_text(encoding="utf-8"))
    try:
        answer = _run(model, recorded["requests"])
    except Exception as error:  # any error is reported by the caller's process
        answer = {"error": f"{type(error).__name__}: {' '.join(str(error).split()):.500}"}
    answer["imported"] = [name for name in FORBIDDEN if sys.modules.get(name) is not None]
    pathlib.Path(result).write_text(json.dumps(answer), encoding="utf-8")


def _run(model: str, requests: list[dict[str, Any]]) -> dict[str, Any]:
    import tensorflow as tf
    from tensorflow.python.framework import op_def_registry

    operations = _operations(model)
    custom = sorted(name for name in operations if op_def_registry.get(name) is None)
    if custom:
        raise ValueError(f"the graph needs operations that stock TensorFlow lacks: {custom}")
    v1 = tf.compat.v1
    with tf.Graph().as_default(), v1.Session() as session:
        signatures = v1.saved_model.load(session, [tf.saved_model.SERVING], model).signature_def
        milliseconds = _time(session, signatures, requests)
        outputs = [_replay(session, signatures, request) for request in requests]
        warmed = _warm_up(session, signatures, pathlib.Path(model, WARM_UP_FILE))
    return {
        "outputs": outputs,
        "milliseconds": milliseconds,
        "tensorflow": tf.__version__,
        "operations": len(operations),
        "graph_bytes": pathlib.Path(model, "saved_model.pb").stat().st_size,
        "warmed": warmed,
    }


def _time(session: Any, signatures: Any, requests: list[dict[str, Any]]) -> dict[str, list[float]]:
    """Return milliseconds of the first call and the median of later calls, at batch size 1."""
    times = {}
    for name, request in {request["signature"]: request for request in reversed(requests)}.items():
        feeds, fetches = _prepare(signatures, name, request["inputs"])
        feeds = {tensor: array[:1] for tensor, array in feeds.items()}
        taken = []
        for _ in range(1 + WARM_CALLS):
            start = time.perf_counter()
            session.run(fetches, feeds)
            taken.append(1000 * (time.perf_counter() - start))
        times[name] = [taken[0], statistics.median(taken[1:])]
    return times


def _replay(session: Any, signatures: Any, request: dict[str, Any]) -> list[dict[str, Any]]:
    """Return answers in batches of several sizes, which repeat the rows of the request.

    Each batch size gives a row other neighbours, and rows of variable width other padding: none in
    a batch of 1, two more positions in a batch of 64.
    """
    import numpy as np

    feeds, fetches = _prepare(signatures, request["signature"], request["inputs"])
    total = len(next(iter(feeds.values())))
    variable = {
        info.name
        for info in signatures[request["signature"]].inputs.values()
        if len(info.tensor_shape.dim) == 2 and info.tensor_shape.dim[1].size < 0
    }
    found = []
    for batch in BATCHES:
        for start in range(0, total, batch):
            rows = np.arange(start, start + batch) % total
            fed = {tensor: array[rows] for tensor, array in feeds.items()}
            for tensor in variable:
                array = fed[tensor]
                floats = array.dtype.kind == "f"
                padding = "" if array.dtype == object else np.nan if floats else -1
                if batch == 1:
                    real = ~np.isnan(array) if floats else array != padding
                    fed[tensor] = array[:, : int(real.any(0).nonzero()[0].max(initial=-1)) + 1]
                elif batch == BATCHES[-1]:
                    wide = np.full((batch, 2), padding, array.dtype)
                    fed[tensor] = np.concatenate([array, wide], axis=1)
            answers = _lists(session.run(fetches, fed))
            found.append({"batch": batch, "rows": rows.tolist(), "answers": answers})
    return found


def _prepare(signatures: Any, name: str, inputs: dict[str, Any]) -> tuple[dict[str, Any], Any]:
    """Return the feeds by tensor name, and the fetches."""
    import tensorflow as tf

    if name not in signatures:
        raise ValueError(f"no signature {name!r}; there are {sorted(signatures)}")
    signature = signatures[name]
    if set(signature.inputs) != set(inputs):
        raise ValueError(
            f"signature {name!r} takes {sorted(signature.inputs)}, the recorded request holds "
            f"{sorted(inputs)}"
        )
    feeds = {
        info.name: _array(inputs[key], tf.as_dtype(info.dtype))
        for key, info in signature.inputs.items()
    }
    return feeds, {key: info.name for key, info in signature.outputs.items()}


def _array(value: Any, dtype: Any) -> Any:
    import numpy as np

    def plain(value: Any) -> Any:
        if isinstance(value, list):
            return [plain(element) for element in value]
        return base64.b64decode(value["b64"]) if isinstance(value, dict) else value

    return np.array(plain(value), dtype=object if dtype.name == "string" else dtype.as_numpy_dtype)


def _lists(answer: dict[str, Any]) -> dict[str, Any]:
    def text(value: Any) -> Any:
        if isinstance(value, list):
            return [text(element) for element in value]
        return value.decode("utf-8") if isinstance(value, bytes) else value

    return {key: text(value.tolist()) for key, value in answer.items()}


def _warm_up(session: Any, signatures: Any, path: pathlib.Path) -> int:
    """Run the warm-up requests as TensorFlow Serving does, and return their number."""
    import tensorflow as tf
    from tensorflow_serving.apis import prediction_log_pb2

    if not path.is_file():
        return 0
    records = list(tf.compat.v1.io.tf_record_iterator(str(path)))
    for number, record in enumerate(records):
        log = prediction_log_pb2.PredictionLog.FromString(record)
        kind = log.WhichOneof("log_type")
        if kind not in ("predict_log", "classify_log", "regress_log"):
            raise ValueError(f"warm-up request {number} is not a predict, classify or regress log")
        request = getattr(log, kind).request
        name = request.model_spec.signature_name or "serving_default"
        if name not in signatures:
            raise ValueError(f"warm-up request {number}: there is no signature {name!r}")
        signature = signatures[name]
        if kind == "predict_log":
            given = {key: tf.make_ndarray(value) for key, value in request.inputs.items()}
        else:
            examples = request.input.example_list.examples
            given = {"inputs": [example.SerializeToString() for example in examples]}
        if set(given) != set(signature.inputs):
            raise ValueError(
                f"warm-up request {number}: {name!r} takes {sorted(signature.inputs)}; received "
                f"{sorted(given)}"
            )
        feeds = {signature.inputs[key].name: value for key, value in given.items()}
        session.run({key: info.name for key, info in signature.outputs.items()}, feeds)
    return len(records)


def _operations(model: str) -> set[str]:
    """Return the names of the operations in the graph and its functions."""
    from tensorflow.core.protobuf import saved_model_pb2

    saved = saved_model_pb2.SavedModel.FromString(
        pathlib.Path(model, "saved_model.pb").read_bytes()
    )
    used: set[str] = set()
    own: set[str] = set()
    for graph in (meta.graph_def for meta in saved.meta_graphs):
        used.update(node.op for node in graph.node)
        for function in graph.library.function:
            own.add(function.signature.name)
            used.update(node.op for node in function.node_def)
    return used - own


if __name__ == "__main__":
    main(*sys.argv[1:])
