"""Features of users and items in the served graph, found by encoded id."""

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from kerasrec.schema import Feature
from kerasrec.serving.spec import ExportSpec
from kerasrec.types import RAW_PADDING, Features, Tensor


class StoredFeatures:
    """Encoded features of all ids, as variables.

    Args:
        spec: specification of the export.
    """

    def __init__(self, spec: ExportSpec) -> None:
        self.schema = spec.schema
        self.tables = {
            id_name: {
                name: constant(f"{id_name}_{name}".replace(" ", "_"), column)
                for name, column in side.items()
            }
            for id_name, side in spec.stored.items()
        }

    @property
    def variables(self) -> list[tf.Variable]:
        """Return all variables."""
        return [variable for table in self.tables.values() for variable in table.values()]

    def complete(self, encoded: Features, features: Sequence[Feature]) -> dict[str, Tensor]:
        """Add the stored features to those of a request.

        Args:
            encoded: encoded features of the request, ids included.
            features: the features that are asked for.
        """
        asked = {feature.name for feature in features}
        found = dict(encoded)
        for id_name, table in self.tables.items():
            for name in asked & set(table):
                found[name] = tf.gather(table[name], encoded[id_name])
        return found

    def of_items(self, ids: Tensor) -> dict[str, Tensor]:
        """Return the id and the stored features of some items.

        Args:
            ids: encoded ids of any shape.
        """
        item = self.schema.item_id.name
        table = self.tables[item]
        return {item: ids, **{name: tf.gather(table[name], ids) for name in table}}


def where_missing(raw: Tensor, given: Tensor, stored: Tensor) -> Tensor:
    """Return the given values of a feature, and the stored ones in rows where nothing is given.

    Args:
        raw: raw values `(batch, ...)`, padding where something is missing.
        given: the same values, encoded.
        stored: stored values of the same rows.
    """
    padding = RAW_PADDING[raw.dtype.name]
    missing = tf.math.is_nan(raw) if raw.dtype.is_floating else raw == padding
    missing = tf.reduce_all(missing, axis=list(range(1, raw.shape.rank)))
    missing = tf.reshape(missing, [-1, *[1] * (given.shape.rank - 1)])  # of hashed values, too
    return tf.where(missing, stored, given)


def constant(name: str, value: Any) -> tf.Variable:
    """Store a constant as a variable, since a SavedModel limits constants to 2 GB."""
    return tf.Variable(value, trainable=False, name=name)
