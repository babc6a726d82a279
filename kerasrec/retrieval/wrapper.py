"""What the wrappers share that train a retriever against drawn items."""

from typing import Any

import keras

from kerasrec._checks import check_integer
from kerasrec.schema import FIRST_ID
from kerasrec.training import Wrapper
from kerasrec.types import Retriever, Tensor

LOWEST = -1e9
"""A logit that no softmax gives a share."""


class RetrieverTrainer(Wrapper):
    """Base of a wrapper that is fitted in place of the model inside, whose weights it trains.

    Args:
        model: a model with `query_embedding` and `item_embedding`, whose items are known by their
            id alone.
        negatives: items that `draw` draws.
        seed: of the drawn items.
        **kwargs: as for `keras.Model`.

    Raises:
        ValueError: if the model is no retriever or reads item features beside the id, or
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
                f"{name}: drawn items are known by their id alone, and this model reads "
                f"{[feature.name for feature in model.schema.item]}. Train it on "
                "`shared_negatives` with item_columns."
            )
        check_integer(self, "negatives", negatives, 1)
        super().__init__(model, **kwargs)
        self.negatives = negatives
        self.seed = seed
        self.draws = keras.random.SeedGenerator(seed)

    def draw(self, *rows: Any, training: bool) -> Tensor:
        """Items drawn uniformly with replacement, int32 `(*rows, negatives)`.

        Args:
            *rows: shape before that of the items of one draw.
            training: whether each call draws anew; in validation all draw the same, so that the
                losses of two epochs differ by the weights alone.
        """
        item = self.model.schema.item_id
        shape = (*rows, self.negatives)
        seed = self.draws if training else self.seed
        return keras.random.randint(shape, FIRST_ID, item.num_ids, dtype="int32", seed=seed)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments; a subclass adds its own."""
        return {
            **super().get_config(),
            "negatives": self.negatives,
            "seed": self.seed,
        }
