"""LSTM and GRU over packed sequences, without cuDNN ops."""

from typing import Any

import keras
import tensorflow as tf
from keras import ops

from kerasrec._checks import check_choice
from kerasrec.types import Tensor

CELLS = {"lstm": keras.layers.LSTMCell, "gru": keras.layers.GRUCell}


@keras.saving.register_keras_serializable("kerasrec")
class Recurrent(keras.layers.Layer):
    """LSTM or GRU over packed rows, where several sequences may share a row.

    The equations, weights and initialisers are those of `keras.layers.LSTM` and of
    `keras.layers.GRU` (`reset_after=True`). The differences are:

    - the state is reset to zero where a new sequence begins, so that rows can be packed;
    - the input projections of all steps are one matrix product before the loop;
    - the loop consists of ordinary ops on every device. The stock layers put a cuDNN op into a
      graph that is traced where a GPU is visible, and such a graph does not run on a CPU.

    Padding must stand at the end, where it changes no earlier state.

    Args:
        units: length of the state.
        cell: "lstm" or "gru".
        **kwargs: as for `keras.layers.Layer`.

    Input shape:
        `(batch, length, dim)`, and the position of each step in its sequence, `(batch, length)` or
        `(1, length)`, 0 at the start of a sequence. The length is static.

    Output shape:
        `(batch, length, units)`.

    Raises:
        ValueError: if `cell` is neither "lstm" nor "gru".

    Example:

    >>> import numpy as np
    >>> steps = np.ones((1, 4, 2), "float32")
    >>> states = Recurrent(3, cell="gru")(steps, np.array([[0, 1, 0, 1]])).numpy()
    >>> bool(np.allclose(states[:, :2], states[:, 2:])), states.shape
    (True, (1, 4, 3))
    """

    def __init__(self, units: int, cell: str = "lstm", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        check_choice(self, "cell", cell, sorted(CELLS))
        self.units = units
        self.cell = cell
        # Holds the weights and their initialisers.
        self.weights_of = CELLS[cell](units, name=cell, dtype=self.dtype_policy)

    def build(self, input_shape: Any) -> None:
        """Create the weights of the cell."""
        self.weights_of.build((None, input_shape[-1]))
        self.built = True

    def call(self, inputs: Tensor, position: Tensor) -> Tensor:
        """Return the state after each step."""
        dtype, length = self.compute_dtype, inputs.shape[1]
        kernel, recurrent = (
            ops.cast(w, dtype) for w in (self.weights_of.kernel, self.weights_of.recurrent_kernel)
        )
        bias = ops.cast(self.weights_of.bias, dtype)
        outer, inner = (bias[0], bias[1]) if self.cell == "gru" else (bias, None)
        gates = ops.matmul(ops.cast(inputs, dtype), kernel) + outer
        gates = ops.transpose(gates, (1, 0, 2))  # (length, batch, gates): a step is contiguous
        kept = ops.cast(ops.not_equal(ops.cast(position, "int32"), 0), dtype)
        kept = ops.transpose(kept)[:, :, None]  # (length, batch or 1, 1)
        step = self._gru if self.cell == "gru" else self._lstm
        state = tf.zeros((tf.shape(gates)[1], self.units), dtype)
        states = (state,) if self.cell == "gru" else (state, state)
        found = tf.TensorArray(dtype, length, element_shape=(None, self.units))

        def body(number: Tensor, found: Any, *states: Tensor) -> Any:
            before = [state * kept[number] for state in states]
            states = step(gates[number], recurrent, inner, *before)
            return number + 1, found.write(number, states[0]), *states

        _, found, *_ = tf.while_loop(
            lambda number, *_: number < length,
            body,
            (0, found, *states),
            maximum_iterations=length,
            parallel_iterations=1,
        )
        outputs = found.stack()
        outputs.set_shape((length, inputs.shape[0], self.units))
        return ops.transpose(outputs, (1, 0, 2))

    def _gru(self, gates: Tensor, recurrent: Tensor, bias: Tensor, h: Tensor) -> tuple[Tensor, ...]:
        again = ops.matmul(h, recurrent) + bias
        update, reset, new = ops.split(gates, 3, axis=-1)
        more_update, more_reset, more_new = ops.split(again, 3, axis=-1)
        update = ops.sigmoid(update + more_update)
        new = ops.tanh(new + ops.sigmoid(reset + more_reset) * more_new)
        return (update * h + (1 - update) * new,)

    def _lstm(
        self, gates: Tensor, recurrent: Tensor, bias: None, h: Tensor, c: Tensor
    ) -> tuple[Tensor, ...]:
        write, forget, new, read = ops.split(gates + ops.matmul(h, recurrent), 4, axis=-1)
        c = ops.sigmoid(forget) * c + ops.sigmoid(write) * ops.tanh(new)
        return ops.sigmoid(read) * ops.tanh(c), c

    def compute_output_spec(self, inputs: Tensor, position: Tensor) -> Any:
        """Return shape and dtype of the states."""
        return keras.KerasTensor((*inputs.shape[:2], self.units), self.compute_dtype)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {**super().get_config(), "units": self.units, "cell": self.cell}
