"""Layer that keeps rows of ids of different lengths, such as the items of each user."""

from typing import Any

import keras
import numpy as np
from keras import ops

from kerasrec._checks import check_integer
from kerasrec._keras import replace_weight
from kerasrec.types import Tensor


@keras.saving.register_keras_serializable("kerasrec")
class IdRows(keras.layers.Layer):
    """Sparse matrix of ones that a model keeps beside its weights and that is not trained.

    Row r holds the ids of the columns that are 1, such as the items of user r. Memory follows the
    number of ids, since rows are stored one after the other.

    Args:
        num_rows: number of rows.
        size: number of ids of all rows. `assign` sets it, and a saved model keeps it.
        longest: number of ids of the longest row, likewise.
        **kwargs: as for `keras.layers.Layer`.

    Input shape:
        Integer row numbers `(batch,)`.

    Output shape:
        int32 ids `(batch, longest)`, padded with 0.

    Raises:
        ValueError: if a number is not an integer or too small.

    Example:

    >>> layer = IdRows(3)
    >>> layer.assign(np.array([0, 2, 2]), np.array([7, 5, 6]))
    >>> layer(np.array([2, 0, 1])).numpy().tolist()
    [[5, 6], [7, 0], [0, 0]]
    """

    built: bool

    def __init__(self, num_rows: int, size: int = 0, longest: int = 0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        check_integer(self, "num_rows", num_rows, 1)
        check_integer(self, "size", size, 0)
        check_integer(self, "longest", longest, 0)
        self.num_rows = num_rows
        self.size = size
        self.longest = longest
        self.build()

    def build(self, input_shape: Any = None) -> None:
        """Create the weights, whose shapes do not depend on the input."""
        if self.built:
            return
        self.starts = self.add_weight(
            shape=(self.num_rows + 1,),
            dtype="int32",
            initializer="zeros",
            trainable=False,
            name="starts",
        )
        self.ids = self.add_weight(
            shape=(self.size,), dtype="int32", initializer="zeros", trainable=False, name="ids"
        )
        self.built = True

    def assign(self, rows: np.ndarray, ids: np.ndarray) -> None:
        """Replace all rows.

        Args:
            rows: row number of each id.
            ids: ids above 0. A row that holds an id twice keeps it once.
        """
        width = int(np.max(ids, initial=0)) + 1
        places = np.unique(np.asarray(rows, np.int64) * width + ids)
        starts = np.searchsorted(places, np.arange(self.num_rows + 1) * width)
        self.resize(len(places), int(np.diff(starts).max(initial=0)))
        self.starts.assign(starts.astype(np.int32))
        self.ids.assign((places % width).astype(np.int32))

    def resize(self, size: int, longest: int) -> None:
        """Make place for other rows, before weights are loaded.

        Args:
            size: number of ids of all rows.
            longest: number of ids of the longest row.
        """
        self.size, self.longest = size, longest
        replace_weight(self, "ids", np.zeros(size, np.int32))

    def call(self, inputs: Tensor) -> Tensor:
        """Return the ids of some rows."""
        rows = ops.convert_to_tensor(inputs)
        first = ops.take(self.starts, rows)[:, None]
        last = ops.take(self.starts, rows + 1)[:, None]
        position = first + ops.arange(self.longest, dtype="int32")
        ids = ops.pad(ops.convert_to_tensor(self.ids), [[0, 1]])  # a row to take from
        return ops.where(position < last, ops.take(ids, ops.minimum(position, self.size)), 0)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        sizes = {"num_rows": self.num_rows, "size": self.size, "longest": self.longest}
        return {**super().get_config(), **sizes}
