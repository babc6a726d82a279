"""Signature of a loaded version: its inputs, outputs and batching rules."""

import dataclasses
from collections.abc import Collection
from typing import Any

import numpy as np
import tensorflow as tf

from kerasrec.serving.artifact.signature_defs import CLASSIFY, REGRESS
from kerasrec.serving.server.errors import ServingError, invalid
from kerasrec.types import RAW_PADDING, Columns

Shape = tuple[int | None, ...] | None


@dataclasses.dataclass(frozen=True)
class Port:
    """An input or output of a signature.

    Attributes:
        tensor: its name in the graph.
        dtype: its dtype.
        shape: its shape; None where a size, or the rank, is not fixed.
    """

    tensor: str
    dtype: tf.DType
    shape: Shape


class Signature:
    """A `SignatureDef` that checks and batches requests.

    Args:
        name: its name.
        definition: the `SignatureDef`.
        padded: whether "", -1 and NaN are padding, as in all that `kerasrec.serving.export` writes;
            rows of other widths then run together.
    """

    def __init__(self, name: str, definition: Any, *, padded: bool) -> None:
        self.name = name
        self.definition = definition
        self.method: str = definition.method_name
        self.inputs = {key: _port(info) for key, info in sorted(definition.inputs.items())}
        self.outputs = {key: _port(info) for key, info in sorted(definition.outputs.items())}
        ports = [*self.inputs.values(), *self.outputs.values()]
        self.batchable = bool(self.inputs) and all(
            port.shape is not None and len(port.shape) > 0 and port.shape[0] is None
            for port in ports
        )
        self._padded = padded

    def expect(self, method: str) -> None:
        """Check that a request uses the method of the signature.

        Raises:
            ServingError: INVALID_ARGUMENT.
        """
        if self.method != method:
            raise invalid(
                f"signature {self.name!r} has the method {self.method!r}; this request needs "
                f"{method!r}."
            )

    def example_input(self, method: str) -> str:
        """Return the name of the input for serialised examples.

        Raises:
            ServingError: INVALID_ARGUMENT, if the signature has another method.
        """
        self.expect(method)
        if len(self.inputs) != 1:
            raise ServingError("FAILED_PRECONDITION", f"signature {self.name!r}: needs one input")
        return next(iter(self.inputs))

    def check(self, arrays: Columns, max_rows: int) -> int:
        """Check a request and return its number of rows.

        Raises:
            ServingError: INVALID_ARGUMENT, if names, types or shapes are wrong, or there are too
                many rows.
        """
        self.check_names(arrays)
        for key, port in self.inputs.items():
            array = arrays[key]
            kind = tf.string if array.dtype == object else tf.as_dtype(array.dtype)
            if kind != port.dtype or not _fits(array.shape, port.shape):
                raise invalid(
                    f"input {key!r}: expected {port.dtype.name} of shape {_text(port.shape)}; "
                    f"received {kind.name} of shape {_text(array.shape)}."
                    f"{self._padding_hint(port, array.shape)}"
                )
        if not self.batchable:
            return 1
        sizes = {key: arrays[key].shape[0] for key in self.inputs}
        if len(set(sizes.values())) > 1:
            raise invalid(f"the inputs must have the same batch size; received {sizes}.")
        rows = next(iter(sizes.values()))
        if rows > max_rows:
            raise invalid(f"a request may have at most {max_rows} rows; received {rows}. Split it.")
        return rows

    def _padding_hint(self, port: Port, shape: tuple[int, ...]) -> str:
        """Return how to fill up rows that are too short for a bag, "" for any other mistake."""
        wanted = port.shape or ()
        narrow = len(shape) == len(wanted) == 2 and shape[1] < (wanted[1] or 0)
        if not narrow or not self._padded or port.dtype.name not in RAW_PADDING:
            return ""
        return f" Pad shorter rows with {RAW_PADDING[port.dtype.name]!r}."

    def check_names(self, names: Collection[str]) -> None:
        """Check that a request names every input and nothing else.

        Raises:
            ServingError: INVALID_ARGUMENT, with the names that are missing or unknown.
        """
        if difference := self.difference(names):
            raise invalid(
                f"signature {self.name!r} takes the inputs {list(self.inputs)}; received "
                f"{sorted(names)[:20]}: {difference}."
            )

    def difference(self, names: Collection[str]) -> str:
        """Return which inputs are missing and which names are unknown, "" if all is right."""
        missing = [name for name in self.inputs if name not in names]
        unknown = sorted(set(names) - set(self.inputs))[:20]
        return f"missing {missing}, unknown {unknown}" if missing or unknown else ""

    def shapes(self, arrays: Columns) -> tuple[Any, ...]:
        """Return the key that is equal for requests that can run together."""
        return tuple(
            None if self.pads(port) else arrays[key].shape[1:] for key, port in self.inputs.items()
        )

    def concatenate(self, requests: list[Columns]) -> Columns:
        """Concatenate requests with equal `shapes`."""
        if len(requests) == 1:
            return requests[0]
        return {
            key: np.concatenate(_widen([arrays[key] for arrays in requests], port))
            for key, port in self.inputs.items()
        }

    def pads(self, port: Port) -> bool:
        """Return whether the width of an input is variable, so that short rows can be padded."""
        return (
            self._padded
            and port.dtype.name in RAW_PADDING
            and port.shape is not None
            and len(port.shape) >= 2
            and port.shape[1] is None
            and None not in port.shape[2:]
        )


def result_rows(signature: Signature, outputs: Columns, rows: int) -> dict[str, np.ndarray]:
    """Return the outputs of a signature for Classify and Regress, one row per example.

    Raises:
        ServingError: FAILED_PRECONDITION, if the outputs do not have the required form.
    """
    wanted = {CLASSIFY: {"classes", "scores"}, REGRESS: {"outputs"}}[signature.method]
    found = {key: array for key, array in outputs.items() if key in wanted}
    shaped = {
        key: array.reshape(rows) if signature.method == REGRESS and array.size == rows else array
        for key, array in found.items()
    }
    rank = 2 if signature.method == CLASSIFY else 1
    if not shaped or any(a.ndim != rank or len(a) != rows for a in shaped.values()):
        shapes = {key: array.shape for key, array in outputs.items()}
        raise ServingError(
            "FAILED_PRECONDITION",
            f"signature {signature.name!r} returns {shapes} for {rows} examples; "
            f"{signature.method} needs {sorted(wanted)} of rank {rank}.",
        )
    return shaped


def _port(info: Any) -> Port:
    shape: Shape = None
    if not info.tensor_shape.unknown_rank:
        shape = tuple(None if dim.size < 0 else int(dim.size) for dim in info.tensor_shape.dim)
    return Port(info.name, tf.as_dtype(info.dtype), shape)


def _fits(shape: tuple[int, ...], wanted: Shape) -> bool:
    return wanted is None or (
        len(shape) == len(wanted)
        and all(b is None or a == b for a, b in zip(shape, wanted, strict=True))
    )


def _text(shape: Shape) -> str:
    if shape is None:
        return "any"
    return f"({', '.join('n' if size is None else str(size) for size in shape)})"


def _widen(arrays: list[np.ndarray], port: Port) -> list[np.ndarray]:
    """Pad arrays on the right to the same width."""
    if len({array.shape[1:] for array in arrays}) == 1:
        return arrays
    width = max(array.shape[1] for array in arrays)
    padding = RAW_PADDING[port.dtype.name]
    value = padding.encode() if isinstance(padding, str) else padding
    wide = []
    for array in arrays:
        filled = np.full((len(array), width, *array.shape[2:]), value, array.dtype)
        filled[:, : array.shape[1]] = array
        wide.append(filled)
    return wide
