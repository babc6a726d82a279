"""Layer that keeps the features of all items, by which a history of ids is read."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeGuard

import keras
import numpy as np
from keras import ops

from kerasrec.layers.feature_embedding import FeatureEmbedding, feature_numbers
from kerasrec.schema import BagWeights, Feature, Numeric, Schema
from kerasrec.types import Columns, Tensor

WHOLE_TABLE = 100_000
"""Items up to which a call embeds the features of all of them once, and not of each event."""


@keras.saving.register_keras_serializable("kerasrec")
class ItemFeatures(keras.layers.Layer):
    """Features of all items by encoded id, kept beside the weights of a model and not trained.

    A history holds ids alone; this says what the items are. Ids are kept as they are, numbers as
    models read them: scaled, with the gaps told, see `kerasrec.layers.FeatureEmbedding`. Until
    `assign`, all of them are missing.

    Args:
        schema: the features, or the dict made from it.
        names: names of the features of items to keep, without the item id.
        **kwargs: as for `keras.layers.Layer`.

    Call arguments:
        inputs: integer item ids of any shape.
        embedding: embeds the features; its tables are those of the model.

    Output shape:
        `inputs.shape + (embedding.width(names),)`.

    Raises:
        ValueError: if a name is no feature of the items, is the item id or stands there twice.

    Example:

    >>> from kerasrec.schema import Bag, Categorical, Numeric
    >>> item = Categorical("item", 4), Bag("genres", 9, max_length=2), Numeric("price", mean=5.0)
    >>> schema = Schema(item=item)
    >>> layer = ItemFeatures(schema, ["genres", "price"])
    >>> prices = np.array([np.nan, np.nan, 3.0, 9.0])
    >>> layer.assign({"genres": np.array([[0, 0], [1, 0], [5, 8], [3, 0]]), "price": prices})
    >>> rows = layer(np.array([[3, 2, 0]]), embedding=FeatureEmbedding(schema, embedding_dim=8))
    >>> rows.shape, rows[0, :, -1].numpy().tolist()
    (TensorShape([1, 3, 9]), [4.0, -2.0, 0.0])
    """

    built: bool

    def __init__(
        self, schema: Schema | Mapping[str, Any], names: Sequence[str], **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.schema = schema if isinstance(schema, Schema) else Schema.from_dict(schema)
        self.names = list(names)
        self.autocast = False
        known = {f.name: f for f in self.schema.item if f.name != self.schema.item_id.name}
        alone = [name for name in names if name in known and isinstance(known[name], BagWeights)]
        if alone:
            raise ValueError(
                f"ItemFeatures: {alone} are weights, which are read with their bag; received "
                f"{self.names}. Leave them out."
            )
        wrong = [name for name in self.names if name not in known]
        if wrong or len(set(self.names)) < len(self.names):
            raise ValueError(
                "ItemFeatures: expected names of features of the items, each once, among "
                f"{list(known)}; received {self.names}. Leave out {wrong or 'what is there twice'}."
            )
        weights = [self.schema.weights_of(name) for name in self.names]
        read = dict.fromkeys([*self.names, *(name for name in weights if name is not None)])
        self.features: list[Feature] = [known[name] for name in read]
        self.build()

    def build(self, input_shape: Any = None) -> None:
        """Create the weights, whose shapes depend on the schema alone."""
        if self.built:
            return
        num_items = self.schema.item_id.num_ids
        self.kept: dict[str, Any] = {}
        for feature in self.features:
            numbers = isinstance(feature, Numeric)
            shape = (feature.width,) if _is_numbers(feature) else feature.shape
            missing: Any = "zeros" if _is_numbers(feature) else "ones"
            if not numbers:
                missing = keras.initializers.Constant(feature.missing_id)
            self.kept[feature.name] = self.add_weight(
                shape=(num_items, *shape),
                dtype="float32" if numbers else "int32",
                initializer=missing,
                trainable=False,
                autocast=False,
                name=feature.name,
            )
        self.built = True

    def assign(self, items: Columns) -> None:
        """Replace the features of all items.

        Args:
            items: encoded features by name, one row for each encoded id, such as `ready.items`.

        Raises:
            ValueError: if a feature is missing or has another shape.
        """
        num_items = self.schema.item_id.num_ids
        names = [feature.name for feature in self.features]
        if missing := [name for name in names if name not in items]:
            raise ValueError(
                f"ItemFeatures: expected the features {names} of all items; received "
                f"{sorted(items)}, without {missing}. Pass ready.items of data that were prepared "
                "with a table of the items, or leave the names out."
            )
        for feature in self.features:
            values = np.asarray(items[feature.name])
            expected = (num_items, *feature.shape)
            if values.shape != expected:
                raise ValueError(
                    f"ItemFeatures: expected {feature.name!r} of shape {expected}, one row for "
                    f"each encoded id, padding and unknown included; received {values.shape}."
                )
            if _is_numbers(feature):
                values = feature_numbers(values, feature, "float32")
            elif isinstance(feature, BagWeights):  # a missing weight is 1
                values = np.where(np.isnan(values), 1.0, values)
            self.kept[feature.name].assign(values)

    def call(self, inputs: Tensor, embedding: FeatureEmbedding) -> Tensor:
        """Return the embedded features of the items, one after the other."""
        # The histories of a batch hold an item many times.
        whole = self.schema.item_id.num_ids <= WHOLE_TABLE
        vectors, rows = [], {}
        for feature in self.features:
            kept = ops.convert_to_tensor(self.kept[feature.name])
            rows[feature.name] = kept if whole else ops.take(kept, inputs, axis=0)
        for feature in self.features:
            if isinstance(feature, BagWeights):
                continue
            kept = rows[feature.name]
            if not isinstance(feature, Numeric):
                kept = embedding(rows, names=[feature.name])
            vectors.append(ops.cast(kept, embedding.compute_dtype))
        found = ops.concatenate(vectors, axis=-1)
        return ops.take(found, inputs, axis=0) if whole else found

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {**super().get_config(), "schema": self.schema.to_dict(), "names": self.names}


def _is_numbers(feature: Feature) -> TypeGuard[Numeric]:
    """Return whether a model reads a feature as numbers: not as ids, nor as weights of ids."""
    return isinstance(feature, Numeric) and not isinstance(feature, BagWeights)
