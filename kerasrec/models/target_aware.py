"""Base class of models whose head compares the state of a query with the features of an item."""

from typing import Any

import keras
from keras import ops

from kerasrec.models.base import Recommender, align
from kerasrec.types import Features, Tensor


class TargetAwareRecommender(Recommender):
    """Base class of models with a hidden layer over a query, an item and a product of both.

        score = w . relu(W [h, c, v, (U h) * v] + b) + b'

    h is a state, c holds features beside it and v those of the item. A subclass creates `features`,
    the names `of_item`, calls `make_head()` and `build()`, and defines `read_query`.
    """

    features: Any
    of_item: list[str]
    num_classes: int | None

    def make_head(self, units: int, *, beside: bool) -> None:
        """Create `joined` and `toward_item`, where they are needed, and `output_layer`.

        Args:
            units: width of the hidden layer.
            beside: whether there is a c.
        """
        dense, policy = keras.layers.Dense, {"dtype": self.dtype_policy}
        if beside or self.of_item:
            self.joined = dense(units, "relu", name="joined", **policy)
        if self.of_item:
            width = self.features.width(self.of_item)
            self.toward_item = dense(width, use_bias=False, name="toward_item", **policy)
        self.output_layer = dense(self.num_classes or 1, name="output", **policy)

    def read_query(self, inputs: Features, training: bool) -> list[Tensor]:
        """Return h and, if there is one, c, `(batch, width)` each."""
        raise NotImplementedError(f"{type(self).__name__} does not define read_query.")

    def call(self, inputs: Features, training: bool = False) -> Tensor:
        """Return the logits of the items for the queries; without items, of the queries alone."""
        query = self.read_query(inputs, training)
        if not self.schema.item:
            return self.head(query, None)
        ids = ops.convert_to_tensor(inputs[self.schema.item_id.name])
        items = self.features(inputs, names=self.of_item) if self.of_item else ids[..., None]
        lead = items.shape[:-1] if None not in items.shape[:-1] else ops.shape(items)[:-1]
        query = [ops.broadcast_to(align(q, items), (*lead, q.shape[-1])) for q in query]
        return self.head(query, items)

    def head(self, query: list[Tensor], items: Tensor) -> Tensor:
        """Return the float32 logits of h and c with v, all with the same first axes."""
        x = query[0]
        if self.of_item:
            query = [*query, items, self.toward_item(x) * items]
        if len(query) > 1:
            x = self.joined(ops.concatenate(query, axis=-1))
        logits = ops.cast(self.output_layer(x), "float32")
        return logits if self.num_classes else ops.squeeze(logits, axis=-1)

    def item_part(self, inputs: Features) -> Tensor:
        """Return v, see `kerasrec.types.PartsRanker`.

        Return None if v is not used, there are several logits or a layer is quantized.
        """
        if not self.of_item or self.num_classes:
            return None
        layers = (self.joined, self.toward_item, self.output_layer)
        if any(getattr(layer, "quantization_mode", None) is not None for layer in layers):
            return None
        return self.features(inputs, names=self.of_item)

    def query_part(self, inputs: Features) -> Tensor:
        """Return [W [h, c] + b, U h]."""
        query = self.read_query(inputs, training=False)
        x = ops.concatenate(query, axis=-1)
        kernel, bias = (ops.cast(w, x.dtype) for w in (self.joined.kernel, self.joined.bias))
        x = ops.matmul(x, kernel[: x.shape[-1]]) + bias
        return ops.concatenate([x, self.toward_item(query[0])], axis=-1)

    def score_parts(self, query: Tensor, items: Tensor) -> Tensor:
        """Return the scores `(batch, items)`, by one matrix product for each query.

        W [v, (U h) * v] = (W_v + W_p diag(U h)) v
        """
        query, items = (ops.cast(part, self.compute_dtype) for part in (query, items))
        width, units = items.shape[-1], self.joined.units
        kernel = ops.cast(self.joined.kernel, self.compute_dtype)[-2 * width :]
        kernel = kernel[:width] + query[:, units:, None] * kernel[width:]  # (batch, width, units)
        x = ops.relu(ops.matmul(items, kernel) + query[:, None, :units])
        return ops.cast(ops.squeeze(self.output_layer(x), axis=-1), "float32")
