"""The file of the vocabularies, buckets and hashes that encode the columns of a model."""

import os
import pathlib
from collections.abc import Mapping
from typing import TypeAlias

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from kerasrec._files import new_file
from kerasrec.data.encoding.buckets import Buckets, HashBuckets
from kerasrec.data.encoding.vocabulary import Vocabulary
from kerasrec.data.tables.typed_files import open_parquet

Encoder: TypeAlias = Vocabulary | Buckets | HashBuckets

FILE_NAME = "vocabularies.parquet"
FILE_VERSION = "3"
"""2: buckets. 3: hashes, written for files that hold some, and 2 for others."""
_VERSION_KEY = b"kerasrec.vocabularies"
_FILE_SCHEMA = pa.schema(
    {
        "feature": pa.string(),
        "int64_id": pa.int64(),
        "string_id": pa.large_string(),
        "bound": pa.float32(),
        "count": pa.int64(),
    },
    metadata={_VERSION_KEY: "2"},
)
_HASHES = {"hash_of": pa.string(), "buckets": pa.int64(), "hashes": pa.int64()}
_COLUMNS = {"int64": "int64_id", "string": "string_id", "float32": "bound"}


def save_vocabularies(
    vocabularies: Mapping[str, Encoder], directory: str | os.PathLike[str]
) -> pathlib.Path:
    """Write all vocabularies to one Parquet file atomically.

    Args:
        vocabularies: vocabulary, or buckets of numbers, or hash buckets, by column name; none for
            a table of numbers alone.
        directory: folder for `vocabularies.parquet`; created if necessary.

    Returns:
        Path of the file.
    """
    parts = [_FILE_SCHEMA.empty_table()]
    for feature, vocabulary in vocabularies.items():
        if isinstance(vocabulary, HashBuckets):
            parts.append(_hash_row(feature, vocabulary))
            continue
        names = pa.array([feature] * len(vocabulary), pa.string())
        columns = {"feature": names, _COLUMNS[vocabulary.dtype]: vocabulary.to_table()["id"]}
        parts.append(pa.table({**columns, "count": vocabulary.counts}))
    table = pa.concat_tables(parts, promote_options="default")  # ids of the other type are null
    if "hashes" in table.column_names:
        table = table.replace_schema_metadata({_VERSION_KEY: FILE_VERSION})
    path = pathlib.Path(directory) / FILE_NAME
    with new_file(path) as temporary:
        pq.write_table(table, temporary, compression="zstd")
    return path


def load_vocabularies(directory: str | os.PathLike[str]) -> dict[str, Encoder]:
    """Read the file of `save_vocabularies`.

    Args:
        directory: the folder that holds `vocabularies.parquet`.

    Raises:
        ValueError: if the file is missing, is not such a file, or comes from a newer version.
    """
    path = pathlib.Path(directory) / FILE_NAME
    if not path.is_file():
        raise ValueError(
            f"load_vocabularies: there is no file {FILE_NAME} in {str(directory)!r}. Write it with "
            "save_vocabularies."
        )
    with open_parquet(path, "load_vocabularies") as file:
        table = file.read()
    version = (table.schema.metadata or {}).get(_VERSION_KEY, b"").decode()
    if version not in ("1", "2", FILE_VERSION):
        raise ValueError(
            f"load_vocabularies: this kerasrec reads versions 1 to {FILE_VERSION} of {FILE_NAME}; "
            f"received version {version or 'none'!r}. Write it again, or upgrade: "
            "pip install -U kerasrec."
        )
    vocabularies: dict[str, Encoder] = {}
    for feature in pc.unique(table["feature"]).to_pylist():
        part = table.filter(pc.equal(table["feature"], feature))
        if "hashes" in part.column_names and not part["hashes"].null_count:
            (row,) = part.select([*_HASHES, "count"]).to_pylist()
            vocabularies[feature] = HashBuckets(
                row["buckets"], row["hashes"], row["hash_of"], row["count"], feature
            )
            continue
        # The ids stand in the column of their type. Those of other types hold nulls.
        name = next(
            n for n in _COLUMNS.values() if n in part.column_names and not part[n].null_count
        )
        kind = Buckets if name == _COLUMNS["float32"] else Vocabulary
        ids = pa.table({"id": part[name], "count": part["count"]})
        vocabularies[feature] = kind.from_table(ids, feature)
    return vocabularies


def _hash_row(feature: str, hashes: HashBuckets) -> pa.Table:
    values = (feature, hashes.dtype, hashes.num_buckets, hashes.num_hashes, hashes.rows)
    columns = zip(("feature", *_HASHES, "count"), values, strict=True)
    types = {"feature": pa.string(), **_HASHES, "count": pa.int64()}
    return pa.table({name: pa.array([value], types[name]) for name, value in columns})
