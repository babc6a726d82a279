"""Warm-up requests that a server runs before it serves a version.

They are stored in the file format of TensorFlow Serving. The first calls of a graph are slower than
all later ones, and the warm-up takes over these first calls.
"""

import pathlib
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import input_pb2, model_pb2, prediction_log_pb2

from kerasrec.serving.json_tensors import batch_size, to_array
from kerasrec.serving.signature_defs import CLASSIFY, REGRESS, signature_defs

FILE_NAME = "assets.extra/tf_serving_warmup_requests"
# Of each signature, at batch size 1 and at that of the record.
REQUESTS = 2
# Maximum number of requests that TensorFlow Serving reads from a file.
LARGEST = 1000


def write(recorded: Mapping[str, Any], folder: pathlib.Path, *, name: str) -> None:
    """Write a TFRecord file of `PredictionLog`.

    Args:
        recorded: result of `reference.record`.
        folder: the version, with its graph written.
        name: name of the served model.
    """
    definitions = signature_defs(folder)
    taken: Counter[str] = Counter()
    path = folder / FILE_NAME
    path.parent.mkdir(parents=True, exist_ok=True)
    with tf.io.TFRecordWriter(str(path)) as writer:
        for request in recorded["requests"]:
            signature = request["signature"]
            taken[signature] += 1
            if signature not in definitions or taken[signature] > REQUESTS:
                continue
            arrays = request_arrays(request, definitions[signature])
            for rows in sorted({1, batch_size(arrays)}):
                part = {key: array[:rows] for key, array in arrays.items()}
                log = _log(part, definitions[signature], signature, name)
                writer.write(log.SerializeToString())


def read(folder: pathlib.Path) -> Iterator[prediction_log_pb2.PredictionLog]:
    """Return the warm-up requests of a version; empty without the file.

    Args:
        folder: the version.

    Raises:
        ValueError: if the file is damaged.
    """
    path = folder / FILE_NAME
    if not path.is_file():
        return
    try:
        for record in tf.data.TFRecordDataset(str(path)).take(LARGEST).as_numpy_iterator():
            yield prediction_log_pb2.PredictionLog.FromString(record)
    except (tf.errors.OpError, ValueError) as error:
        raise ValueError(f"{str(path)!r} is damaged: {error}. Export the model again.") from error


def request_arrays(request: Mapping[str, Any], definition: Any) -> dict[str, np.ndarray]:
    """Return the inputs of a recorded request, with the types of the signature.

    Args:
        request: a request from `reference.record`.
        definition: its `SignatureDef`.
    """
    return {
        key: to_array(value, tf.as_dtype(definition.inputs[key].dtype))
        for key, value in request["inputs"].items()
    }


def _log(
    arrays: dict[str, np.ndarray], definition: Any, signature: str, name: str
) -> prediction_log_pb2.PredictionLog:
    log = prediction_log_pb2.PredictionLog()
    spec = model_pb2.ModelSpec(name=name, signature_name=signature)
    examples = {CLASSIFY: log.classify_log, REGRESS: log.regress_log}.get(definition.method_name)
    if examples is None:
        log.predict_log.request.model_spec.CopyFrom(spec)
        for key, array in arrays.items():
            log.predict_log.request.inputs[key].CopyFrom(tf.make_tensor_proto(array))
        return log
    examples.request.model_spec.CopyFrom(spec)
    (serialized,) = arrays.values()
    examples.request.input.CopyFrom(
        input_pb2.Input(example_list=input_pb2.ExampleList(examples=parse_examples(serialized)))
    )
    return log


def parse_examples(serialized: np.ndarray) -> list[tf.train.Example]:
    """Parse `tf.train.Example`s from their bytes `(batch,)`."""
    return [tf.train.Example.FromString(data) for data in serialized]
