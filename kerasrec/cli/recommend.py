"""`kerasrec recommend`: items for users, or items like one item, from a run."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

import kerasrec
from kerasrec._files import new_file
from kerasrec.cli.data import OWN_TABLES, item_table, load
from kerasrec.cli.output import Report
from kerasrec.cli.settings import Source, choose
from kerasrec.cli.terminal import import_tensorflow, step
from kerasrec.runs.directory import Run, read_run
from kerasrec.runs.side_tables import side_table
from kerasrec.runs.terminal import say
from kerasrec.schema import FIRST_ID, Schema

if TYPE_CHECKING:  # at run time, only a command that uses them pays for their imports
    import pyarrow as pa

    from kerasrec.data import Vocabulary

# Number of lists to print. A file holds all of them.
SHOWN = 20


def recommend(
    run: str,
    *,
    user: str | None = None,
    users: str | None = None,
    item: str | None = None,
    k: int = 10,
    exclude: Literal["seen", "none"] = "seen",
    items: str | None = None,
    data: str | None = None,
    output: str | None = None,
) -> Report:
    """Recommend items to a user or to many, or find items like one item.

    Args:
        run: directory written by `kerasrec fit`.
        user: raw id of a user. Unknown users get the most popular items, marked as such.
        users: file of users instead, with a user id column named as in training.
        item: raw id of an item instead, to find the most similar items.
        k: length of a list. Lists of many users may be shorter where fewer items are left.
        exclude: leave out the items that the user has anywhere in the data, or none.
        items: file with an item id column named as in training, and a column title.
        data: file of newer rows with the columns of the training data, whose items count as seen
            and as history; null for the training rows.
        output: CSV or Parquet file to write, with a row for each item of each list.

    Raises:
        ValueError: if the run, an id or a file is invalid, the model needs more than a user and an
            item id, or fewer than k items are left for a single user.
    """
    given = {"--user": user, "--users": users, "--item": item}
    if len([value for value in given.values() if value is not None]) != 1:
        raise ValueError(f"recommend: expected one of {list(given)}; received {_given(given)}.")
    _check_output(output)
    found = read_run(run)
    if not found.schema.item:
        raise ValueError(
            f"{run}: its model predicts the label {found.schema.label!r} of rows without items, so "
            "there is nothing to recommend. Export it with kerasrec export and ask `predict`."
        )
    vocabulary = found.vocabularies[found.schema.item_id.name]
    _check_features(found, of_items=item is not None)
    titles = _titles(found, items)
    if item is not None:
        return _similar(found, item, k, titles, output)
    if users is not None:
        raw = _users_of(users, found)
    else:
        raw = [_parsed("--user", str(user), found.vocabularies[found.schema.user_id.name])]
    seen = found.seen() if data is None else _newer(found, data)
    left = len(vocabulary)
    if user is not None and exclude == "seen":
        (encoded,) = found.vocabularies[found.schema.user_id.name].encode(raw)
        mine = seen[found.schema.item_id.name][seen[found.schema.user_id.name] == encoded]
        left -= len(np.unique(mine[mine >= FIRST_ID]))
    if not 1 <= k <= left:
        raise ValueError(f"--k {k}: expected 1 to {left}, the number of items to choose from.")
    import_tensorflow()
    with step(f"Ranking for {len(raw):,} users"):
        best = kerasrec.retrieval.recommend(
            found.model,
            found.vocabularies,
            raw,
            k,
            seen=seen,
            exclude_seen=exclude == "seen",
            users=found.users,
            items=found.items,
        )
    rows = [
        {"user": one, "known": not fallback, "items": _described(items, titles)}
        for one, fallback, items in zip(raw, best.fallback.tolist(), best.rows(), strict=True)
    ]
    if output is not None:
        _write(output, found.schema, rows)
    document: dict[str, Any] = {"users": rows} if users is not None else {**rows[0], "user": user}
    if output is not None:
        document["output"] = output
    return Report(document, _text(rows, output))


def _given(given: dict[str, Any]) -> str:
    return ", ".join(name for name, value in given.items() if value is not None) or "none of them"


def _check_output(output: str | None) -> None:
    if output is None:
        return
    if Path(output).suffix not in (".csv", ".parquet"):
        raise ValueError(f"--output {output}: expected a name that ends in .csv or .parquet.")
    folder = Path(output).absolute().parent
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        raise ValueError(f"--output {output}: {folder} is not a writable folder.")


def _check_features(run: Run, *, of_items: bool) -> None:
    schema = run.schema
    known = {schema.user_id.name, schema.item_id.name, *(f.name for f in schema.item_histories)}
    known |= {*(run.users or {}), *(run.items or {})}
    read = schema.item if of_items else schema.features
    if wanted := [feature.name for feature in read if feature.name not in known]:
        raise ValueError(
            f"recommend takes an id alone, and this model also needs {wanted}. Export the run and "
            "pass them to its signature `recommend`."
        )


def _parsed(flag: str, raw: str, vocabulary: "Vocabulary") -> int | str:
    """Parse an id of the command line to the type used in training."""
    if vocabulary.dtype == "string":
        return raw
    if not (raw.isascii() and raw.isdigit()):
        raise ValueError(
            f"{flag} {raw}: {flag[2:]} ids are numbers in this run, such as {vocabulary.ids[0]}."
        )
    return int(raw)


def _users_of(file: str, run: Run) -> list[Any]:
    """Read the distinct users of a file, in the type used in training."""
    name = run.schema.user_id.name
    table = side_table(run, file, role="user", flag="--users")
    if name not in table.column_names:
        raise ValueError(
            f"--users {file}: expected a column {name!r} of user ids; received "
            f"{table.column_names}."
        )
    column = table[name]
    if column.null_count or not len(column):
        raise ValueError(
            f"--users {file}: {column.null_count} of the {len(column)} ids in {name!r} are "
            "missing. Give a row with an id for each user."
        )
    return list(dict.fromkeys(column.to_pylist()))


def _newer(run: Run, data: str) -> dict[str, np.ndarray]:
    """Read users and items of newer rows, and put those of the training before them.

    Pairs of the training that the file holds as well are left to the file.
    """
    with step(f"Reading {data}"):
        # Rows are neither counted nor learned, so that few or repeated ones are welcome.
        own = {**OWN_TABLES, "data": data, "k_core": 1, "duplicates": "keep"}
        rows = load(choose(Source, {**run.flags, **own})).interactions
        schema = run.schema.only()
        seen = kerasrec.data.prepare(rows, vocabularies=run.vocabularies, schema=schema).seen()
    before, names = run.seen(), (run.schema.user_id.name, run.schema.item_id.name)
    first, again = (_pairs(one, names, run.schema.item_id.num_ids) for one in (before, seen))
    item = seen[names[1]]
    if new := len(rows) - int(np.isin(again, first).sum()):
        say(
            f"Warning: {data} has {new:,} rows that the training did not have; "
            f"{len(rows) - len(item):,} rows are of users that the run does not know, "
            f"{int((item < FIRST_ID).sum()):,} of other items. Train again to learn from them."
        )
    only = ~np.isin(first, again)
    return {name: np.concatenate([before[name][only], seen[name]]) for name in names}


def _pairs(rows: dict[str, np.ndarray], names: tuple[str, str], items: int) -> np.ndarray:
    """Return a number for the user and the item of each row."""
    user, item = (rows[name].astype(np.int64) for name in names)
    return np.asarray(user * items + item)


def _similar(run: Run, item: str, k: int, titles: dict[Any, str], output: str | None) -> Report:
    """Find the items most like one item."""
    name = run.schema.item_id.name
    vocabulary = run.vocabularies[name]
    raw = _parsed("--item", item, vocabulary)
    if vocabulary.encode([raw])[0] < FIRST_ID:
        raise ValueError(
            f"--item {item}: no training row has it; expected an id such as {vocabulary.ids[0]}."
        )
    if not 1 <= k < len(vocabulary):
        raise ValueError(f"--k {k}: expected 1 to {len(vocabulary) - 1}, the other items.")
    import_tensorflow()
    (best,) = kerasrec.retrieval.similar_items(
        run.model, run.vocabularies, [raw], k, items=run.items
    ).rows()
    rows = _described(best, titles)
    if output is not None:
        _write(output, run.schema, [{"items": rows}])
    text = _text([{"title": f"Items like {item}:", "items": rows}], output)
    return Report({"item": item, "items": rows}, text)


def _described(items: list[tuple[Any, float]], titles: dict[Any, str]) -> list[dict[str, Any]]:
    return [{"item": item, "score": score, "title": titles.get(item)} for item, score in items]


def _text(rows: list[dict[str, Any]], output: str | None) -> str:
    """Format the lists as text, or only their number if a file holds them."""
    if output is not None:
        return f"{len(rows):,} lists are in {output}."
    lines = []
    for row in rows[:SHOWN]:
        if "title" in row:
            lines.append(row["title"])
        elif row["known"]:
            lines.append(f"User {row['user']}:")
        else:
            lines.append(
                f"User {row['user']} is unknown. The most popular items, with their training rows:"
            )
        lines += [
            f"{one['score']:>10.4g}  {one['item']!s:<8} {one['title'] or ''}".rstrip()
            for one in row["items"]
        ]
    if len(rows) > SHOWN:
        lines.append(f"... and {len(rows) - SHOWN:,} more lists; --output FILE writes all.")
    return "\n".join(lines)


def _write(output: str, schema: Schema, rows: list[dict[str, Any]]) -> None:
    """Write a table with a row for each item of each list."""
    import pyarrow as pa
    from pyarrow import csv, parquet

    flat = [(row, rank, one) for row in rows for rank, one in enumerate(row["items"], 1)]
    columns: dict[str, list[Any]] = {}
    if "user" in rows[0]:
        columns[schema.user_id.name] = [row["user"] for row, _, _ in flat]
        columns["known"] = [row["known"] for row, _, _ in flat]
    columns["rank"] = [rank for _, rank, _ in flat]
    columns[schema.item_id.name] = [one["item"] for _, _, one in flat]
    columns["score"] = [one["score"] for _, _, one in flat]
    if any(one["title"] is not None for _, _, one in flat):
        columns["title"] = [one["title"] for _, _, one in flat]
    table = pa.table(columns)
    with new_file(output) as temporary:
        if Path(output).suffix == ".parquet":
            parquet.write_table(table, temporary)
        else:
            csv.write_csv(table, temporary)


def _titles(run: Run, file: str | None) -> dict[Any, str]:
    """Return titles by raw item id, from a file or from the data set of the training."""
    name = run.schema.item_id.name
    table: pa.Table | None = run.titles() if file is None else item_table(run, file)
    if table is None:
        return {}
    for column in (name, "title"):
        if column not in table.column_names:
            raise ValueError(
                f"--items {file}: expected the columns {name!r} and 'title'; received "
                f"{table.column_names}."
            )
    ids = table[name].to_pylist()
    if run.vocabularies[name].dtype == "string":
        ids = [str(value) for value in ids]
    return dict(zip(ids, map(str, table["title"].to_pylist()), strict=True))
