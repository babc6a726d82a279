"""Embedding layer that gathers rows without reading the whole table."""

from typing import Any

import keras
import tensorflow as tf
from keras import ops

from kerasrec._checks import check_number
from kerasrec._keras import compiled_by_xla, set_embeddings
from kerasrec.types import Tensor


@keras.saving.register_keras_serializable("kerasrec")
class Embedding(keras.layers.Embedding):
    """`keras.layers.Embedding` that gathers rows without reading the table.

    The stock layer reads the whole variable and then gathers. Under mixed precision this also casts
    the whole table, and it makes an optimizer's scatter copy it. This layer gathers from the
    resource variable itself and casts afterwards. The gradient is a `tf.IndexedSlices`.

    `l2` penalises the looked-up rows, as in the loss of neural matrix factorisation:

        l2 * mean over looked-up ids of ||row||^2

    The cost and the gradient of the penalty therefore follow the batch and not the table. Padding
    ids (0) are left out of the mean. `embeddings_regularizer` still penalises the whole table.

    On a CPU, TensorFlow raises an error for an id outside the table. Code compiled by XLA raises no
    such error and would silently read another row. This layer returns NaN for such a row instead,
    which makes the loss NaN.

    Args:
        input_dim: number of rows, padding and unknown included.
        output_dim: length of a row.
        l2: weight of the penalty on looked-up rows.
        **kwargs: as for `keras.layers.Embedding`.

    Input shape:
        Integer ids of any shape.

    Output shape:
        The shape of the ids with `output_dim` appended.

    Raises:
        ValueError: if `l2` is negative or not a number.

    Example:

    >>> import numpy as np
    >>> Embedding(5, 3)(np.array([[1, 2]])).shape
    TensorShape([1, 2, 3])
    """

    built: bool

    def __init__(self, input_dim: int, output_dim: int, l2: float = 0.0, **kwargs: Any) -> None:
        check_number(self, "l2", l2)
        super().__init__(input_dim, output_dim, **kwargs)
        self.l2 = l2

    def build(self, input_shape: Any = None) -> None:
        """Create the table. Its shape does not depend on the input."""
        if self.built or self.quantization_mode:
            super().build(input_shape)
            return
        table = self.add_weight(
            shape=(self.input_dim, self.output_dim),
            initializer=self.embeddings_initializer,
            name="embeddings",
            regularizer=self.embeddings_regularizer,
            constraint=self.embeddings_constraint,
            # Automatic casting would cast the whole table at every step.
            autocast=False,
        )
        set_embeddings(self, table)
        self.built = True
        if self.lora_rank:
            self.enable_lora(self.lora_rank)

    def call(self, inputs: Tensor, training: bool | None = None) -> Tensor:
        """Return the rows of the table, one for each id."""
        if self.quantization_mode or self.lora_enabled:
            return super().call(inputs)
        ids = ops.convert_to_tensor(inputs)
        if keras.backend.standardize_dtype(ids.dtype) not in ("int32", "int64"):
            ids = ops.cast(ids, "int32")
        rows = tf.nn.embedding_lookup(self.embeddings.value, ids)
        if compiled_by_xla():
            inside = (ids >= 0) & (ids < self.input_dim)
            rows = tf.where(inside[..., None], rows, float("nan"))
        if self.l2:
            squares = ops.sum(ops.square(ops.cast(rows, "float32")), axis=-1)
            real = ops.cast(ops.not_equal(ids, 0), "float32")
            self.add_loss(self.l2 * ops.sum(squares * real) / ops.maximum(ops.sum(real), 1.0))
        return ops.cast(rows, self.compute_dtype)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {**super().get_config(), "l2": self.l2}
