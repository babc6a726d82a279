"""Weights of combinations of ids, in a table of fixed size."""

import math
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from kerasrec._checks import check_integer, check_number
from kerasrec.layers.embedding import Embedding
from kerasrec.schema import FIRST_ID, UNKNOWN_ID
from kerasrec.types import Tensor

# 2^64 over the golden ratio, as a signed number: multiples of it spread evenly (Knuth, 1998, "The
# Art of Computer Programming" 3, 6.4).
SPREAD = -7046029254386353131


@keras.saving.register_keras_serializable("kerasrec")
class CrossedIds(keras.layers.Layer):
    """Look up a weight for a combination of ids, as in a cross-product transformation.

        n = (id_1 * sizes_2 + id_2) * sizes_3 + ...
        w = table[n]          if the table has a row for each combination
        w = table[hash(n)]    otherwise: combinations share rows by chance

    The weight of "user 3 and item 7" remembers one pair, which rows of the user and of the item
    must express together with all other pairs (Cheng et al., 2016, "Wide & Deep Learning for
    Recommender Systems"). That of a combination with padding or an unknown id is 0.

    Args:
        sizes: number of ids of each input, padding and unknown included.
        rows: largest number of rows of the table.
        l2: weight of the penalty on the squares of all rows of the table, in each step. A
            combination of few examples keeps a weight near 0, one of many does not.

    Input shape:
        list of integer ids, all of one shape `(...)`.

    Output shape:
        `(..., 1)`.

    Raises:
        ValueError: if there are fewer than two sizes, or a number is not positive.

    Example:

    >>> import numpy as np
    >>> layer = CrossedIds((100, 500), rows=2**10)
    >>> layer([np.array([3, 4]), np.array([7, 7])]).shape
    TensorShape([2, 1])
    """

    def __init__(
        self,
        sizes: Sequence[int],
        *,
        rows: int = 2**20,
        l2: float = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.sizes = tuple(sizes)
        if len(self.sizes) < 2:
            raise ValueError(
                f"{type(self).__name__}: sizes must be those of two inputs or more; received "
                f"{list(self.sizes)}."
            )
        for size in self.sizes:
            check_integer(self, "each of sizes", size, FIRST_ID)
        check_integer(self, "rows", rows, 2)
        check_number(self, "l2", l2)
        self.rows = rows
        self.l2 = l2
        self.autocast = False
        combinations = math.prod(self.sizes)
        self.is_hashed = combinations > rows
        # The highest bits of a product are the best spread ones, so the size is a power of two.
        self.bits = rows.bit_length() - 1
        self.table = Embedding(
            2**self.bits + FIRST_ID if self.is_hashed else combinations,
            1,
            embeddings_initializer="zeros",
            embeddings_regularizer=keras.regularizers.L2(l2) if l2 else None,
            name="table",
            dtype=self.dtype_policy,
        )

    def build(self, input_shape: Any = None) -> None:
        """Create the table, whose shape does not depend on the input."""
        self.table.build()
        self.built = True

    def call(self, inputs: Sequence[Tensor]) -> Tensor:
        """Return the weights of the combinations."""
        known = None
        number: Any = 0
        for ids, size in zip(inputs, self.sizes, strict=True):
            ids = ops.cast(ids, "int64")
            real = ids > UNKNOWN_ID
            known = real if known is None else known & real
            number = number * size + ids
        if self.is_hashed:
            mixed = ops.right_shift(number * ops.convert_to_tensor(SPREAD, "int64"), 64 - self.bits)
            number = ops.bitwise_and(mixed, 2**self.bits - 1) + FIRST_ID
        row = self.table(ops.where(known, number, 0))
        return row * ops.cast(known, row.dtype)[..., None]

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {
            **super().get_config(),
            "sizes": list(self.sizes),
            "rows": self.rows,
            "l2": self.l2,
        }
