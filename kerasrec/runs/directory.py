"""Run directories, as `fit` writes them.

| file | holds |
|---|---|
| `model.keras` | the model |
| `schema.json` | its schema |
| `vocabularies.parquet` | raw ids of the training rows |
| `config.yaml` | the flags of `kerasrec fit`, to repeat it |
| `split.json` | rows and checksum of each part, to recognise them |
| `history.json` | losses by epoch |
| `metrics.json` | metrics on the test rows |
| `seen.parquet` | encoded users and items of all rows, the newest of each user last; not there if
the rows have no users and items |

`users.parquet` and `items.parquet` are there if the model reads features of users or items: their
encoded values, one row for each encoded id. `tables/` is there if it reads columns of tables that
were joined by a key: `vocabularies.parquet` of the keys, and `0.parquet` and so on with the encoded
values by key, in the order of the vocabularies. `titles.parquet` is there if the data set names its
items. `run.json`, `queries.parquet` and, of predicted clicks, `predictions.parquet` are for
`kerasrec report`, see `records`. Older runs lack these, and only the report needs them.
"""

import dataclasses
import functools
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml

import kerasrec
from kerasrec._files import new_folder
from kerasrec.runs.records import Records
from kerasrec.schema import Schema

if TYPE_CHECKING:  # at run time, only what reads it pays for its import
    import pyarrow as pa

    from kerasrec.data import KeyedTable, PreparedData, PreparedExamples

FILES = (
    "model.keras",
    "schema.json",
    "vocabularies.parquet",
    "config.yaml",
    "split.json",
    "history.json",
    "metrics.json",
)
SEEN = "seen.parquet"
TABLES = "tables"


@dataclasses.dataclass(frozen=True)
class Run:
    """Contents of a run directory.

    Args:
        directory: path of the directory.
        schema: the schema of the model.
        vocabularies: raw ids by feature.
        flags: flags of `kerasrec fit`, with the model's name under `model`.
        split: rows and checksum by part.
    """

    directory: Path
    schema: Schema
    vocabularies: dict[str, Any]
    flags: dict[str, Any]
    split: dict[str, Any]

    @functools.cached_property
    def model(self) -> Any:
        """Load the trained `Recommender`, importing TensorFlow.

        Raises:
            ValueError: if the file is damaged, or of another schema.
        """
        import keras

        try:
            # Keras knows a class once it is imported.
            kind = getattr(kerasrec.models, self.flags["model"])
            model = keras.saving.load_model(self.directory / "model.keras", {kind.__name__: kind})
            if model.schema != self.schema:
                raise ValueError("model.keras has another schema than schema.json")
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise _damaged(self.directory, error) from error
        return model

    @functools.cached_property
    def users(self) -> dict[str, np.ndarray] | None:
        """Read the encoded user features by encoded id; None if the model reads none."""
        return self._side("users")

    @functools.cached_property
    def items(self) -> dict[str, np.ndarray] | None:
        """Read the encoded item features by encoded id; None if the model reads none."""
        return self._side("items")

    @functools.cached_property
    def tables(self) -> "dict[str, KeyedTable]":
        """Read the joined tables by key; empty if the model reads none."""
        folder = self.directory / TABLES
        if not folder.is_dir():
            return {}
        keys: Any = kerasrec.data.load_vocabularies(folder)
        return {
            key: kerasrec.data.KeyedTable(known, _read_columns(folder / f"{number}.parquet"))
            for number, (key, known) in enumerate(keys.items())
        }

    def _side(self, name: str) -> dict[str, np.ndarray] | None:
        file = self.directory / f"{name}.parquet"
        return _read_columns(file) if file.is_file() else None

    def titles(self) -> "pa.Table | None":
        """Read the titles of the items, if the data set of the training had any."""
        import pyarrow.parquet as pq

        file = self.directory / "titles.parquet"
        return pq.read_table(file) if file.is_file() else None

    def seen(self) -> dict[str, np.ndarray]:
        """Read the encoded user and item of each row, the newest row of a user last.

        Raises:
            ValueError: if the file cannot be read.
        """
        return _read_columns(self.directory / SEEN)


def training_directory(output: str | os.PathLike[str]) -> Path:
    """Return the path of a run's unfinished training, see `kerasrec.runs.unfinished`.

    Example:

    >>> training_directory("runs/mf").as_posix()
    'runs/.mf.training'
    """
    final = Path(output)
    return final.with_name(f".{final.name}.training")


def write_run(
    directory: str | os.PathLike[str],
    model: Any,
    ready: "PreparedData | PreparedExamples",
    *,
    flags: Mapping[str, Any],
    split: Mapping[str, Any],
    history: Mapping[str, Sequence[float]],
    records: Records,
) -> Path:
    """Write a run directory atomically.

    Args:
        directory: the new directory.
        model: the trained model.
        ready: the rows that the model was trained on. The vocabularies, the items seen and the
            features of users and items that the model reads are kept, and joined tables.
        flags: flags of `kerasrec fit`, with the model's name under `model`.
        split: rows and checksum by part.
        history: losses by epoch.
        records: metrics on the test rows, and the records for a report.

    Raises:
        ValueError: if the directory exists.
    """
    import pyarrow.parquet as pq

    final = Path(directory)
    if final.exists():
        raise ValueError(
            f"{directory} exists already, and a run is never overwritten. Choose another --output, "
            "or remove it."
        )
    with new_folder(final) as partial:
        model.save(partial / "model.keras")
        kerasrec.data.save_vocabularies(ready.vocabularies, partial)
        again = f"# kerasrec fit {flags['model']} --config config.yaml --output NEW_DIRECTORY\n"
        texts = {
            "schema.json": model.schema.to_json(),
            "config.yaml": again + yaml.safe_dump(dict(flags), sort_keys=False),
            "split.json": json.dumps(split, indent=2),
            "history.json": json.dumps(history, indent=2),
            "metrics.json": json.dumps(records.metrics, indent=2),
            "run.json": json.dumps(records.about, indent=2),
        }
        for name, text in texts.items():
            (partial / name).write_text(text.rstrip() + "\n", encoding="utf-8")
        pq.write_table(records.queries, partial / "queries.parquet")
        for name in ("titles", "predictions"):
            if (table := getattr(records, name)) is not None:
                pq.write_table(table, partial / f"{name}.parquet", compression="zstd")
        if model.schema.item:
            _write_sides(partial, model.schema, ready)
        elif isinstance(ready, kerasrec.data.PreparedExamples) and ready.tables:
            _write_tables(partial / TABLES, ready.tables)
    return final


def _write_tables(folder: Path, tables: "Mapping[str, KeyedTable]") -> None:
    """Write joined tables, as `Run.tables` reads them."""
    folder.mkdir()
    kerasrec.data.save_vocabularies({key: table.keys for key, table in tables.items()}, folder)
    for number, table in enumerate(tables.values()):
        _write_columns(folder / f"{number}.parquet", table.columns)


def _write_sides(folder: Path, schema: Schema, ready: Any) -> None:
    """Write the items seen, and the features of users and items that the model reads."""
    _write_columns(folder / SEEN, ready.seen())
    sides = {"users": (schema.user, ready.users), "items": (schema.item, ready.items)}
    for name, (features, table) in sides.items():
        read = {f.name: table[f.name] for f in features if f.name in (table or {})}
        if len(read) > 1:  # more than the id
            _write_columns(folder / f"{name}.parquet", read)


def _write_columns(file: Path, columns: Mapping[str, np.ndarray]) -> None:
    """Write arrays `(rows,)` and `(rows, n)`."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    arrays = {
        name: pa.array(column)
        if column.ndim == 1
        else pa.FixedSizeListArray.from_arrays(pa.array(column.ravel()), column.shape[1])
        for name, column in columns.items()
    }
    pq.write_table(pa.table(arrays), file, compression="zstd")


def _read_columns(file: Path) -> dict[str, np.ndarray]:
    """Read the arrays of `_write_columns`.

    Raises:
        ValueError: if the file cannot be read.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(file)
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"{file} cannot be read ({error}). Train again.") from error
    columns = {}
    for name in table.column_names:
        column = table[name].combine_chunks()
        if pa.types.is_fixed_size_list(column.type):
            flat = column.flatten().to_numpy(zero_copy_only=False)
            columns[name] = flat.reshape(len(column), column.type.list_size)
        else:
            columns[name] = column.to_numpy(zero_copy_only=False)
    return columns


def read_run(directory: str | os.PathLike[str]) -> Run:
    """Read a run directory.

    Raises:
        ValueError: if it is no run directory, or one of its files cannot be read.
    """
    path = Path(directory)
    if not path.exists() and training_directory(path).is_dir():
        raise ValueError(
            f"{directory}: its training is not finished. Repeat the command with --resume."
        )
    if missing := [name for name in FILES if not (path / name).is_file()]:
        kind = "is not a directory" if not path.is_dir() else f"has no {' and no '.join(missing)}"
        raise ValueError(
            f"{directory}: expected a directory that `kerasrec fit` wrote; this {kind}. "
            "Give the path that followed --output."
        )
    try:
        flags = yaml.safe_load((path / "config.yaml").read_text(encoding="utf-8"))
        split = json.loads((path / "split.json").read_text(encoding="utf-8"))
        schema = Schema.from_json((path / "schema.json").read_text(encoding="utf-8"))
        if flags["model"] not in set(kerasrec.models.__all__) - {"Recommender"}:
            raise ValueError(f"config.yaml names no model of kerasrec: {flags['model']!r}")
        if schema.item and not (path / SEEN).is_file():
            raise ValueError(f"there is no {SEEN}")
    except (yaml.YAMLError, ValueError, TypeError, KeyError) as error:
        raise _damaged(path, error) from error
    vocabularies = kerasrec.data.load_vocabularies(path)
    schema.check_fingerprints(
        {name: vocabulary.fingerprint for name, vocabulary in vocabularies.items()},
        owner=f"{directory}: vocabularies.parquet holds",
    )
    return Run(path, schema, vocabularies, flags, split)


def _damaged(directory: Path, error: Exception) -> ValueError:
    return ValueError(
        f"{directory}: the files there are not as `kerasrec fit` wrote them "
        f"({' '.join(str(error).split())}). Restore them, or train again."
    )


def changes(expected: Mapping[str, Any], received: Mapping[str, Any]) -> list[str]:
    """List the differences between the rows of a training and others.

    Example:

    >>> changes({"test": {"rows": 2, "sha256": {"rating": "ab"}}},
    ...         {"test": {"rows": 2, "sha256": {"rating": "cd"}}})
    ['rating of the test rows']
    """
    found = []
    for part, ours in expected.items():
        theirs = received.get(part, {})
        if ours["rows"] != theirs.get("rows"):
            found.append(f"number of {part} rows ({theirs.get('rows')}, expected {ours['rows']})")
            continue
        sums, others = ours.get("sha256"), theirs.get("sha256")
        if not isinstance(sums, Mapping):  # an older run, without checksums by column
            found.append(f"form of the checksum of the {part} rows")
        elif isinstance(others, Mapping):
            names = [n for n in {**sums, **others} if sums.get(n) != others.get(n)]
            found += [f"{name} of the {part} rows" for name in names]
    return found
