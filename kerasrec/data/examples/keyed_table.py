"""Columns of joined tables by key, encoded for a model, so that an export finds them itself."""

import dataclasses
from collections.abc import Mapping

import numpy as np
import pyarrow as pa

from kerasrec.data.encoding.side_features import fill_column
from kerasrec.data.encoding.vocabulary import Vocabulary
from kerasrec.data.encoding.vocabulary_file import Encoder
from kerasrec.data.examples.dates import encode_dates
from kerasrec.schema import FIRST_ID, Date, Schema


@dataclasses.dataclass(frozen=True, eq=False)
class KeyedTable:
    """Encoded columns of a table that rows were joined to by a key.

    Args:
        keys: the keys of the table, whether or not a training row has them.
        columns: encoded values `(keys.num_ids, ...)` by feature, in the order of the keys' ids.
            Those of an unknown or missing key are missing.

    Raises:
        ValueError: if a column has another number of rows.

    Example:

    >>> keys = Vocabulary.fit(["a", "b"], name="shop")
    >>> table = KeyedTable(keys, {"size": np.float32([np.nan, np.nan, 9, 8])})
    >>> table.columns["size"][keys.encode(["b", "z"])].tolist()
    [8.0, nan]
    """

    keys: Vocabulary
    columns: Mapping[str, np.ndarray]

    def __post_init__(self) -> None:
        for name, column in self.columns.items():
            if len(column) != self.keys.num_ids:
                raise ValueError(
                    f"KeyedTable {self.keys.name!r}: column {name!r} needs a row for each of "
                    f"{self.keys.num_ids} ids, padding and the unknown key included; received "
                    f"{len(column)}."
                )


def keyed_tables(
    tables: Mapping[str, pa.Table], schema: Schema, encoders: Mapping[str, Encoder]
) -> dict[str, KeyedTable]:
    """Encode the columns of joined tables that are features.

    Args:
        tables: table by the name of its column of keys, each key once.
        schema: the features.
        encoders: vocabularies, buckets and hash buckets by feature.

    Returns:
        Table by key, without those of which no column is a feature.
    """
    found = {}
    for key, table in tables.items():
        features = [f for f in schema.features if f.name != key and f.name in table.column_names]
        if not features:
            continue
        keys = Vocabulary.fit(table[key], name=key)
        places = np.arange(len(table)) + FIRST_ID  # ids are in the order of the rows
        columns = {}
        for feature in features:
            missing: float = feature.missing_id if feature.has_ids else np.nan
            out = np.full((keys.num_ids, *feature.shape), missing, feature.dtype)
            if isinstance(feature, Date):
                out[places] = encode_dates(feature.name, table[feature.name])
            else:
                fill_column(out, feature, table[feature.name], places, encoders)
            columns[feature.name] = out
        found[key] = KeyedTable(keys, columns)
    return found
