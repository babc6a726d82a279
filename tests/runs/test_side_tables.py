import json
from types import SimpleNamespace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import kerasrec
from kerasrec.runs.side_tables import item_categories, side_table


class FakeRun:
    """As much of a run as the items need."""

    def __init__(self, ids):
        item = SimpleNamespace(name="item_id")
        self.schema = SimpleNamespace(item_id=item)
        self.vocabularies = {"item_id": kerasrec.data.Vocabulary.fit(ids, "item_id")}
        self.flags = {}


@pytest.mark.parametrize("form", ["csv", "tsv", "semicolons", "blank", "jsonl", "parquet", "asin"])
def test_text_ids_keep_their_zeros(form, tmp_path):
    """Of 40 ids, only 31 .. 40 are written without leading zeros."""
    ids = [f"{n:07}" for n in range(1, 31)] + [str(n) for n in range(31, 41)]
    rows = [["item_id", "genres"], *([i, "a|b" if n % 2 else "c"] for n, i in enumerate(ids))]
    mark = {"tsv": "\t", "semicolons": ";"}.get(form, ",")
    text = "\n".join(mark.join(row) for row in rows) + "\n"
    path = (
        tmp_path / f"items.{ {'tsv': 'tsv', 'jsonl': 'jsonl', 'parquet': 'pq'}.get(form, 'csv') }"
    )
    if form == "parquet":
        pq.write_table(pa.table(dict(zip(rows[0], zip(*rows[1:], strict=True), strict=True))), path)
    elif form == "jsonl":
        lines = (json.dumps(dict(zip(rows[0], row, strict=True))) for row in rows[1:])
        path.write_text("\n".join(lines))
    else:
        text = {"blank": "\n" + text, "asin": text.replace("item_id", "asin")}.get(form, text)
        path.write_text(text)
    run = FakeRun(ids)
    columns, categories = item_categories(
        run, side_table(run, str(path), role="item", flag="--items"), filter_by="genres"
    )
    assert (columns["genres"][2:] > 0).any(axis=1).all() and len(columns["genres"]) == 42
    assert sorted(categories.ids.tolist()) == ["a", "b", "c"]


def test_numbers_stay_numbers(tmp_path):
    (tmp_path / "items.csv").write_text("item_id,genres\n1,a\n2.0,b\n")
    run = FakeRun([1, 2])
    columns, _ = item_categories(
        run,
        side_table(run, str(tmp_path / "items.csv"), role="item", flag="--items"),
        filter_by="genres",
    )
    assert columns["genres"].tolist() == [[0], [0], [2], [3]]
    (tmp_path / "items.csv").write_text("item_id,genres\n01,a\n2,b\n")
    with pytest.raises(ValueError, match="--items .*integers without leading zeros; received '01'"):
        side_table(run, str(tmp_path / "items.csv"), role="item", flag="--items")
