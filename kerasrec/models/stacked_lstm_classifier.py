"""Stacked LSTM/GRU classifier over a user's event history."""

import functools
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from kerasrec._checks import check_integer
from kerasrec.layers import Dropout, FeatureEmbedding, Recurrent
from kerasrec.layers.histories import at_the_end, events, newest_positions, scaled, take_steps
from kerasrec.models.target_aware import TargetAwareRecommender
from kerasrec.schema import Schema
from kerasrec.types import Features, Tensor


@keras.saving.register_keras_serializable("kerasrec")
class StackedLSTMClassifier(TargetAwareRecommender):
    """Stacked LSTM or GRU layers over a history, followed by one logit or several.

        x_t = [q_{i(t)}, numbers of event t]
        h = lstm_n(... lstm_1(x_1 ... x_t)),  0 before the first event
        score = w . relu(W [h, c, v, (U h) * v] + b) + b'

    v holds the features of the item (`target_aware`), c those of user and context. Without both,
    score = w . h + b' (Hochreiter and Schmidhuber, 1997, "Long Short-Term Memory"; stacked as by
    Graves, 2013). Deviation: v and c join after the last layer, so that a history is read once for
    all candidates. The user id is not used, so new users can be served from their history. Fit it
    on `kerasrec.data.histories`, in `kerasrec.training.StepwiseTrainer` on all steps at once, or,
    without users and items, on `kerasrec.data.windows` of columns.

    Args:
        schema: the features. The history is the first sequence of the item id, each
            `NumericSequence` among the user and context features, or both.
        embedding_dim: length of a row, in every table.
        hidden_units: widths of the recurrent layers, one after the other.
        cell: "lstm" or "gru".
        num_classes: None for one logit, of label 1; else the number of logits. Such a model cannot
            rank, and `kerasrec.serving.export` takes it without items alone.
        target_aware: whether to use the item's features; if not, all candidates score alike.
        dropout: fraction of the inputs and of each layer's outputs dropped in training.
        stddev: standard deviation of the initial rows.

    Input shape:
        dict of the features, item side `(batch,) + shape` or `(batch, candidates) + shape`.
        Histories have any length, newest last, the same in all of them, and the newest `max_length`
        events are used. Padding is where the item is 0 or, without items, where every
        `NumericSequence` is NaN.

    Output shape:
        float32 logits `(batch,)` or `(batch, candidates)`; `num_classes` adds a last axis.

    Raises:
        ValueError: if the schema has no history, histories differ in length, an input is missing,
            the cell is unknown or a size is not positive.

    Example:

    >>> import numpy as np
    >>> from kerasrec.schema import Categorical, NumericSequence
    >>> steps = NumericSequence("ratings", of="rating", max_length=4)
    >>> schema = Schema(user=[Categorical("user", 10), steps], item=Categorical("item", 12))
    >>> model = StackedLSTMClassifier(schema, embedding_dim=8, hidden_units=(16, 8))
    >>> inputs = {"user": np.array([2]), "ratings": np.ones((1, 4)), "item": np.array([7])}
    >>> model(inputs).shape, model.output_kind
    (TensorShape([1]), 'logit')
    """

    sides = ()

    def __init__(
        self,
        schema: Schema,
        *,
        embedding_dim: int = 64,
        hidden_units: Sequence[int] = (128, 64),
        cell: str = "lstm",
        num_classes: int | None = None,
        target_aware: bool = True,
        dropout: float = 0.2,
        stddev: float = 0.05,
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(schema, name=name, dtype=dtype)
        check_integer(self, "embedding_dim", embedding_dim, 1)
        for units in hidden_units or (0,):
            check_integer(self, "each of hidden_units", units, 1)
        check_integer(self, "num_classes", 1 if num_classes is None else num_classes, 1)
        self.embedding_dim = embedding_dim
        self.hidden_units = tuple(hidden_units)
        self.cell = cell
        self.num_classes = num_classes
        self.target_aware = target_aware
        self.dropout = dropout
        self.stddev = stddev
        self.output_kind = "logit" if num_classes is None else "logits"
        query = self.schema.query
        item = self.schema.item_id.name if self.schema.item else "item_id"
        self.sequence = next(iter(self.schema.item_histories), None)
        self.numbers = list(self.schema.number_histories)
        self.steps: list[Any] = [*([self.sequence] if self.sequence else []), *self.numbers]
        lengths = {f.name: f.max_length for f in self.steps}
        if len(set(lengths.values())) != 1:
            raise ValueError(
                f"StackedLSTMClassifier: expected a schema with a sequence of {item!r} or a "
                "NumericSequence among the user or context features, all of one max_length; "
                f"received {lengths}. Add IdSequence('history', of={item!r}, max_length=50)."
            )
        self.max_length = next(iter(lengths.values()))
        own = [self.schema.user_id] if self.schema.user else []
        read = {f.name for f in (*own, *self.steps)}
        self.beside = [f.name for f in query if f.name not in read]
        self.of_item = [f.name for f in self.schema.item] if target_aware else []
        only = [*([self.sequence.name] if self.sequence else []), *self.beside, *self.of_item]
        policy, sizes = {"dtype": self.dtype_policy}, {"embedding_dim": embedding_dim}
        self.features = FeatureEmbedding(
            self.schema, **sizes, stddev=stddev, only=only, name="features", **policy
        )
        self.recurrent = [
            Recurrent(units, cell=cell, name=f"recurrent_{index}", **policy)
            for index, units in enumerate(self.hidden_units)
        ]
        self.drop = Dropout(dropout, name="dropout", **policy)
        self.make_head(self.hidden_units[-1], beside=bool(self.beside))
        self.build()

    def read_query(self, inputs: Features, training: bool) -> list[Tensor]:
        """Return the state after the history, and the features of user and context."""
        if self.sequence:
            there = ops.not_equal(inputs[self.sequence.name], 0)
        else:  # an event has at least one of the numbers
            there = functools.reduce(
                ops.logical_or, [events(inputs[feature.name]) for feature in self.numbers]
            )
        position = newest_positions(there, self.max_length)
        real = ops.cast(position >= 0, "int32")
        steps = self._events(inputs, position)
        states = self._states(steps, ops.arange(steps.shape[1], dtype="int32")[None, :], training)
        query = [at_the_end(states, real) * ops.cast(real[:, :1], states.dtype)]
        return [*query, self.features(inputs, names=self.beside)] if self.beside else query

    def step_logits(self, inputs: Features, position: Tensor, training: bool = False) -> Tensor:
        """Return the logits at each step, given the events up to that step.

        Args:
            inputs: as from `kerasrec.data.next_labels`, `(batch, length) +` the shape of a feature.
            position: position of each step in its own sequence, `(batch, length)`, 0 at its start.
            training: whether to apply dropout.

        Returns:
            float32 `(batch, length)`, and `num_classes`; meaningless at padding.
        """
        query = [self._states(self._events(inputs), position, training)]
        if self.beside:
            query.append(self.features(inputs, names=self.beside))
        items = self.features(inputs, names=self.of_item) if self.of_item else None
        return self.head(query, items)

    def _events(self, inputs: Features, position: Tensor = None) -> Tensor:
        """Return x `(batch, length, width)` of the steps at some positions, 0 at padding."""
        parts = []
        if self.sequence:
            ids = ops.convert_to_tensor(inputs[self.sequence.name])
            ids = ids if position is None else take_steps(ids, position)
            rows = self.features.tables[self.schema.item_id.name](ids)
            parts.append(rows * ops.cast(ids != 0, rows.dtype)[..., None])
        for feature in self.numbers:
            values = ops.cast(scaled(inputs[feature.name], feature), self.compute_dtype)
            values = values if position is None else take_steps(values, position)
            parts.append(values if feature.size > 1 else values[..., None])
        return ops.concatenate(parts, axis=-1)

    def _states(self, steps: Tensor, position: Tensor, training: bool) -> Tensor:
        x = self.drop(steps, training=training)
        for layer in self.recurrent:
            x = self.drop(layer(x, position), training=training)
        return x

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {
            **super().get_config(),
            "embedding_dim": self.embedding_dim,
            "hidden_units": list(self.hidden_units),
            "cell": self.cell,
            "num_classes": self.num_classes,
            "target_aware": self.target_aware,
            "dropout": self.dropout,
            "stddev": self.stddev,
        }
