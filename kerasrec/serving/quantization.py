"""Compressed embedding tables in the layers of a model, or layers rounded to their values."""

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from kerasrec._keras import all_layers
from kerasrec.retrieval.vector_table import NARROW, VectorTable
from kerasrec.types import Tensor


def compress_layers(model: keras.Model, kind: str) -> list[VectorTable]:
    """Replace the table of every embedding layer by a smaller one, keeping the layers' weights.

    Args:
        model: a model that is not used otherwise.
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
    """Round the weights of every embedding layer to those of a smaller table.

    Args:
        model: a model that is not used otherwise.
        kind: "float32", "float16" or "int8".
    """
    for layer in _wide_embeddings(model):
        table = VectorTable(np.asarray(layer.embeddings.value), kind)
        layer.embeddings.assign(table.numpy())


def _wide_embeddings(model: Any) -> Iterator[Any]:
    for layer in all_layers(model):
        if isinstance(layer, keras.layers.Embedding) and layer.output_dim >= NARROW:
            yield layer


def _lookup_in(table: VectorTable) -> Any:
    def call(inputs: Tensor, training: bool | None = None) -> Tensor:
        return table.rows(tf.cast(inputs, tf.int32))

    return call
