"""Reader of all supported file formats, to `Interactions`."""

import os
from collections.abc import Sequence
from typing import Any, Literal

from kerasrec.data.tables.interactions import Interactions, check_columns
from kerasrec.data.tables.table_file import FileForm, TableFile
from kerasrec.data.tables.typed_text import IdType


def read(
    path: str | os.PathLike[str],
    *,
    format: str | None = None,
    columns: Sequence[str] | None = None,
    separator: str | None = None,
    quote: str | None = None,
    encoding: str = "utf-8",
    decimal: str | None = None,
    id_type: IdType = "auto",
    user: str = "user_id",
    item: str = "item_id",
    label: str | None = "rating",
    time: str | None = "timestamp",
    context: Sequence[str] = (),
    missing: Literal["error", "drop"] = "error",
    duplicates: Literal["error", "keep"] = "error",
    users: Any = None,
    items: Any = None,
    missing_sides: Literal["error", "unknown"] = "error",
) -> Interactions:
    """Read interactions from a file, plain or compressed (gzip, bzip2, Zstandard, LZ4, xz, zip).

    | format | content | columns |
    |---|---|---|
    | csv | a header, then rows; fields may be quoted | by the header, or `columns` without header |
    | tsv | the same between tabs; quotes are text | by the header, or `columns` without header |
    | movielens | `u.data`: tabs, no header | user, item, label, time in this order |
    | dat | `ratings.dat`: `::`, no header | user, item, label, time in this order |
    | inter | RecBole: tabs, header of `name:type` | by the header, types left out |
    | libfm | `label f:v f:v ...`, as many `f:v` in every row | see below |
    | jsonl | JSON lines: one object a row | by its keys |
    | parquet | Apache Parquet | by the schema |

    The format is inferred from the suffix, or else from the first lines. The first lines also show
    the separator of a csv file: a comma, semicolon, tab or bar. Only the columns with a role are
    read. If a role has its default name, common names are found too: `userId`, `movieId`, `asin`,
    `score`, `ts` and the like.

    With `id_type="auto"`, an id column of a text file is read as integers only if each of its
    values is written as that integer (`42`, not `042`), or each as a whole float (`42.0`).
    Otherwise it is read as strings. Distinct ids are never merged. If several files must agree,
    such as training and test rows, declare "string" or "integer".

    Numbers may have a decimal comma, and labels may be True and False. Times are numbers or ISO
    8601. Numbers with a fraction are seconds and become microseconds.

    libFM rows have no names. The first feature index is the user, the second the item, and the
    others are context columns `field_2`, `field_3`, .... Such a column is the index if all values
    are 1, or the value if all indices are equal. Indices and labels are kept as they are, and time
    is None.

    Args:
        path: the file.
        format: one of the formats above.
        columns: names of all columns of a csv or tsv file that has no header.
        separator: the character between the fields of a csv or tsv file.
        quote: the character around quoted fields; "" if quotes are part of the text. By default csv
            files are quoted with `"`, and a quoted field with lines that look like rows is an
            error. If the quote is passed explicitly, such a field is accepted.
        encoding: encoding of the text, a name that Python knows. It is never guessed.
        decimal: decimal mark, "." or ",". By default a comma is detected if it is unambiguous.
        id_type: type of the user and item ids: "string", "integer" or "auto".
        user: columns of these roles, see `Interactions`. A format
            without header takes them as names.
        item: see `user`.
        label: see `user`.
        time: see `user`.
        context: see `user`.
        missing: see `Interactions.from_table`.
        duplicates: see `Interactions.from_table`.
        users: table about the users, or its file, see `Interactions.with_tables`.
        items: table about the items, or its file.
        missing_sides: see `Interactions.with_tables`.

    Raises:
        ValueError: if the file does not exist, is empty, has no rows, has another format, its
            quotes swallow rows, or `Interactions.from_table` rejects its values.

    Example:

    >>> import pathlib, tempfile
    >>> file = pathlib.Path(tempfile.mkdtemp()) / "ratings.csv"
    >>> _ = file.write_text("user_id,item_id,rating\\nann,1,4.5\\nbob,2,3\\n")
    >>> read(file, time=None).column("user_id").tolist()
    ['ann', 'bob']
    """
    form = FileForm(format, columns, separator, quote, encoding, decimal, id_type)
    names: dict[str, str | None] = {"user": user, "item": item, "label": label, "time": time}
    file = TableFile.open(path, form, names)
    roles: dict[str, Any] = file.roles(names, context)
    if file.form.format == "libfm":
        context = tuple(context) or file.names[3:]
    wanted = {name: role for role, name in roles.items() if name is not None}
    kinds = {**dict.fromkeys(context, "any"), **file.kinds(context), **wanted}
    try:
        check_columns(list(file.names), roles, context)
        table = file.read(list(kinds))
        rows = Interactions.from_table(
            {name: file.typed(table[name], kinds[name], name) for name in table.column_names},
            **roles,
            context=context,
            missing=missing,
            duplicates=duplicates,
        )
    except ValueError as error:
        if str(file.path) in str(error):
            raise
        raise ValueError(f"{file.path}: {error}{file.header_hint()}") from error
    sides: Any = {"users": users, "items": items, "missing_sides": missing_sides}
    return rows.with_tables(**sides, encoding=encoding, decimal=decimal)
