"""Training of vectors smoothed over a graph with a softmax over sampled items."""

from typing import Any

import keras

from kerasrec.data import pointwise, positives, without_labels
from kerasrec.training.sampled_softmax import SampledSoftmaxTrainer
from kerasrec.types import Columns, Features, GraphModel, Tensor


@keras.saving.register_keras_serializable("kerasrec")
class GraphSoftmaxTrainer(SampledSoftmaxTrainer):
    """`SampledSoftmaxTrainer` of a model that smooths its vectors over the graph of the rows.

    Each step smooths the trained vectors of all users and items once, however large the batch, and
    its gradient goes back the same way. Large batches are therefore faster. After each epoch,
    before validation, the model computes anew the tables that it scores by (`refresh`): what is
    validated, saved and exported is the same.

    Args:
        model: a model such as `LightGCN`, with its graph (`adapt`).
        negatives: number of items sampled for each batch, uniformly and with replacement.
        sampling_correction: whether the sampled items represent the whole catalogue.
        seed: seed of the sampling.

    Input shape:
        dict of the features of the model, with the item id `(batch,)`.

    Output shape:
        float32 logits `(batch,)`.

    Raises:
        ValueError: if the model has no graph to smooth over, or as in `SampledSoftmaxTrainer`. In
            `fit`, if the graph is empty.

    Example:

    >>> import numpy as np
    >>> from kerasrec.models import LightGCN
    >>> from kerasrec.schema import Categorical, Schema
    >>> schema = Schema(user=Categorical("user_id", 10), item=Categorical("item_id", 12))
    >>> columns = {"user_id": np.array([2, 3], "int32"), "item_id": np.array([4, 11], "int32")}
    >>> model = LightGCN(schema, embedding_dim=8)
    >>> model.adapt(columns)
    >>> trainer = GraphSoftmaxTrainer(model, negatives=4)
    >>> trainer.compile("adam")
    >>> history = trainer.fit(trainer.batches(columns, batch_size=2), verbose=0)
    >>> model.predict(columns, verbose=0).shape
    (2,)
    """

    def __init__(
        self,
        model: Any,
        *,
        negatives: int = 512,
        sampling_correction: bool = False,
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        if not isinstance(model, GraphModel):
            raise ValueError(
                "GraphSoftmaxTrainer: expected a model with adapt, trained_vectors and refresh; "
                f"received {type(model).__name__}. Train it with SampledSoftmaxTrainer."
            )
        super().__init__(
            model,
            negatives=negatives,
            sampling_correction=sampling_correction,
            seed=seed,
            **kwargs,
        )
        self._traced_graph: list[Any] = []

    def fit(self, *args: Any, **kwargs: Any) -> Any:
        """Train as a model; see `FitModel.fit`."""
        rows = self.model.user_rows
        if not rows.size:
            raise ValueError(
                f"GraphSoftmaxTrainer: {type(self.model).__name__} has an empty graph. Call "
                "model.adapt(columns) with the training rows first."
            )
        # Functions traced from an earlier graph would train on it.
        if self._traced_graph != [id(rows.ids)]:
            self.forget_functions()
            self._traced_graph = [id(rows.ids)]
        return super().fit(*args, **kwargs)

    def vectors(
        self, inputs: Features, drawn: Tensor, *, training: bool
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return vectors of the queries, of their items and of the sampled items."""
        if not training:
            return super().vectors(inputs, drawn, training=training)
        schema = self.model.schema
        ids = (inputs[feature.name] for feature in (schema.user_id, schema.item_id))
        query, own, others = self.model.trained_vectors(*ids, drawn)
        return query, own, others

    def epoch_logs(self, logs: Any) -> Any:
        """Refresh the model, and return the logs. Keras calls it before validation."""
        if self._fits:
            self.model.refresh()
        return super().epoch_logs(logs)

    def make_batches(self, columns: Columns, seen: Columns | None, **options: Any) -> Any:
        """Return batches of the positives. Training reads nothing but the ids."""
        if seen is not None:
            return super().make_batches(columns, seen, **options)
        del options["time"]
        schema = self.model.schema
        rows = positives(columns, schema)
        return without_labels(pointwise(rows, schema.only(), **options))
