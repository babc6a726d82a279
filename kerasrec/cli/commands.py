"""The commands that look at data, at run directories and at exports, and report what is there."""

import dataclasses
import json
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

import kerasrec
from kerasrec.cli.categories import item_categories, item_table
from kerasrec.cli.output import Report
from kerasrec.cli.preparing import Prepared, load, prepare
from kerasrec.cli.quiet import import_tensorflow
from kerasrec.cli.records import findings, with_findings
from kerasrec.cli.runs import Run, changes, read_run
from kerasrec.cli.settings import Source, Splitting, choose
from kerasrec.cli.terminal import step
from kerasrec.schema import FIRST_ID, Schema
from kerasrec.schema import Sequence as History

if TYPE_CHECKING:
    from kerasrec.data import Vocabulary
    from kerasrec.datasets import Dataset


def audit(
    data: str,
    *,
    format: str | None = None,
    user: str = "user_id",
    item: str = "item_id",
    label: str | None = "rating",
    time: str | None = "timestamp",
) -> Report:
    """Report on the rows of a file or a named data set.

    Args:
        data: path of a file, or name of a data set, which knows its own columns.
        format: format of a file, where its name and first lines do not say it.
        user: column of user ids.
        item: column of item ids.
        label: column of ratings; null for implicit feedback.
        time: column that orders the rows; null where there is none.

    Raises:
        ValueError: if there are no rows, or no columns of users and items.
    """
    with step(f"Reading {data}"):
        if Path(data).is_file():  # as it stands, with rows that `load` would refuse
            found = kerasrec.data.audit(
                data, format=format, user=user, item=item, label=label, time=time
            )
        else:
            source = Source(data, format=format, user=user, item=item, label=label, time=time)
            found = kerasrec.data.audit(load(source).interactions)
    return Report(dataclasses.asdict(found), str(found))


def evaluate(run: str, *, k: int | Sequence[int] = (10,)) -> Report:
    """Evaluate a run on its test rows, beside popularity.

    Args:
        run: directory written by `kerasrec fit`.
        k: length of the list, or several as [5,10].

    Raises:
        ValueError: if the directory or the data are not those of the training, or k is refused.
    """
    import_tensorflow()
    found, prepared = _reopen(run)
    with step("Ranking the test rows"), warnings.catch_warnings():  # they stand below the figures
        warnings.simplefilter("ignore", kerasrec.evaluation.ProtocolWarning)
        rows = kerasrec.evaluation.compare(
            {found.flags["model"]: found.model},
            prepared.test,
            seen=[prepared.train, prepared.valid],
            k=k,
            ratings=found.flags["loss"] == "mse",
        )
    known = findings(prepared)
    text = with_findings(kerasrec.evaluation.format_table(rows), known)
    return Report({"run": run, "metrics": rows, "findings": known}, text)


def recommend(
    run: str, *, user: str, k: int = 10, exclude: Literal["seen", "none"] = "seen"
) -> Report:
    """Recommend items to a user.

    Args:
        run: directory written by `kerasrec fit`.
        user: raw id. A user without training rows gets the most popular items, marked as such.
        k: length of the list.
        exclude: leave out the items that the user has anywhere in the data, or none.

    Raises:
        ValueError: if the directory or the data are not those of the training, the model needs more
            than a user and an item id, or fewer than k items are left.
    """
    import_tensorflow()
    found, prepared = _reopen(run)
    schema = found.model.schema
    known_features = (schema.user_id, schema.item_id, _history_of(schema))
    if wanted := [f.name for f in schema.features if f not in known_features]:
        raise ValueError(
            f"recommend takes a user id alone, and this model also wants {wanted}. Export the run "
            "and give them to its signature `recommend`."
        )
    items = found.vocabularies[schema.item_id.name]
    user_id = _encode(user, found.vocabularies[schema.user_id.name])
    candidates = np.arange(FIRST_ID, items.num_ids, dtype=np.int32)
    if exclude == "seen":
        for part in (prepared.train, prepared.valid, prepared.test):
            theirs = part[schema.item_id.name][part[schema.user_id.name] == user_id]
            candidates = np.setdiff1d(candidates, theirs)
    if not 1 <= k <= len(candidates):
        raise ValueError(
            f"--k {k}: expected 1 to {len(candidates)}, the number of items to choose from."
        )
    if known := user_id >= FIRST_ID:
        title = f"User {user}:"
        pairs = {schema.user_id.name: np.array([user_id]), schema.item_id.name: candidates[None]}
        if history := _history_of(schema):
            pairs[history.name] = _items_of(user_id, prepared)[None, -history.max_length :]
        scores = found.model.predict(pairs, verbose=0)[0]
    else:
        title = f"User {user} is unknown. The most popular items, with their training rows:"
        scores = items.counts[candidates - FIRST_ID]
    best = np.argsort(-scores, kind="stable")[:k]
    titles = _titles(prepared.dataset)
    rows = [
        {"item": item, "score": float(score), "title": titles.get(item)}
        for item, score in zip(items.decode(candidates[best]).tolist(), scores[best], strict=True)
    ]
    lines = [
        f"{row['score']:>10.4g}  {row['item']!s:<8} {row['title'] or ''}".rstrip() for row in rows
    ]
    return Report({"user": user, "known": known, "items": rows}, "\n".join([title, *lines]))


def export(
    run: str,
    directory: str,
    *,
    version: int | None = None,
    k: int | Sequence[int] = 10,
    signatures: Sequence[str] | None = None,
    tables: Literal["float32", "float16", "int8"] = "float32",
    filter_by: str | None = None,
    items: str | None = None,
    keep: int | None = None,
    licence: str | None = None,
) -> Report:
    """Export a run for TensorFlow Serving.

    Args:
        run: directory written by `kerasrec fit`.
        directory: holds the versions; made if it does not exist.
        version: number of the version; null for the highest plus one.
        k: length of the lists that the served model recommends; several, as in [10,100], give
            signatures recommend_10 and recommend_100.
        signatures: names of those to write; null for all that the model has.
        tables: how embedding tables are stored; smaller ones must keep within a budget.
        filter_by: column of the items' categories, such as genres, by which a request may filter
            (its input `allow`); several in one cell are separated by "|".
        items: CSV or Parquet file of the items with that column, for runs on files; named data sets
            bring their own.
        keep: number of older versions to keep; null for all.
        licence: terms of the model, for its card.

    Raises:
        ValueError: if the version exists, or the run, k, keep or the categories are refused.
    """
    import_tensorflow()
    with step(f"Reading {run}"):
        found = read_run(run)
        vocabularies, candidates = found.vocabularies, None
        if filter_by is not None:
            candidates, categories = item_categories(
                found, item_table(found, items), filter_by=filter_by
            )
            vocabularies = {**vocabularies, filter_by: categories}
        elif items is not None:
            raise ValueError(f"--items {items}: it is read for --filter_by alone; name a column.")
    with step("Exporting"):
        path = kerasrec.serving.export(
            found.model,
            directory,
            vocabularies=vocabularies,
            version=version,
            k=k,
            candidates=candidates,
            signatures=signatures,
            filter_by=filter_by,
            tables=tables,
            keep=keep,
            card=_card(found, licence),
        )
    text = f"Written to {path}. Check it with: kerasrec verify {directory}"
    return Report({"run": run, "path": path, "version": int(path.name)}, text)


def verify(directory: str) -> Report:
    """Reload an export in a fresh process and compare its answers with the model's.

    Args:
        directory: a version, or the folder of versions, of which the newest is taken.

    The exit code is 1 if an answer differs.

    Raises:
        ValueError: if there is no readable export.
    """
    import_tensorflow()
    try:
        with step("Replaying the recorded requests"):
            found = kerasrec.serving.verify(directory)
    except kerasrec.serving.VerificationError as error:
        found = error.report
    document = {**dataclasses.asdict(found), "problems": found.problems}
    return Report(document, str(found), code=1 if found.problems else 0)


def rollback(directory: str, *, to: int | None = None) -> Report:
    """Make an older version the newest one, which is what a server serves.

    Args:
        directory: the folder of versions.
        to: the version to go back to, or a withdrawn one; null for the newest but one.

    Raises:
        ValueError: if there is no such version.
    """
    path = kerasrec.serving.rollback(directory, to=to)
    text = f"{path} is the newest version now; those above it lie in {directory}/.withdrawn-*"
    return Report({"path": path, "version": int(path.name)}, text)


def _card(run: Run, licence: str | None) -> dict[str, Any]:
    """What a run knows of its model."""
    card: dict[str, Any] = {
        "description": f"Written by `kerasrec fit {run.flags['model']}`.",
        "data": {
            "data": run.flags["data"],
            "split": run.flags["split"],
            "seed": run.flags["seed"],
            **{f"{part} rows": about["rows"] for part, about in run.split.items()},
        },
        "metrics": json.loads((run.directory / "metrics.json").read_text(encoding="utf-8")),
    }
    return card if licence is None else {**card, "licence": licence}


def _reopen(directory: str) -> tuple[Run, Prepared]:
    """A run, and the very rows it was made of."""
    with step(f"Reading {directory}"):
        run = read_run(directory)
        prepared = prepare(
            choose(Source, run.flags),
            choose(Splitting, run.flags),
            seed=run.flags["seed"],
            vocabularies=run.vocabularies,
        )
    if history := _history_of(run.model.schema):
        prepared = prepared.with_histories(history.max_length)
    if changed := changes(run.split, prepared.fingerprint()):
        raise ValueError(
            f"{directory}: the rows of {run.flags['data']} are not those of the training: other "
            f"{', '.join(changed)}. Restore the data, or train again."
        )
    return run, prepared


def _history_of(schema: Schema) -> History | None:
    """The items of the user that the model reads, if it does."""
    item = schema.item_id.name
    found = (f for f in schema.query if isinstance(f, History) and f.of == item)
    return next(found, None)


def _items_of(user_id: int, prepared: Prepared) -> np.ndarray:
    """Items of a user in all parts, newest last."""
    user, item = prepared.schema.user_id.name, prepared.schema.item_id.name
    time = prepared.split.train.time
    parts = [
        {name: values[name][values[user] == user_id] for name in (item, *([time] if time else []))}
        for values in (prepared.train, prepared.valid, prepared.test)
    ]
    items = np.concatenate([part[item] for part in parts])
    if time is None:
        return items
    return items[np.argsort(np.concatenate([part[time] for part in parts]), kind="stable")]


def _encode(raw: str, vocabulary: "Vocabulary") -> int:
    """The id of a user given on the command line; unknown if it is not in the vocabulary."""
    if vocabulary.dtype == "int64" and not (raw.isascii() and raw.isdigit()):
        raise ValueError(
            f"--user {raw}: user ids are numbers in this run, such as {vocabulary.ids[0]}."
        )
    values = [int(raw)] if vocabulary.dtype == "int64" else [raw]
    return int(vocabulary.encode(values)[0])


def _titles(dataset: "Dataset") -> dict[int | str, str]:
    """Titles by raw item id, where the data set has any."""
    if dataset.items is None or "title" not in dataset.items.column_names:
        return {}
    ids = dataset.items[dataset.interactions.item].to_pylist()
    return dict(zip(ids, dataset.items["title"].to_pylist(), strict=True))
