"""Embedding layers that read smaller tables, or hold the numbers of such tables."""

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from kerasrec.retrieval.vector_table import NARROW, VectorTable
from kerasrec.types import Tensor


def compress_layers(model: keras.Model, kind: str) -> list[VectorTable]:
    """Make every embedding layer read a smaller table; the layers' own weights stay as they are.

    Args:
        model: a model that is not needed otherwise.
        kind: "float16" or "int8".

    Returns:
        The tables.
    """
    tables = []
    for layer in _wide_embeddings(model):
        table = VectorTable(np.asarray(layer.embeddings.value), kind, name=layer.name)
        layer.call = _lookup_in(table)
        tables.append(table)
    return tables


def round_tables(model: keras.Model, kind: str) -> None:
    """Give every embedding layer the numbers that a smaller table reads.

    Args:
        model: a model that is not needed otherwise.
        kind: "float32", "float16" or "int8".
    """
    for layer in _wide_embeddings(model):
        table = VectorTable(np.asarray(layer.embeddings.value), kind)
        layer.embeddings.assign(table.numpy())


def _wide_embeddings(model: Any) -> Iterator[Any]:
    for layer in model._flatten_layers(include_self=False, recursive=True):
        if isinstance(layer, keras.layers.Embedding) and layer.output_dim >= NARROW:
            yield layer


def _lookup_in(table: VectorTable) -> Any:
    def call(inputs: Tensor, training: bool | None = None) -> Tensor:
        return table.rows(tf.cast(inputs, tf.int32))

    return call
