"""Base class of models that score items for a set of items, the profile of a user."""

from typing import Any

import numpy as np
from keras import ops

from kerasrec.data.encoding.positive_ids import known_positives
from kerasrec.layers.histories import newest
from kerasrec.layers.id_rows import IdRows
from kerasrec.models.base import Recommender
from kerasrec.schema import FIRST_ID, Schema
from kerasrec.types import Columns, Features, Tensor


class ProfileRecommender(Recommender):
    """Base class of models that score items for a set of items.

        score(u, i) = f(x_u)_i             x_u: 1 at the items of the user, 0 elsewhere

    The schema decides where x_u comes from. If it has a sequence of the item id on the query side,
    x_u are the newest `max_length` items of it: users who were not there in training are served
    from their history, and nothing is looked up by the user id. Otherwise x_u is the user's
    positive training rows, which the model keeps. A subclass creates its weights, calls `build()`,
    and defines `call`.

    Args:
        schema: the features; only the user id, the item id and a history of it are used.
        name: name of the model.
        dtype: dtype or dtype policy.
    """

    def __init__(self, schema: Schema, *, name: str | None = None, dtype: Any = None) -> None:
        super().__init__(schema, name=name, dtype=dtype)
        known_by = (*self.schema.item_histories, self.schema.user_id)[0].name
        self.known_by: str | tuple[str, ...] = known_by
        self.user_rows = self._make_rows()

    @classmethod
    def narrow(cls, schema: Schema) -> Schema:
        """Return the schema of the ids and the first history of items."""
        return schema.only(feature.name for feature in schema.item_histories[:1])

    def _make_rows(self) -> IdRows | None:
        """Return the layer that keeps the training rows of the users; None if nothing reads it."""
        if self.schema.item_histories:
            return None
        return IdRows(self.schema.user_id.num_ids, name="user_rows")

    def keep_rows(self, columns: Columns) -> None:
        """Keep the positive training rows of the users, replacing any earlier ones.

        A model of histories keeps nothing.

        Args:
            columns: see `known_positives`.

        Raises:
            ValueError: as in `known_positives`.
        """
        self._assign_rows(*self.known_positives("keep_rows", columns))

    def known_positives(self, method: str, columns: Columns) -> tuple[np.ndarray, np.ndarray]:
        """Return the users and the items of the positive rows in which both are known.

        Args:
            method: name of the method that asks, for error messages.
            columns: dict with the user id and the item id `(rows,)` and, if there is one, the
                label, as made by `kerasrec.data.encode`. Only positives count; without a label,
                every row is one.

        Raises:
            ValueError: if a column is missing, holds ids outside the schema or has another length,
                or no row is a positive with a known user and a known item.
        """
        return known_positives(f"{type(self).__name__}.{method}", self.schema, columns)

    def _assign_rows(self, users: np.ndarray, items: np.ndarray) -> None:
        """Keep rows, if anything reads them."""
        if self.user_rows is not None:
            self.user_rows.assign(users, items)
        # Compiled functions hold the weights that were replaced.
        self.forget_functions()

    # Not named `history`, since `fit` sets that attribute.
    def items_of(self, inputs: Features) -> Tensor:
        """Return the items of each query, each once.

        Args:
            inputs: dict of the query features.

        Returns:
            int32 ids `(batch, width)`, with 0 at padding, unknown and repeated items.
        """
        if self.user_rows is not None and self.known_by == self.schema.user_id.name:
            return self.user_rows(inputs[self.schema.user_id.name])
        (feature, *_) = self.schema.item_histories
        ids = ops.sort(newest(inputs[feature.name], feature.max_length), axis=1)
        before = ops.pad(ids, [[0, 0], [1, 0]])[:, :-1]
        return ops.where((ids >= FIRST_ID) & (ids != before), ids, 0)

    def profile(self, inputs: Features) -> Tensor:
        """Return x_u of each query, float32 `(batch, item ids)`."""
        history = self.items_of(inputs)
        shape = (ops.shape(history)[0], self.schema.item_id.num_ids)
        rows = ops.broadcast_to(ops.arange(shape[0], dtype="int32")[:, None], ops.shape(history))
        places = ops.reshape(ops.stack([rows, history], axis=-1), (-1, 2))
        ones = ops.cast(ops.reshape(history, (-1,)) != 0, "float32")
        return ops.scatter_update(ops.zeros(shape, "float32"), places, ones)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments, and the sizes of what the model keeps."""
        if self.user_rows is None:
            return super().get_config()
        sizes = {"size": self.user_rows.size, "longest": self.user_rows.longest}
        return {**super().get_config(), "user_rows": sizes}

    @classmethod
    def from_config(
        cls, config: dict[str, Any], custom_objects: Any = None
    ) -> "ProfileRecommender":
        """Create a model with weights of the shapes of the saved one."""
        config = dict(config)
        sizes = config.pop("user_rows", {})
        model: Any = super().from_config(config, custom_objects)
        if sizes:
            model.user_rows.resize(**sizes)
        return model
