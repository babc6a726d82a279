import dataclasses
import os
import tracemalloc
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from kerasrec.data import audit as audit_of_the_package
from kerasrec.data.tables._audit import Audit, audit
from kerasrec.data.tables.interactions import Interactions

GOOD = {
    "user_id": [1, 1, 2, 2],
    "item_id": [7, 8, 7, 9],
    "rating": [1.0, 5.0, 5.0, 3.0],
    "timestamp": [10, 20, 20, 40],
}


def test_sound_rows():
    report = audit(Interactions.from_table(GOOD))
    assert report == Audit(
        source="Interactions",
        rows=4,
        users=2,
        items=3,
        density=4 / 6,
        duplicates=0,
        missing={"user_id": 0, "item_id": 0, "rating": 0, "timestamp": 0},
        labels=(("1", 1), ("3", 1), ("5", 2)),
        time_range=(10, 40),
        problems=(),
        leaks=(),
    )
    text = str(report)
    for line in (
        "rows          4",
        "users         2 (2.0 rows a user)",
        "density       66.67% of all (user, item) pairs",
        "missing       none",
        "time          10 .. 40",
        "problems      none",
        "likely leaks  none",
    ):
        assert line in text.splitlines()
    assert audit(pd.DataFrame(GOOD)).users == 2 and audit(GOOD).items == 3


def test_a_file_full_of_trouble(tmp_path):
    path = tmp_path / "bad.csv"
    path.write_text(
        "user_id,item_id,rating,timestamp,note\n"
        "1,7,4,10,\n1,7,5,11,a\n-2,8,great,12,b\n3,9,inf,13,c\n,9,nan,soon,d\n"
    )
    report = audit(path)
    assert (report.rows, report.users, report.items, report.duplicates) == (5, 3, 3, 1)
    assert report.density == 3 / 9
    assert report.missing == {"user_id": 1, "item_id": 0, "rating": 0, "timestamp": 0, "note": 1}
    assert report.labels == (("4", 1), ("5", 1))
    assert report.time_range == (10, 13)
    problems = "\n".join(report.problems)
    for finding in (
        "integer ids must lie in 0 .. 2**63 - 1 (-1 pads served inputs); received -2",
        "1 rows repeat a (user, item) pair",
        "column 'rating': expected numbers; received 'great' in row 3",
        "column 'rating': 2 of 5 values are not numbers",
        "column 'rating': 1 of 5 values are infinite",
        "column 'timestamp': 1 of 5 values are not numbers",
        "column 'user_id': 1 of 5 values are missing",
    ):
        assert finding in problems
    assert "missing       user_id 1, note 1" in str(report)


def test_leaks():
    rng = np.random.default_rng(0)
    count = 60
    label = rng.integers(0, 2, count)
    report = audit(
        {
            "user_id": np.arange(count) + 1,
            "item_id": rng.integers(0, 9, count),
            "rating": label,
            "timestamp": np.full(count, 5),
            "copy": np.where(label, "yes", "no"),
            "state": label * 2 + rng.integers(0, 2, count),
            "noise": rng.integers(0, 3, count),
            "unique": rng.permutation(count),
            "constant": np.zeros(count),
        }
    )
    assert report.leaks == (
        "'user_id' is the number of the row, not an id",
        "'timestamp' is the same in all rows, so it gives no order",
        "'copy' determines 'rating': each of its values has only one label",
        "'state' determines 'rating': each of its values has only one label",
    )


def test_a_rescaled_label_is_a_leak():
    rng = np.random.default_rng(0)
    label = rng.random(50)
    report = audit(
        {
            "user_id": rng.integers(0, 9, 50),
            "item_id": np.arange(50, 0, -1),
            "rating": label,
            "percent": -100 * label,
            "text": [f"{value:.6f}" for value in label],
            "other": rng.random(50),
        },
        time=None,
    )
    assert report.leaks == (
        "'percent' is 'rating' in another scale (correlation above 0.999)",
        "'text' is 'rating' in another scale (correlation above 0.999)",
    )
    assert len(report.labels) == 10 and sum(count for _, count in report.labels) == 50


def test_labels_that_say_nothing_or_too_little():
    same = audit({**GOOD, "rating": [1, 1, 1, 1]})
    assert same.leaks == ("'rating' is the same in all rows: there is nothing to predict",)
    ratings = np.r_[0, np.tile([3, 4, 5], 100)]
    rare = audit(
        {"user_id": np.arange(301) % 7, "item_id": np.arange(301)[::-1], "rating": ratings},
        time=None,
    )
    assert rare.leaks == ("'rating' is 0 in 1 rows (0.33%): make sure that it does not mean "
                          "'unknown'",)  # fmt: skip
    implicit = audit(GOOD, label=None, time=None)
    assert implicit.labels == () and "labels        none" in str(implicit)
    assert implicit.time_range is None and "time          none" in str(implicit)


@pytest.mark.parametrize(
    "changes, problem",
    [
        ({"user_id": [1, 1, 1, 1], "item_id": [1, 2, 3, 4]}, "1 user: nothing can be learned"),
        ({"item_id": [1, 1, 1, 1], "user_id": [1, 2, 3, 4]}, "1 item: nothing can be learned"),
        ({"user_id": [None] * 4}, "0 user: nothing can be learned"),
        ({"user_id": [1.5, 1.0, 2.0, 2.0]}, "received the type double"),
        ({"user_id": np.array([2**63, 1, 1, 2], np.uint64)}, "received 9223372036854775808"),
        ({"user_id": ["a\n", "b", "c", "d"]}, "one line of text"),
        ({"rating": ["1", "2", "x", "3"]}, "received text such as '1'"),
        ({"timestamp": ["a", "b", "c", "d"]}, "4 of 4 values are not numbers"),
        ({"timestamp": [1e300, 1, 2, 3]}, "times must be numbers below"),
        ({"rating": [1e300, 1, 2, 3]}, "1 of 4 values are infinite"),
    ],
)
def test_what_interactions_refuse_is_a_problem(changes, problem):
    report = audit({**GOOD, **changes})
    assert problem in "\n".join(report.problems)
    assert str(report)


def test_missing_optional_columns_are_problems_and_missing_ids_errors():
    report = audit({"user_id": [1, 2], "item_id": [3, 4]})
    assert [problem.split(";")[0] for problem in report.problems] == [
        "Interactions: expected one column 'rating' (label)",
        "Interactions: expected one column 'timestamp' (time)",
    ]
    with pytest.raises(ValueError, match="one column 'user_id' \\(user\\).*Pass user="):
        audit({"user": [1], "item_id": [2]})


def test_refused_sources(tmp_path):
    path = tmp_path / "e.csv"
    for text, message in [
        ("", "the file is empty"),
        ("user_id,item_id\n", "and no rows"),
        ("1,2\n3,4\n", "first line looks like a row"),
    ]:
        path.write_text(text)
        with pytest.raises(ValueError, match=message):
            audit(path)
    with pytest.raises(ValueError, match="at least one row"):
        audit({"user_id": [], "item_id": []})
    with pytest.raises(ValueError, match="no such file"):
        audit(tmp_path / "none.csv")
    with pytest.raises(ValueError, match="a dict of columns or a table"):
        audit(3)
    with pytest.raises(ValueError, match="one length"):
        audit({"user_id": [1], "item_id": [1, 2]})
    with pytest.raises(ValueError, match="received the type list"):
        audit({"user_id": [[1]], "item_id": [1]})


@pytest.mark.parametrize("unit", [1, 10**3, 10**6])
def test_unix_times_are_shown_as_dates(unit):
    times = [881250949 * unit, 893286638 * unit]
    report = audit({"user_id": [1, 2], "item_id": [3, 4], "timestamp": times}, label=None)
    assert "              1997-12-04 15:55:49 .. 1998-04-22 23:10:38 UTC\n" in str(report)
    assert max(map(len, str(report).splitlines())) <= 80


def test_ml_100k():
    path = Path(os.environ.get("KERASREC_DATA", ""), "ml-100k", "u.data.gz")
    if not path.is_file():
        pytest.skip("ml-100k is not in KERASREC_DATA")
    report = audit(path)
    assert (report.rows, report.users, report.items) == (100_000, 943, 1_682)
    assert report.density == 100_000 / (943 * 1_682)
    assert "density       6.30% of all (user, item) pairs" in str(report)
    assert report.duplicates == 0 and not any(report.missing.values())
    counts = {"1": 6_110, "2": 11_370, "3": 27_145, "4": 34_174, "5": 21_201}
    assert dict(report.labels) == counts
    assert report.time_range == (874724710, 893286638)
    assert report.problems == () and report.leaks == ()


def test_the_function_stays_under_the_name_of_its_module():
    assert audit_of_the_package is audit


def test_a_parquet_file_is_looked_at_column_by_column(tmp_path, monkeypatch):
    table = pa.table({**GOOD, "note": ["a", None, "b", ""], "vector": [[0.0] * 9] * 4})
    pq.write_table(table, tmp_path / "r.parquet")
    read, seen = pq.ParquetFile.read, []
    monkeypatch.setattr(
        pq.ParquetFile, "read", lambda self, columns: seen.append(columns) or read(self, columns)
    )
    report = audit(tmp_path / "r.parquet")
    assert max(map(len, seen)) == 1 and {name for [name] in seen} == set(table.column_names)
    assert report.missing == {
        **dict.fromkeys(table.column_names, 0), "note": 2,
    }  # fmt: skip
    assert dataclasses.replace(report, source="") == dataclasses.replace(audit(table), source="")


def test_memory_is_a_few_numbers_a_row():
    rng, rows = np.random.default_rng(0), 200_000
    table = pa.table({
        "user_id": rng.integers(0, 9000, rows),
        "item_id": rng.integers(0, 3000, rows),
        "rating": rng.integers(1, 6, rows).astype(np.float64),
        "timestamp": rng.integers(0, 2**31, rows),
        **{f"other{n}": rng.random(rows) for n in range(5)},
    })  # fmt: skip
    tracemalloc.start()
    try:
        assert audit(table).rows == rows
        assert tracemalloc.get_traced_memory()[1] < 80 * rows
    finally:
        tracemalloc.stop()


def test_a_file_is_read_as_read_reads_it(tmp_path):
    path = tmp_path / "r.csv"
    path.write_bytes("userId;movieId;stars;ts\n007;1;4,5;1,5\n7;é;3;2\n".encode("latin-1"))
    with pytest.raises(ValueError, match="encoding="):
        audit(path)
    report = audit(path, encoding="latin-1")
    assert (report.users, report.items, report.problems) == (2, 2, ())
    assert report.labels == (("3", 1), ("4.5", 1)) and report.time_range == (1_500_000, 2_000_000)
    assert "received '007' in row 1" in "".join(
        audit(path, encoding="latin-1", id_type="integer").problems
    )


def test_columns_of_the_item_and_of_the_user():
    rng = np.random.default_rng(0)
    user, item = np.repeat(np.arange(8), 6), np.tile(np.arange(6), 8)
    report = audit(
        {
            "user_id": user,
            "item_id": item,
            "rating": rng.integers(1, 6, 48),
            "genre": np.array(list("abcabb"))[item],
            "city": np.array(list("xyxyzzxy"))[user],
            "hour": rng.integers(0, 24, 48),
        },
        time=None,
    )
    assert [text.split(":")[0] for text in report.leaks] == [
        "'genre' is the same in all rows of each 'item_id'"
    ]
    assert report.features == ("'city' is the same in all rows of each 'user_id': a user feature",)
    assert "features\n  - 'city'" in str(report) and "hour" not in str(report).split("leaks")[1]
