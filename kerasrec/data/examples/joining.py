"""Columns of other tables, joined to examples by a key: vectors of items, facts about shops."""

import os
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from kerasrec.data.encoding.scalers import check_weights
from kerasrec.data.encoding.side_features import fill_column
from kerasrec.data.encoding.vocabulary import KeyedTable, Vocabulary
from kerasrec.data.encoding.vocabulary_file import Encoder
from kerasrec.data.examples.dates import encode_dates
from kerasrec.data.tables.aliases import nearest
from kerasrec.data.tables.arrow import (
    ArrowColumn,
    columns_of,
    distinct_ids,
    joined,
    to_arrow,
    to_ids,
)
from kerasrec.data.tables.table_file import FileForm, TableFile
from kerasrec.schema import FIRST_ID, Date, Schema


def with_tables(
    columns: Mapping[str, Any], tables: Mapping[str, Any], owner: str = "Examples"
) -> tuple[dict[str, Any], dict[str, pa.Table]]:
    """Return columns of rows and, behind them, those of other tables by keys, and these tables.

    A column whose name is taken gets the name of the key in front. Rows whose key has no row in the
    table, or that have no key, lack its values.

    Args:
        columns: columns of the rows.
        tables: table, or path of its file, by the name of the column of keys, which the table has
            too, each key once.
        owner: start of the error message.

    Returns:
        All columns, and the tables by key, with their columns named as there.

    Raises:
        ValueError: if a column of keys does not exist or holds no ids, keys repeat, are missing or
            of another type in the table, no row has one of its keys, or there is nothing to join.

    Example:

    >>> rows = {"shop": ["b", "a", "c"], "size": [1, 2, 3]}
    >>> found, tables = with_tables(rows, {"shop": {"shop": ["a", "b"], "size": [9, 8]}})
    >>> list(found), found["shop_size"].to_pylist()
    (['shop', 'size', 'shop_size'], [8, 9, None])
    >>> tables["shop"].column_names
    ['shop', 'shop_size']
    """
    if not isinstance(tables, Mapping):
        raise ValueError(
            f"{owner}: tables needs a dict of tables or paths by the column of their keys; "
            f"received {tables!r:.80}. Write tables={{'item_id': 'vectors.parquet'}}."
        )
    found, kept = dict(columns), {}
    for key, source in tables.items():
        if key not in columns:
            raise ValueError(
                f"{owner}: tables[{key!r}] is joined by a column {key!r} of the rows; received "
                f"{list(columns)}. Name the column of keys.{nearest(str(key), columns)}"
            )
        known = _plain(to_ids(columns[key], f"{owner}: column {key!r}"))
        what = f"{owner}: tables[{key!r}]"
        table = _read(what, key, known, source)
        places = pc.index_in(known, value_set=_keys(what, key, known, table), skip_nulls=True)
        if places.null_count == len(places):
            raise ValueError(
                f"{what}: no row has a key of this table; the rows have such as "
                f"{known.drop_null()[:3].to_pylist()}, the table {table[key][:3].to_pylist()}. "
                "Pass the table of these keys."
            )
        names = {key: key}
        for name in table.column_names:
            if name == key:
                continue
            given = name if name not in found else f"{key}_{name}"
            if given in found:
                raise ValueError(
                    f"{what}: columns need different names; received {name!r} and {given!r} twice. "
                    "Rename one of them."
                )
            found[given] = table[name].combine_chunks().take(places)
            names[name] = given
        kept[key] = table.rename_columns([names[name] for name in table.column_names])
    return found, kept


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
        check_weights(schema, columns, f"the table of {key!r}")
        found[key] = KeyedTable(keys, columns)
    return found


def _read(what: str, key: str, known: ArrowColumn, source: Any) -> pa.Table:
    """Return a table, of a file with keys typed as in the rows."""
    if isinstance(source, str | os.PathLike):
        form = FileForm(id_type="integer" if pa.types.is_integer(known.type) else "string")
        file = TableFile.open(source, form)
        raw, kinds = file.read(), {key: "item"}
        made = {n: file.typed(raw[n], kinds.get(n, "any"), n) for n in raw.column_names}
    else:
        made = {n: to_arrow(v, f"{what}: column {n!r}") for n, v in columns_of(source).items()}
    if key not in made or len(made) < 2:
        raise ValueError(
            f"{what}: expected a column {key!r}, as in the rows, and another one; received "
            f"{list(made)}. Rename the column of keys, or leave the table out."
        )
    return joined(made, what)


def _keys(what: str, key: str, known: ArrowColumn, table: pa.Table) -> ArrowColumn:
    """Return the keys of a table, each of which has one row."""
    keys = to_ids(table[key], f"{what}: column {key!r}")
    if keys.null_count:
        raise ValueError(
            f"{what}: every row needs its key; {keys.null_count} of {len(keys)} lack {key!r}. Drop "
            "these rows or fill them in."
        )
    distinct, positions = distinct_ids(keys)
    if len(distinct) < len(keys):
        counts = np.bincount(positions)
        first = distinct[int(np.argmax(counts > 1))].as_py()
        raise ValueError(
            f"{what}: every key must have one row; {np.count_nonzero(counts > 1)} of "
            f"{len(distinct)} have several, such as {first!r}. Join their rows to one."
        )
    keys = _plain(keys)
    if keys.type != known.type:
        raise ValueError(
            f"{what}: column {key!r} holds {keys.type}, such as {keys[0].as_py()!r}; that of the "
            f"rows holds {known.type}, such as {known.drop_null()[:1].to_pylist()}. Cast one of "
            "the two."
        )
    return keys


def _plain(ids: ArrowColumn) -> ArrowColumn:
    """Return ids as one array of int64 or large_string."""
    ids = ids.combine_chunks() if isinstance(ids, pa.ChunkedArray) else ids
    return ids.cast(pa.large_string()) if pa.types.is_dictionary(ids.type) else ids
