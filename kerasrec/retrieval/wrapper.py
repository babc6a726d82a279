"""Base class of wrappers that train a retriever against sampled items."""

from typing import Any

import keras

from kerasrec._checks import check_integer
from kerasrec.schema import FIRST_ID
from kerasrec.training import Wrapper
from kerasrec.types import Retriever, Tensor

LOWEST = -1e9
"""Logit of a masked item, with softmax probability 0."""


class RetrieverTrainer(Wrapper):
    """Base class of wrappers that are fitted in place of a retriever and train its weights.

    Args:
        model: a model with `query_embedding` and `item_embedding`, whose only item feature is the
            id.
        negatives: number of items that `draw` returns.
        seed: seed of the sampling.
        **kwargs: as for `keras.Model`.

    Raises:
        ValueError: if the model is not a retriever or uses item features other than the id, or
            `negatives` is not positive.
    """

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
                "`shared_negatives` with item_columns."
            )
        check_integer(self, "negatives", negatives, 1)
        super().__init__(model, **kwargs)
        self.negatives = negatives
        self.seed = seed
        self.draws = keras.random.SeedGenerator(seed)

    def draw(self, *rows: Any, training: bool) -> Tensor:
        """Sample items uniformly with replacement, int32 `(*rows, negatives)`.

        Args:
            *rows: leading shape, before the axis of the items.
            training: whether each call samples anew. In validation all calls return the same items,
                so that the losses of two epochs differ only because of the weights.
        """
        item = self.model.schema.item_id
        shape = (*rows, self.negatives)
        seed = self.draws if training else self.seed
        return keras.random.randint(shape, FIRST_ID, item.num_ids, dtype="int32", seed=seed)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments. Subclasses add their own."""
        return {
            **super().get_config(),
            "negatives": self.negatives,
            "seed": self.seed,
        }
