"""Features parsed from the serialised `tf.Example`s of TensorFlow Serving's Classify and Regress.

Missing features are filled in: an id is unknown, a bag or sequence is empty, a number is missing
(NaN), and a numeric history has no events. A bag that is too long keeps its first ids, a sequence
its last ids, which are the newest. Several numbers per event of a history are stored in one list,
event by event.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from kerasrec.schema import Feature
from kerasrec.types import RAW_PADDING, Columns, Tensor


def parse_examples(
    serialized: Tensor, features: Sequence[Feature], dtypes: Mapping[str, str]
) -> dict[str, Tensor]:
    """Parse raw features, padded as for the other signatures.

    Args:
        serialized: strings `(batch,)`.
        features: features to read; an Example may hold more.
        dtypes: type of each by name: "string", "int64" or "float32".

    Returns:
        dict of tensors `(batch,) + shape`.
    """
    parsers: dict[str, Any] = {}
    for feature in features:
        dtype = tf.as_dtype(dtypes[feature.name])
        if feature.is_padded and feature.raw_shape:
            parsers[feature.name] = tf.io.RaggedFeature(dtype)
        elif not feature.has_ids:
            missing = np.full(feature.shape, RAW_PADDING[dtype.name], dtype.as_numpy_dtype)
            parsers[feature.name] = tf.io.FixedLenFeature(feature.shape, dtype, missing)
        else:
            parsers[feature.name] = tf.io.FixedLenFeature((), dtype, RAW_PADDING[dtype.name])
    raw = tf.io.parse_example(serialized, parsers)
    for feature in features:
        value = raw[feature.name]
        if feature.is_padded and feature.raw_shape:
            width = int(np.prod(feature.shape))
            if feature.is_history:
                value = value[:, -width:]
            padding = RAW_PADDING[dtypes[feature.name]]
            value = value.to_tensor(padding, shape=(None, width))
            raw[feature.name] = tf.reshape(value, (-1, *feature.shape))
    return dict(raw)


def make_examples(inputs: Columns) -> np.ndarray:
    """Serialise rows of raw inputs as Examples, without padding and missing numbers.

    Args:
        inputs: raw features by name, `(batch,) + shape`.

    Returns:
        bytes `(batch,)`, an array of objects.

    Example:

    >>> rows = make_examples({"user": np.array(["ann", ""]), "hour": np.float32([np.nan, 0])})
    >>> [sorted(tf.train.Example.FromString(row).features.feature) for row in rows]
    [['user'], ['hour']]
    """
    rows = []
    for row in range(len(next(iter(inputs.values())))):
        example = tf.train.Example()
        for name, column in inputs.items():
            values = np.ravel(column[row])
            if values.dtype.kind == "f":
                values = values[~np.isnan(values)]
                if len(values):
                    example.features.feature[name].float_list.value.extend(values.tolist())
            elif values.dtype.kind in "iu":
                ids = values[values != RAW_PADDING["int64"]]
                if len(ids):
                    example.features.feature[name].int64_list.value.extend(ids.tolist())
            else:
                texts = [text.encode() for text in values.tolist() if text != RAW_PADDING["string"]]
                if texts:
                    example.features.feature[name].bytes_list.value.extend(texts)
        rows.append(example.SerializeToString(deterministic=True))
    return np.array(rows, dtype=object)
