"""`kerasrec export --filter_by`: a request asks for some categories and gets their items alone."""

import json
import re
from types import SimpleNamespace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import kerasrec
from kerasrec.cli import main
from kerasrec.cli.categories import item_categories, item_table


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("categories")
    rows = [f"u{u},{i},{1 + i % 5},{(i + u) % 10}" for u in range(12) for i in range(u % 2, 10, 2)]
    (folder / "ratings.csv").write_text("user_id,item_id,rating,timestamp\n" + "\n".join(rows))
    lines = [f"{i},{'low' if i < 5 else 'high'}{'|third' if i % 3 == 0 else ''}" for i in range(9)]
    (folder / "items.csv").write_text("item_id,genres\n" + "\n".join(lines))
    run = ["--data", str(folder / "ratings.csv"), "--output", str(folder / "run")]
    assert main(["fit", "Popularity", *run]) == 0
    return folder


@pytest.mark.slow
def test_a_request_filters_by_category(folder, tmp_path):
    served = str(tmp_path / "served")
    flags = ["--filter_by", "genres", "--items", str(folder / "items.csv"), "--k", "5"]
    assert main(["export", str(folder / "run"), served, *flags]) == 0
    assert main(["verify", served]) == 0
    model = kerasrec.serving.load(served)

    def items(allow):
        (answer,) = model.recommend({"user_id": ["u1"]}, allow=[allow]).rows()
        return {item for item, _ in answer}

    assert items(["high"]) <= {5, 6, 7, 8}
    assert items(["third"]) == {0, 3, 6}
    assert items(["unheard of"]) == set()
    assert len(items([])) == 5  # no filter; item 9, which the table lacks, is there too


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
    columns, categories = item_categories(run, item_table(run, str(path)), filter_by="genres")
    assert (columns["genres"] > 0).any(axis=1).all() and len(columns["genres"]) == 40
    assert sorted(categories.ids.tolist()) == ["a", "b", "c"]


def test_numbers_stay_numbers(tmp_path):
    (tmp_path / "items.csv").write_text("item_id,genres\n1,a\n2.0,b\n")
    run = FakeRun([1, 2])
    columns, _ = item_categories(
        run, item_table(run, str(tmp_path / "items.csv")), filter_by="genres"
    )
    assert columns["genres"].tolist() == [[2], [3]]
    (tmp_path / "items.csv").write_text("item_id,genres\n01,a\n2,b\n")
    with pytest.raises(ValueError, match="--items .*integers without leading zeros; received '01'"):
        item_table(run, str(tmp_path / "items.csv"))


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--filter_by", "genres"], "has no item table.*--items"),
        (["--items", "items.csv"], "--items items.csv: it is read for --filter_by alone"),
        (["--filter_by", "mood", "--items", "ITEMS"], r"columns \['item_id', 'genres'\].*'mood'"),
        (["--filter_by", "genres", "--items", "nowhere.csv"], "nowhere.csv: there is no such file"),
        (["--filter_by", "genres", "--items", "TWICE"], "an item occurs in several rows"),
        (["--filter_by", "genres", "--items", "OTHERS"], "no item of the run has a category"),
    ],
)
def test_what_is_refused(flags, message, folder, tmp_path, capsys):
    (tmp_path / "twice.csv").write_text("item_id,genres\n1,a\n1,b\n")
    (tmp_path / "others.csv").write_text("item_id,genres\n77,a\n")
    files = {
        "ITEMS": folder / "items.csv",
        "TWICE": tmp_path / "twice.csv",
        "OTHERS": tmp_path / "others.csv",
    }
    flags = [str(files.get(flag, flag)) for flag in flags]
    assert main(["export", str(folder / "run"), str(tmp_path / "served"), *flags]) == 2
    assert re.search(message, capsys.readouterr().err)
    assert not (tmp_path / "served").exists()
