"""Files about the users or the items of a run, and the categories of its items."""

import dataclasses
from typing import TYPE_CHECKING, Literal

import numpy as np

import kerasrec
from kerasrec.runs.directory import Run
from kerasrec.schema import FIRST_ID, Schema

if TYPE_CHECKING:  # at run time, only a command that uses them pays for their imports
    import pyarrow as pa

    from kerasrec.data import PreparedData, Vocabulary

SEPARATOR = "|"


def rows_schema(run: Run) -> Schema:
    """Return the part of a run's schema that its rows hold: without histories and side features.

    Args:
        run: a run directory.
    """
    stored = {*(run.users or {}), *(run.items or {})}
    return run.schema.only(
        f.name for f in run.schema.features if not f.is_history and f.name not in stored
    )


def with_stored_features(ready: "PreparedData", run: Run) -> "PreparedData":
    """Return rows with the features of users and items that a run keeps, and without histories.

    Args:
        ready: rows encoded with the vocabularies of the run and the schema `rows_schema`.
        run: the run directory.
    """
    from kerasrec.data.encoding.columns import SideColumn

    schema = run.schema.only(f.name for f in run.schema.features if not f.is_history)
    parts = [dict(part) for part in (ready.train, ready.valid, ready.test)]
    users, items = run.users or ready.users, run.items or ready.items
    for own, table in ((schema.user_id, users), (schema.item_id, items)):
        for part in parts:
            part |= {n: SideColumn(c, part[own.name]) for n, c in table.items() if n not in part}
    train, valid, test = parts
    return dataclasses.replace(
        ready, schema=schema, train=train, valid=valid, test=test, users=users, items=items
    )


def side_table(run: Run, file: str, *, role: Literal["user", "item"], flag: str) -> "pa.Table":
    """Read a file about users or items, with the ids typed as in the run.

    Args:
        run: a run directory.
        file: any file that `kerasrec.data.read` supports, with a column of ids named as in the run
            or by a common name. Without such a column, the table is returned as it is.
        role: whether the ids are users' or items'.
        flag: the flag that named the file, for messages.

    Raises:
        ValueError: if the file cannot be read.
    """
    from kerasrec.data.tables.table_file import FileForm, TableFile

    own = (run.schema.item_id if role == "item" else run.schema.user_id).name
    dtype = run.vocabularies[own].dtype
    form = FileForm(
        encoding=run.flags.get("encoding", "utf-8"),
        id_type="string" if dtype == "string" else "integer",
    )
    try:
        table = TableFile.open(file, form)
        name = own if own in table.names else table.roles({role: f"{role}_id"})[role]
        raw = table.read()
        if name not in table.names:
            return raw
        ids = table.typed(raw[name], role, name)
    except ValueError as error:
        raise ValueError(f"{flag} {error}") from error
    return raw.set_column(raw.column_names.index(name), own, ids)


def item_categories(
    run: Run, table: "pa.Table", *, filter_by: str
) -> tuple[dict[str, np.ndarray], "Vocabulary"]:
    """Return the categories of the items of a run by encoded id, and their vocabulary.

    Args:
        run: a run directory.
        table: the items, with a column of raw ids named as in the run.
        filter_by: name of the column. A cell holds one category, several separated by "|", or a
            list. Items missing from the table have no category and pass no filter.

    Returns:
        Column of the categories `(num_ids, n)`, padded with 0, and the vocabulary of the
        categories.

    Raises:
        ValueError: if a column is missing, no item has a category, or an item occurs twice.
    """
    item = run.schema.item_id.name
    for name in (item, filter_by):
        if name not in table.column_names:
            raise ValueError(
                f"filter_by={filter_by!r}: the table of the items has the columns "
                f"{table.column_names}; expected {item!r} and {filter_by!r}."
            )
    vocabulary = run.vocabularies[item]
    raw = table[item].to_pylist()
    if len(set(raw)) < len(raw):
        raise ValueError(
            f"filter_by={filter_by!r}: an item occurs in several rows of the table. Put its "
            f"categories into one cell, separated by {SEPARATOR!r}."
        )
    lists = dict(zip(raw, map(_categories, table[filter_by].to_pylist()), strict=True))
    ours = [lists.get(value, []) for value in vocabulary.ids.tolist()]
    flat = [category for found in ours for category in found]
    if not flat:
        raise ValueError(
            f"filter_by={filter_by!r}: no item of the run has a category in the table. Item ids "
            f"must be those of the training rows, such as {vocabulary.ids[0]!r}."
        )
    categories = kerasrec.data.Vocabulary.fit(flat, filter_by)
    encoded = np.zeros((vocabulary.num_ids, max(map(len, ours))), np.int32)
    for row, found in zip(encoded[FIRST_ID:], ours, strict=True):
        row[: len(found)] = categories.encode(found) if found else ()
    return {filter_by: encoded}, categories


def _categories(cell: object) -> list[str]:
    """Return the distinct categories of one cell."""
    if cell is None:
        return []
    found = cell if isinstance(cell, list) else str(cell).split(SEPARATOR)
    return list(dict.fromkeys(str(value).strip() for value in found if str(value).strip()))
