"""Reader of libFM files: rows of `label feature:value feature:value ...`."""

import pathlib
import re
from collections.abc import Mapping, Sequence

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv

from kerasrec.data.tables.arrow import ArrowColumn
from kerasrec.data.tables.opening import UNREADABLE, open_bytes

ROW = re.compile(r"^[+-]?[\d.eE+-]+( \d+:[+-]?[\d.eE+-]+)+\s*$")


def libfm_names(path: pathlib.Path, head: str, roles: Mapping[str, str | None]) -> tuple[str, ...]:
    """Return names for user, item, label, and the further features of a row."""
    line = head.split("\n", 1)[0]
    count = line.count(":")
    if not ROW.match(line) or count < 2:
        raise ValueError(
            f"{path}: expected libFM rows 'label f:v f:v ...' with at least two features (user, "
            f"item); received {line[:80]!r}."
        )
    first = (roles.get(role) or role for role in ("user", "item", "label"))
    return (*first, *(f"field_{position}" for position in range(2, count)))


def read_libfm(path: pathlib.Path, names: Sequence[str]) -> pa.Table:
    """Read the columns of a libFM file."""
    user, item, label = names[:3]
    features = [user, item, *names[3:]]
    count = len(features)
    types = {"label": pa.float64()}
    for position in range(count):
        types |= {f"index_{position}": pa.int64(), f"value_{position}": pa.float64()}
    try:
        with open_bytes(path) as file:
            text = file.read().replace(b":", b" ")
        table = pacsv.read_csv(
            pa.BufferReader(re.sub(rb" +(?=\r?\n)|\s+\Z", b"", text)),
            pacsv.ReadOptions(column_names=list(types)),
            pacsv.ParseOptions(delimiter=" ", quote_char=False),
            pacsv.ConvertOptions(column_types=types, null_values=[]),
        )
    except (pa.ArrowException, *UNREADABLE) as error:
        raise ValueError(
            f"{path}: expected libFM rows 'label f:v f:v ...' with {count} features each, like the "
            f"first row; received another form: {error}. Rows of different lengths hold bags of "
            "features, which have no place in Interactions."
        ) from error
    columns: dict[str, ArrowColumn] = dict.fromkeys((user, item, label), table["label"])
    for position, name in enumerate(features):
        index, value = table[f"index_{position}"], table[f"value_{position}"]
        if pc.all(pc.equal(value, 1.0)).as_py():
            columns[name] = index
        elif position >= 2 and pc.min(index) == pc.max(index):
            columns[name] = value
        else:
            raise ValueError(
                f"{path}: feature {position} ({name!r}) must be one-hot (index:1)"
                f"{' or one index with a number (index:value)' if position >= 2 else ''}; its "
                "indices and values both vary."
            )
    return pa.table(columns)
