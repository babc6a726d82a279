"""A loaded version: a TensorFlow session, as in TensorFlow Serving, without Keras."""

import pathlib
import re
from typing import Any

import numpy as np
import tensorflow as tf

from kerasrec.server.errors import ServingError, invalid
from kerasrec.server.signature import Signature
from kerasrec.serving import checksums, warmup
from kerasrec.serving.beside import SCHEMA_FILE
from kerasrec.serving.signature_defs import CLASSIFY, PREDICT, REGRESS, TAG, signature_defs
from kerasrec.types import Columns

DEFAULT_SIGNATURE = "serving_default"


class LoadedVersion:
    """Load a version and run its warm-up requests.

    Args:
        path: folder of the version; its name is the number.

    Raises:
        ValueError: if it does not load, or a checksum is wrong.
    """

    def __init__(self, path: pathlib.Path) -> None:
        self.path = path
        self.number = int(path.name)
        if (path / checksums.FILE_NAME).exists():
            checksums.check_checksums(path)
        padded = (path / SCHEMA_FILE).exists()
        self.signatures = {
            name: Signature(name, definition, padded=padded)
            for name, definition in signature_defs(path).items()
            if definition.method_name in (PREDICT, CLASSIFY, REGRESS)
        }
        graph = tf.Graph()
        self._session = tf.compat.v1.Session(graph=graph)
        try:
            with graph.as_default():
                tf.compat.v1.saved_model.load(self._session, [TAG], str(path))
            self.warmed_up = self._warm_up()
        except (OSError, ValueError, KeyError, tf.errors.OpError, ServingError) as error:
            self.close()
            raise ValueError(f"{path} does not load: {' '.join(str(error).split())}") from error

    def signature(self, name: str) -> Signature:
        """Return a signature by name, or the default one for "".

        Raises:
            ServingError: INVALID_ARGUMENT, if there is none.
        """
        name = name or DEFAULT_SIGNATURE
        if name not in self.signatures:
            raise invalid(
                f'Serving signature name: "{name}" not found in signature def; there are '
                f"{list(self.signatures)}."
            )
        return self.signatures[name]

    def run(self, signature: Signature, arrays: Columns) -> dict[str, np.ndarray]:
        """Return the outputs of one call. Thread-safe.

        Raises:
            ServingError: with the status that TensorFlow reports.
        """
        feeds = {signature.inputs[key].tensor: array for key, array in arrays.items()}
        fetches = {key: port.tensor for key, port in signature.outputs.items()}
        try:
            outputs: dict[str, Any] = self._session.run(fetches, feeds)
        except (tf.errors.OpError, ValueError, TypeError) as error:
            raise _serving_error(error) from error
        return {key: np.asarray(value) for key, value in outputs.items()}

    def close(self) -> None:
        """Release the memory. No call may be running."""
        self._session.close()

    def _warm_up(self) -> int:
        count = 0
        for log in warmup.read(self.path):
            kind = log.WhichOneof("log_type")
            if kind not in ("predict_log", "classify_log", "regress_log"):
                continue
            request = getattr(log, kind).request
            signature = self.signature(request.model_spec.signature_name)
            if kind == "predict_log":
                arrays = {key: tf.make_ndarray(value) for key, value in request.inputs.items()}
            else:
                name = next(iter(signature.inputs))
                arrays = {name: example_array(request.input)}
            self.run(signature, arrays)
            count += 1
        return count


def example_array(message: Any) -> np.ndarray:
    """Return the serialised examples `(batch,)` of an `Input`.

    Raises:
        ServingError: INVALID_ARGUMENT, if there are none.
    """
    kind = message.WhichOneof("kind")
    # Consecutive messages merge into one message in which later fields win.
    context = b""
    if kind == "example_list_with_context":
        context = message.example_list_with_context.context.SerializeToString()
    examples = getattr(message, kind).examples if kind else ()
    if not examples:
        raise invalid("Input is empty.")
    array = np.empty(len(examples), object)
    array[:] = [context + example.SerializeToString() for example in examples]
    return array


def _serving_error(error: Exception) -> ServingError:
    code = "INVALID_ARGUMENT"
    if isinstance(error, tf.errors.OpError):
        names = {
            tf.errors.INVALID_ARGUMENT: "INVALID_ARGUMENT",
            tf.errors.FAILED_PRECONDITION: "FAILED_PRECONDITION",
            tf.errors.OUT_OF_RANGE: "INVALID_ARGUMENT",
            tf.errors.RESOURCE_EXHAUSTED: "RESOURCE_EXHAUSTED",
            tf.errors.UNIMPLEMENTED: "UNIMPLEMENTED",
        }
        code = names.get(error.error_code, "INTERNAL")
    lines = (getattr(error, "message", None) or str(error)).splitlines()
    # The rest tells where in the model's sources the operation was created.
    said = [line for line in lines if not re.match(r"Graph execution|Detected at|Node:|\s|$", line)]
    return ServingError(code, said[0][:500] if said else type(error).__name__)
