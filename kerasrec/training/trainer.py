"""Base classes of trainers, which are fitted in place of a model and train its weights."""

from typing import Any, Self

import keras
import numpy as np
from keras import ops

from kerasrec._checks import check_integer
from kerasrec.data import pointwise, positives, without_labels
from kerasrec.data.encoding.columns import History
from kerasrec.schema import FIRST_ID
from kerasrec.training.fit_model import FitModel
from kerasrec.training.replicas import mean_over_replicas, with_share
from kerasrec.types import Columns, Retriever, Tensor

LOWEST = -1e9
"""Logit of a masked item, with softmax probability 0."""


class Trainer(FitModel):
    """Base class of trainers. A trainer owns its loss, and makes the batches that it takes.

    Compile a trainer with an optimizer only, fit it on its `batches`, then use the model inside:
    they share their weights. The loss is a mean over all replicas plus the regularisation losses of
    the model. A subclass defines `call`, `total_loss` and `make_batches`.

    Args:
        model: the model to train.

    Raises:
        ValueError: in `compile`, if there is a loss.
    """

    def __init__(self, model: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.model: Any = model
        # Ids and floats share one dict, so each layer casts its own inputs.
        self.autocast = False
        self.built = True

    def batches(
        self,
        columns: Columns,
        *,
        batch_size: int,
        seen: Columns | None = None,
        time: str | None = "",
        seed: int = 0,
    ) -> Any:
        """Return the batches that the trainer takes.

        Args:
            columns: encoded rows with the features and the label of the model's schema.
            batch_size: rows of a batch, over all replicas of a distribution strategy.
            seen: None for training batches, in a new order in each epoch. For validation batches,
                which are always the same, the rows before them: the training rows.
            time: name of the time column, where the order of the rows matters; "" for that of the
                schema, or "timestamp" if it names none. None if the rows of each user are in order
                already.
            seed: seed of the order.

        Raises:
            ValueError: if the columns do not fit the schema.
        """
        options: dict[str, Any] = {"batch_size": batch_size, "time": time, "seed": seed}
        return self.make_batches(columns, seen, shuffle=seen is None, **options)

    def make_batches(self, columns: Columns, seen: Columns | None, **options: Any) -> Any:
        """Return `batches`, from options of the functions of `kerasrec.data` that make them."""
        raise NotImplementedError

    def total_loss(
        self, x: Any, y: Tensor, y_pred: Tensor, sample_weight: Tensor, training: bool
    ) -> tuple[Tensor, Tensor]:
        """Return the sum of the losses of a batch, and what to divide it by for their mean."""
        raise NotImplementedError

    def compile(
        self, optimizer: Any = "rmsprop", loss: Any = None, *args: Any, **kwargs: Any
    ) -> None:
        """Compile as a model, but without a loss: the trainer has its own."""
        if loss is not None:
            raise ValueError(
                f"{type(self).__name__}: the trainer has its own loss; received loss={loss!r}. "
                "Leave it out: compile(optimizer)."
            )
        super().compile(optimizer, None, *args, **kwargs)

    def compute_loss(
        self,
        x: Any = None,
        y: Tensor = None,
        y_pred: Tensor = None,
        sample_weight: Tensor = None,
        training: bool = True,
    ) -> Tensor:
        """Return the mean of `total_loss` over all replicas, plus the regularisation losses."""
        # Collected before replicas take turns: the losses of a layer are those of the current
        # replica.
        penalty = self._penalty(self.model.losses)
        total, count = self.total_loss(x, y, y_pred, sample_weight, training)
        return mean_over_replicas(total, count) + with_share(penalty, ops.shape(y_pred)[0])

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments. Subclasses add their own."""
        return {**super().get_config(), "model": keras.saving.serialize_keras_object(self.model)}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Self:
        """Create a trainer of a new model."""
        config = dict(config)
        config.pop("trainable", None)
        model = keras.saving.deserialize_keras_object(config.pop("model"), custom_objects)
        return cls(model, **config)


class SamplingTrainer(Trainer):
    """Base class of trainers of a retriever, with the item id alone, against sampled items."""

    def __init__(self, model: Any, *, negatives: int, seed: int, **kwargs: Any) -> None:
        name = type(self).__name__
        if not isinstance(model, Retriever):
            raise ValueError(
                f"{name}: expected a model with query_embedding and item_embedding; received "
                f"{type(model).__name__}. Train other models on `shared_negatives`."
            )
        if len(model.schema.item) > 1:
            raise ValueError(
                f"{name}: sampled items have no feature but the id, and this model uses "
                f"{[feature.name for feature in model.schema.item]}. Train it on "
                "`shared_negatives` with items=, the features by encoded id."
            )
        check_integer(self, "negatives", negatives, 1)
        super().__init__(model, **kwargs)
        self.negatives = negatives
        self.seed = seed
        self.draws = keras.random.SeedGenerator(seed)

    def draw(self, *rows: Any, training: bool) -> Tensor:
        """Sample items uniformly with replacement, int32 `(*rows, negatives)`.

        Each call in training samples anew. In validation all calls return the same items, so that
        the losses of two epochs differ only because of the weights.
        """
        item = self.model.schema.item_id
        shape = (*rows, self.negatives)
        seed = self.draws if training else self.seed
        return keras.random.randint(shape, FIRST_ID, item.num_ids, dtype="int32", seed=seed)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments. Subclasses add their own."""
        return {**super().get_config(), "negatives": self.negatives, "seed": self.seed}


class PositivesTrainer(SamplingTrainer):
    """Base class of trainers on rows that all are positives, so that batches have no labels."""

    def row_losses(self, y_pred: Tensor) -> Tensor:
        """Return the loss of each row, `(batch,)`, from what `call` returns."""
        return y_pred

    def total_loss(
        self, x: Any, y: Tensor, y_pred: Tensor, sample_weight: Tensor, training: bool
    ) -> tuple[Tensor, Tensor]:
        """Return the sum of the losses of the rows, and their number."""
        if any(part is not None for part in keras.tree.flatten(y)):
            raise ValueError(
                f"{type(self).__name__}: every row is a positive, so labels would be ignored; "
                "received some. Fit it on trainer.batches(columns, batch_size=...), or on batches "
                "of kerasrec.data.positives through kerasrec.data.without_labels."
            )
        losses = self.row_losses(y_pred)
        if sample_weight is not None:
            losses *= ops.reshape(ops.cast(sample_weight, "float32"), (-1,))
        return ops.sum(losses), ops.cast(ops.shape(y_pred)[0], "float32")

    def make_batches(self, columns: Columns, seen: Columns | None, **options: Any) -> Any:
        """Return batches of the positives, in which the order of rows by time has no part."""
        del options["time"]
        schema = self.model.schema
        return without_labels(pointwise(positives(columns, schema), schema, **options))


def rows_after(seen: Columns, columns: Columns, user: str) -> dict[str, np.ndarray]:
    """Return rows after the earlier rows of the same users. Histories are made anew."""
    theirs = np.isin(seen[user], columns[user])
    names = [name for name, values in seen.items() if not isinstance(values, History)]
    return {name: np.concatenate([seen[name][theirs], columns[name]]) for name in names}
