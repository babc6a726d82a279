"""Mult-DAE: a denoising autoencoder with a multinomial likelihood."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from kerasrec._checks import check_integer
from kerasrec.models.autoencoders.base import AutoencoderRecommender
from kerasrec.schema import Schema
from kerasrec.types import Tensor


@keras.saving.register_keras_serializable("kerasrec")
class MultDAE(AutoencoderRecommender):
    """Denoising autoencoder over the items of a user, with a multinomial likelihood.

        z_u = f(x_u)                              x_u: 1 at the items of the user, 0 elsewhere
        score(u, i) = <h(z_u), q_i> + b_i

    f and h are layers of tanh units: of x_u, scaled to length 1, and of z_u. The loss of a user is

        - sum over its items of log softmax(score(u, .))_i

    with `dropout` of the items hidden from the input (Liang et al., 2018, "Variational Autoencoders
    for Collaborative Filtering"). It is `MultVAE` without a distribution of z. The defaults are
    those of the paper: one hidden layer, which is z.

    Where the items of a user come from, see `ProfileRecommender`: from training by user id, or,
    with a sequence of the item id in the schema, from any history. `similar_items` compares items
    by [q_i, b_i], their columns of the decoder.

    Args:
        schema: names and sizes of the features; only the user id, the item id and a history of it
            are used.
        embedding_dim: length of z_u.
        hidden_units: widths of the layers before z_u; those after it are the same in reverse.
        dropout: fraction of the items of a user that are dropped in training.
        l2: weight of the squares of all weights but the biases.

    Input shape:
        dict with the user id `(batch,)`, or a history `(batch, length)` instead, and the item id
        `(batch,)` or `(batch, candidates)`, int32.

    Output shape:
        float32 scores `(batch,)` or `(batch, candidates)`.

    Raises:
        ValueError: if an input is missing, a size is not positive, `l2` is negative, or `dropout`
            is no share below 1.

    Example:

    >>> import numpy as np
    >>> from kerasrec.schema import Categorical, Schema
    >>> from kerasrec.training import AutoencoderTrainer
    >>> schema = Schema(user=Categorical("user_id", 5), item=Categorical("item_id", 6))
    >>> model = MultDAE(schema, embedding_dim=2)
    >>> columns = {"user_id": np.array([2, 2, 3, 4]), "item_id": np.array([2, 3, 2, 4])}
    >>> trainer = AutoencoderTrainer(model)
    >>> trainer.compile("adam")
    >>> history = trainer.fit(trainer.batches(columns, batch_size=2), verbose=0)
    >>> model.predict({"user_id": np.array([3, 3]), "item_id": np.array([3, 4])}, verbose=0).shape
    (2,)
    """

    def __init__(
        self,
        schema: Schema,
        *,
        embedding_dim: int = 200,
        hidden_units: Sequence[int] = (),
        dropout: float = 0.5,
        l2: float = 2e-5,
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(
            schema, embedding_dim=embedding_dim, dropout=dropout, l2=l2, name=name, dtype=dtype
        )
        self.hidden_units = tuple(hidden_units)
        for units in self.hidden_units:
            check_integer(self, "each of hidden_units", units, 1)
        widths = (*self.hidden_units, embedding_dim)
        self.make_profile(widths[0])
        self.make_items(widths[0])
        after = (*widths[1:], *reversed(self.hidden_units))
        self.layers_after = [
            self.dense(units, f"hidden_{at}", "tanh") for at, units in enumerate(after, 1)
        ]
        self.build()

    def represent(
        self, items: Tensor, training: bool, *, draw: bool = False
    ) -> tuple[Tensor, Tensor | None]:
        """Return h. Nothing is drawn but the items that are dropped."""
        hidden = ops.tanh(self.read_profile(items, training))
        for layer in self.layers_after:
            hidden = layer(hidden)
        return hidden, None

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {**super().get_config(), "hidden_units": self.hidden_units}
