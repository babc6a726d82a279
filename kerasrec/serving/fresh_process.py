"""Runs requests against a SavedModel in a process that holds TensorFlow and nothing of ours.

    python -I fresh_process.py MODEL REQUESTS RESULT

The model is loaded as TensorFlow Serving does it: tag `serve`, init operation, signatures, no
Python objects. RESULT is a JSON file: `error`, or the `outputs` of each request at its own batch
and row by row, the operations of the graph that stock TensorFlow does not know, and what ran.
"""

import json
import os
import pathlib
import sys
from typing import Any

FORBIDDEN = ("kerasrec", "keras", "keras_rs", "tf_keras")


def main(model: str, requests: str, result: str) -> None:
    """Reads, runs, writes.

    Args:
        model: folder of the SavedModel.
        requests: path of the JSON file to replay.
        result: path of the JSON file to write.
    """
    imported = [name for name in FORBIDDEN if name in sys.modules]
    if imported:
        raise SystemExit(f"this process must not hold {imported}: run the file by its own path")
    # From here on, importing one of them is an error: TensorFlow goes without Keras.
    sys.modules.update(dict.fromkeys(FORBIDDEN))  # type: ignore[arg-type]
    os.environ.update(TF_CPP_MIN_LOG_LEVEL="3", CUDA_VISIBLE_DEVICES="-1")
    recorded = json.loads(pathlib.Path(requests).read_text(encoding="utf-8"))
    try:
        answer = _run(model, recorded["requests"])
    except Exception as error:  # noqa: BLE001 - whatever it is, the caller's process reports it
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
    outputs = []
    with tf.Graph().as_default(), v1.Session() as session:
        signatures = v1.saved_model.load(session, [tf.saved_model.SERVING], model).signature_def
        for request in requests:
            name = request["signature"]
            if name not in signatures:
                raise ValueError(f"no signature {name!r}; there are {sorted(signatures)}")
            signature = signatures[name]
            if set(signature.inputs) != set(request["inputs"]):
                raise ValueError(
                    f"signature {name!r} takes {sorted(signature.inputs)}, the recorded request "
                    f"holds {sorted(request['inputs'])}"
                )
            arrays = {
                key: _array(value, tf.as_dtype(signature.inputs[key].dtype))
                for key, value in request["inputs"].items()
            }
            batch = len(next(iter(arrays.values())))
            slices = [slice(0, batch), *(slice(row, row + 1) for row in range(batch))]
            fetches = {key: info.name for key, info in signature.outputs.items()}
            answers = [
                session.run(
                    fetches,
                    {signature.inputs[key].name: array[rows] for key, array in arrays.items()},
                )
                for rows in slices
            ]
            outputs.append({"batch": _lists(answers[0]), "rows": [_lists(a) for a in answers[1:]]})
    return {"outputs": outputs, "tensorflow": tf.__version__, "operations": len(operations)}


def _array(value: Any, dtype: Any) -> Any:
    import numpy as np

    return np.array(value, dtype=object if dtype.name == "string" else dtype.as_numpy_dtype)


def _lists(answer: dict[str, Any]) -> dict[str, Any]:
    def text(value: Any) -> Any:
        if isinstance(value, list):
            return [text(element) for element in value]
        return value.decode("utf-8") if isinstance(value, bytes) else value

    return {key: text(value.tolist()) for key, value in answer.items()}


def _operations(model: str) -> set[str]:
    """Names of the operations in the graph and its functions."""
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
