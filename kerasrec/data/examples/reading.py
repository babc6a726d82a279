"""Reader of all supported file formats, to `Examples`."""

import os
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import pyarrow as pa

from kerasrec.data.examples.examples import Examples, label_names
from kerasrec.data.tables.aliases import find_roles
from kerasrec.data.tables.arrow import is_text
from kerasrec.data.tables.table_file import FileForm, TableFile

# Types that a RecBole header gives to a column, and the indices of libFM.
_DECLARED = {"token": "categorical", "float": "numeric"}


def read_examples(
    path: str | os.PathLike[str],
    *,
    label: str | Sequence[str] = "label",
    features: Sequence[str] | None = None,
    time: str | None = None,
    group: str | None = None,
    missing: Literal["error", "drop"] = "error",
    format: str | None = None,
    columns: Sequence[str] | None = None,
    separator: str | None = None,
    quote: str | None = None,
    encoding: str = "utf-8",
    decimal: str | None = None,
    like: Examples | None = None,
    classes: bool | None = False,
    tables: Mapping[str, Any] | None = None,
) -> Examples:
    """Read rows of feature columns and a label from a file, in the formats of `read`.

    Text is read as numbers if every value of the column is one. Indices of a libFM file, and tokens
    of a RecBole file, are categories.

    Args:
        path: the file.
        label: name of the label column, or of several, see `Examples.from_table`. Common names such
            as `click` are found if there is no column `label`.
        features: see `Examples.from_table`.
        time: see `Examples.from_table`.
        group: see `Examples.from_table`.
        missing: see `Examples.from_table`.
        format: see `read`.
        columns: see `read`.
        separator: see `read`.
        quote: see `read`.
        encoding: see `read`.
        decimal: see `read`.
        like: examples of another part, such as the training rows, whose columns, roles and types
            this file shares. Then `features`, `label`, `time`, `group` and `classes` are theirs.
        classes: see `Examples.from_table`.
        tables: see `Examples.from_table`. Files have their own formats. Parts that are read with
            `like=` need them too.

    Raises:
        ValueError: if the file cannot be read, or as `Examples.from_table` does.

    Example:

    >>> import pathlib, tempfile
    >>> file = pathlib.Path(tempfile.mkdtemp()) / "visits.csv"
    >>> _ = file.write_text("age,city,click\\n31,Rome,1\\n,Oslo,0\\n")
    >>> read_examples(file, label="click").table["age"].to_pylist()
    [31, None]
    """
    form = FileForm(format, columns, separator, quote, encoding, decimal)
    labels = label_names("read_examples", label)
    roles: dict[str, str | None] = {"user": None, "item": None, "label": labels[0], "time": time}
    file = TableFile.open(path, form, roles)
    if like is not None:
        labels = (like.label, *like.other_labels)
        features, time, group = like.features, like.time, like.group
    elif labels == ("label",) and "label" not in file.names:
        found = find_roles(file.names, {"label": "rating"})["label"]
        labels = (found,) if found in file.names else labels
    declared, keys = file.kinds(file.names), list(tables or {})
    names = list(file.names)
    if features is not None:
        roles_too = [*labels, *(name for name in (time, group) if name is not None)]
        names = [n for n in dict.fromkeys([*roles_too, *features, *keys]) if n in file.names]
    kinds: dict[str, str] = dict.fromkeys(names, "any")
    kinds |= dict.fromkeys(labels, "label") | ({time: "time"} if time is not None else {})
    by_class = classes is not False or (like is not None and bool(like.classes))
    try:
        table = file.read(names)
        made: dict[str, Any] = {}
        for name in table.column_names:
            text = is_text(table[name].type)
            if like is not None and text and name in like.features and _is_text(like, name):
                made[name] = table[name]  # text as there, even if these rows hold numbers alone
            elif name == labels[0] and by_class:
                made[name] = _typed_classes(file, table[name], name)
            else:
                made[name] = file.typed(table[name], kinds[name], name)
        known = {name: _DECLARED[kind] for name, kind in declared.items() if kind in _DECLARED}
        if file.form.format == "libfm":
            known = {n: "categorical" for n in names if pa.types.is_integer(table[n].type)}
        return Examples.from_table(
            made,
            label=labels,
            features=features,
            time=time,
            group=group,
            missing=missing,
            kinds=known if like is None else like.kinds,
            classes=classes if like is None else like.classes or False,
            tables=tables,
        )
    except ValueError as error:
        if str(file.path) in str(error):
            raise
        raise ValueError(f"{file.path}: {error}{file.header_hint()}") from error


def _typed_classes(file: TableFile, column: Any, name: str) -> Any:
    """Return a label as numbers, or as the text that it is."""
    try:
        return file.typed(column, "label", name)
    except ValueError:
        return column


def _is_text(rows: Examples, name: str) -> bool:
    return is_text(rows.table[name].type)
