"""Run directories: what `fit` made, and all that is needed to look at it again.

| file | holds |
|---|---|
| `model.keras` | the model |
| `schema.json` | its schema |
| `vocabularies.parquet` | raw ids of the training rows |
| `config.yaml` | the flags of `kerasrec fit`, to repeat it |
| `split.json` | rows and checksum of each part, to recognise them |
| `history.json` | losses by epoch |
| `metrics.json` | figures on the test rows |

and what `kerasrec report` reads besides, see `records`: `run.json` and `queries.parquet`.
Older runs lack these two; everything but the report works on them.
"""

import dataclasses
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

import kerasrec
from kerasrec.cli.records import Records

FILES = (
    "model.keras",
    "schema.json",
    "vocabularies.parquet",
    "config.yaml",
    "split.json",
    "history.json",
    "metrics.json",
)


@dataclasses.dataclass(frozen=True)
class Run:
    """A run directory, read.

    Args:
        directory: where it lies.
        model: the trained `Recommender`.
        vocabularies: raw ids by feature.
        flags: what `kerasrec fit` was given, the model's name under `model`.
        split: rows and checksum by part.
    """

    directory: Path
    model: Any
    vocabularies: dict[str, Any]
    flags: dict[str, Any]
    split: dict[str, Any]


def new_directory(path: str | os.PathLike[str]) -> Path:
    """The path, if a run may be written there.

    Raises:
        ValueError: if it exists.
    """
    directory = Path(path)
    if directory.exists():
        raise ValueError(
            f"{path} exists already, and a run is never overwritten. Choose another --output, or "
            "remove it."
        )
    return directory


def write_run(
    directory: str | os.PathLike[str],
    model: Any,
    vocabularies: Mapping[str, Any],
    *,
    flags: Mapping[str, Any],
    split: Mapping[str, Any],
    history: Mapping[str, Sequence[float]],
    records: Records,
) -> Path:
    """Writes a run directory: whole, or not at all.

    Args:
        directory: the new directory.
        model: the trained model.
        vocabularies: raw ids by feature.
        flags: what `kerasrec fit` was given, the model's name under `model`.
        split: rows and checksum by part.
        history: losses by epoch.
        records: figures on the test rows, and what a report needs.

    Raises:
        ValueError: if the directory exists.
    """
    import pyarrow.parquet as pq

    final = new_directory(directory)
    # A sibling, so that the rename at the end stays within one file system.
    partial = final.with_name(f".{final.name}.partial-{os.getpid()}")
    partial.mkdir(parents=True)
    try:
        model.save(partial / "model.keras")
        kerasrec.data.save_vocabularies(vocabularies, partial)
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
        partial.rename(final)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    return final


def read_run(directory: str | os.PathLike[str]) -> Run:
    """Reads what `write_run` wrote.

    Raises:
        ValueError: if it is no run directory, or one of its files cannot be read.
    """
    path = Path(directory)
    if missing := [name for name in FILES if not (path / name).is_file()]:
        raise ValueError(
            f"{directory}: expected a directory that `kerasrec fit` wrote; there is no {missing}. "
            "Give the path that followed --output."
        )
    try:
        flags = yaml.safe_load((path / "config.yaml").read_text(encoding="utf-8"))
        split = json.loads((path / "split.json").read_text(encoding="utf-8"))
        model_class = getattr(
            kerasrec.models, flags["model"]
        )  # Keras knows a class once it is imported
        import keras

        model = keras.saving.load_model(path / "model.keras", {model_class.__name__: model_class})
    except (yaml.YAMLError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(
            f"{directory}: the files there are not as `kerasrec fit` wrote them "
            f"({' '.join(str(error).split())}). Restore them, or train again."
        ) from error
    vocabularies = kerasrec.data.load_vocabularies(path)
    model.schema.check_fingerprints(
        {name: vocabulary.fingerprint for name, vocabulary in vocabularies.items()},
        owner=f"{directory}: vocabularies.parquet holds",
    )
    return Run(path, model, vocabularies, flags, split)


def changes(expected: Mapping[str, Any], received: Mapping[str, Any]) -> list[str]:
    """Name what differs between the rows of a training and others.

    Args:
        expected: `split.json` of a run.
        received: `Prepared.fingerprint()` of the rows.

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
        if not isinstance(sums, Mapping):  # of a run from before the columns had sums of their own
            found.append(f"form of the checksum of the {part} rows")
        elif isinstance(others, Mapping):
            names = [n for n in {**sums, **others} if sums.get(n) != others.get(n)]
            found += [f"{name} of the {part} rows" for name in names]
    return found
