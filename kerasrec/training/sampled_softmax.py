"""Training of retrievers with a softmax over sampled items shared by a batch."""

import math
from typing import Any

import keras
from keras import ops

from kerasrec.schema import FIRST_ID
from kerasrec.training.trainer import LOWEST, PositivesTrainer
from kerasrec.types import Features, Tensor


@keras.saving.register_keras_serializable("kerasrec")
class SampledSoftmaxTrainer(PositivesTrainer):
    """Trainer of a retriever: the positive of each row against shared sampled items.

        logit(u, i) = s(u, i) - log sum_j exp(s(u, j)),    j drawn anew for each batch
        loss = -log sigma(logit)

    The logit is the log odds of the positive in a softmax over it and the sampled items, so the
    loss is the cross-entropy of that softmax (Jean et al., 2015). The items are shared by the
    batch, so their scores are one matrix product: hundreds of negatives cost little more than the
    few of `with_negatives`. A sampled item equal to the row's own positive is masked. Items that
    the user has seen elsewhere are kept. Training samples anew for each batch, validation always
    uses the same items.

    That softmax gets easier with fewer items. With `sampling_correction` the sampled items stand
    for all N items of the catalogue:

        logit(u, i) = s(u, i) - log (N / n sum_j exp(s(u, j))),    n = negatives,

    The sum over the sampled items, scaled this way, is an unbiased estimate of the sum over all
    other items. The loss is then close to that of the full softmax for any n. This ranks the top of
    a large catalogue better. With few candidates, as in sampled protocols, the easier task is
    better.

    Every row is a positive, so the batches have no labels. By hand they are
    `without_labels(pointwise(positives(columns, schema), schema, batch_size=...))` of
    `kerasrec.data`. Sample weights multiply the losses of the rows.

    Args:
        model: a model with `query_embedding` and `item_embedding`.
        negatives: number of items sampled for each batch, uniformly and with replacement.
        sampling_correction: whether the sampled items represent the whole catalogue.
        seed: seed of the sampling.

    Input shape:
        dict of the features of the model, with the item id `(batch,)`.

    Output shape:
        float32 logits `(batch,)`.

    Raises:
        ValueError: if the model is not a retriever or uses item features other than the id, or
            `negatives` is not positive. In `fit`, if there are labels.

    Example:

    >>> import numpy as np
    >>> from kerasrec.models import MatrixFactorization
    >>> from kerasrec.schema import Categorical, Schema
    >>> schema = Schema(user=Categorical("user_id", 10), item=Categorical("item_id", 12))
    >>> model = MatrixFactorization(schema, embedding_dim=8)
    >>> trainer = SampledSoftmaxTrainer(model, negatives=4)
    >>> trainer.compile("adam")
    >>> columns = {"user_id": np.array([2, 3], "int32"), "item_id": np.array([4, 11], "int32")}
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
        super().__init__(model, negatives=negatives, seed=seed, **kwargs)
        self.sampling_correction = sampling_correction

    def call(self, inputs: Features, training: bool = False) -> Tensor:
        """Return the log odds of each row's item against the sampled items."""
        item = self.model.schema.item_id
        drawn = self.draw(training=training)
        query, own, others = self.vectors(inputs, drawn, training=training)
        positive = ops.sum(query * own, axis=-1)
        others = ops.matmul(query, ops.transpose(others))
        positive, others = ops.cast(positive, "float32"), ops.cast(others, "float32")
        ids = ops.cast(inputs[item.name], "int32")
        others = ops.where(ops.expand_dims(ids, 1) == drawn, LOWEST, others)
        rest = ops.logsumexp(others, axis=-1)
        if self.sampling_correction:
            rest += math.log((item.num_ids - FIRST_ID) / self.negatives)
        return positive - rest

    def vectors(
        self, inputs: Features, drawn: Tensor, *, training: bool
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return vectors of the queries, of their items and of the sampled items."""
        model, name = self.model, self.model.schema.item_id.name
        query, own = model.query_embedding(inputs), model.item_embedding(inputs)
        return query, own, model.item_embedding({name: drawn})

    def row_losses(self, y_pred: Tensor) -> Tensor:
        """Return the cross-entropies."""
        return ops.softplus(-y_pred)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {**super().get_config(), "sampling_correction": self.sampling_correction}
