"""Conversion between tensors and the JSON of TensorFlow Serving's REST interface.

Lists nest along the axes. Bytes that are not text are `{"b64": "..."}`. A float is rejected where
integers are expected, and nothing is converted silently.
"""

import base64
import binascii
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from kerasrec.types import Columns

_KINDS: dict[str, set[type]] = {"b": {bool}, "i": {int}, "u": {int}, "f": {int, float}}


def to_array(value: Any, dtype: tf.DType) -> np.ndarray:
    """Convert JSON to an array. Strings become bytes in an object array.

    Args:
        value: result of `json.loads`.
        dtype: type of the tensor.

    Raises:
        ValueError: if a value has another type or does not fit into it, or rows differ in length.

    Example:

    >>> to_array([[1, 2], [3, 4]], tf.int32).shape, to_array([{"b64": "aGk="}, "x"], tf.string)
    ((2, 2), array([b'hi', b'x'], dtype=object))
    """
    flat: list[Any] = []
    shape = _flatten(value, flat)
    if dtype == tf.string:
        array = np.empty(len(flat), object)
        array[:] = [_bytes(element) for element in flat]
        return array.reshape(shape)
    kind = np.dtype(dtype.as_numpy_dtype).kind
    if wrong := [element for element in flat if type(element) not in _KINDS.get(kind, ())]:
        raise ValueError(f"expected values of type {dtype.name}; received {wrong[0]!r:.100}.")
    try:
        with np.errstate(over="ignore"):  # a float out of range becomes infinite
            return np.array(flat, dtype.as_numpy_dtype).reshape(shape)
    except OverflowError as error:
        raise ValueError(f"expected values of type {dtype.name}: {error}.") from error


def fill_rows(value: Any, padding: Any, shape: Sequence[int | None] = ()) -> Any:
    """Pad short rows on the right to the length of the longest.

    Args:
        value: a list of rows. Anything else is returned unchanged, to be checked by `to_array`.
        padding: padding value.
        shape: shape of one position, if it is not a single value.

    Example:

    >>> fill_rows([["a", "b"], [], ["c"]], "")
    [['a', 'b'], ['', ''], ['c', '']]
    """
    if not isinstance(value, list) or not all(isinstance(row, list) for row in value):
        return value
    for size in reversed(shape):
        padding = [padding] * (size or 0)
    width = max(map(len, value), default=0)
    return [row + [padding] * (width - len(row)) for row in value]


def to_json(array: np.ndarray, name: str) -> Any:
    """Convert an array to JSON, the inverse of `to_array`.

    Args:
        array: numbers, or bytes.
        name: name of the tensor; if it ends in `_bytes`, strings are always written in base64.
    """
    if array.dtype != object:
        return array.tolist()
    binary = name.endswith("_bytes")
    flat = np.empty(array.size, object)
    flat[:] = [_text(value, binary) for value in array.ravel()]
    return flat.reshape(array.shape).tolist()


def make_example(features: Mapping[str, Any]) -> tf.train.Example:
    """Create a `tf.train.Example` from a JSON object.

    Args:
        features: dict from name to a string, a number, or a list of one type; strings may be in
            base64.

    Raises:
        ValueError: if the object has another form.
    """
    if not isinstance(features, Mapping):
        raise ValueError(f"expected an object of features; received {features!r:.100}.")
    example = tf.train.Example()
    for name, value in features.items():
        values = value if isinstance(value, list) else [value]
        kinds = set(map(type, values))
        feature = example.features.feature[name]
        try:
            if kinds <= {str, dict}:
                feature.bytes_list.value.extend(map(_bytes, values))
            elif kinds == {int}:
                feature.int64_list.value.extend(values)
            elif kinds <= {int, float}:
                feature.float_list.value.extend(values)
            else:
                raise ValueError("a list holds strings, or numbers")
        except ValueError as error:
            raise ValueError(f"feature {name!r}: {error}; received {value!r:.100}.") from error
    return example


def example_to_json(example: tf.train.Example) -> dict[str, Any]:
    """Convert an Example to JSON, the inverse of `make_example`. Every feature is a list."""
    features = {}
    for name, feature in sorted(example.features.feature.items()):
        kind = feature.WhichOneof("kind")
        values: Iterable[Any] = getattr(feature, kind).value if kind else ()
        features[name] = [_text(v, False) if isinstance(v, bytes) else v for v in values]
    return features


def batch_size(arrays: Columns) -> int:
    """Return the number of rows of a request, which all inputs share.

    Raises:
        ValueError: if an input has no rows, or the numbers differ.
    """
    sizes = {name: array.shape[0] if array.ndim else None for name, array in arrays.items()}
    if len(set(sizes.values())) != 1 or None in sizes.values():
        raise ValueError(f"the inputs must have the same batch size; received {sizes}.")
    return int(next(iter(arrays.values())).shape[0])


def _flatten(value: Any, flat: list[Any]) -> tuple[int, ...]:
    """Append the leaves to `flat` and return the shape."""
    if not isinstance(value, list):
        flat.append(value)
        return ()
    if not value:
        return (0,)
    if not isinstance(value[0], list):
        if any(isinstance(element, list) for element in value):
            raise ValueError("rows differ in depth.")
        flat.extend(value)
        return (len(value),)
    shapes = {_flatten(element, flat) for element in value}
    if len(shapes) > 1:
        raise ValueError(f"rows differ in shape: {sorted(shapes)[:4]}. Pad the shorter ones.")
    return (len(value), *shapes.pop())


def _bytes(value: Any) -> bytes:
    if isinstance(value, str):
        return value.encode("utf-8", "surrogatepass")
    if isinstance(value, dict) and set(value) == {"b64"} and isinstance(value["b64"], str):
        try:
            return base64.b64decode(value["b64"], validate=True)
        except (binascii.Error, ValueError) as error:
            raise ValueError(f"invalid base64: {value!r:.100}.") from error
    raise ValueError(f'expected a string or {{"b64": "..."}}; received {value!r:.100}.')


def _text(value: bytes | str, binary: bool) -> Any:
    data = value.encode("utf-8") if isinstance(value, str) else value
    if not binary:
        try:
            return data.decode("utf-8")
        except UnicodeDecodeError:
            pass
    return {"b64": base64.b64encode(data).decode("ascii")}
