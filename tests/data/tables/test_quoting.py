"""Quotes in delimited text: no row is lost, whatever the text columns hold."""

import csv
import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kerasrec.data import audit
from kerasrec.data.tables import quoting
from kerasrec.data.tables.quoting import QuoteRules, record_end, scan
from kerasrec.data.tables.readers import read

NAMES = ("user_id", "item_id", "rating", "timestamp", "review")
RULES = QuoteRules(b",", b'"', fields=3, trusted=True)


def made(tmp_path, name, rows):
    mark = "\t" if name.endswith("tsv") else ","
    path = tmp_path / name
    path.write_text("\n".join(mark.join(row) for row in [NAMES, *rows]) + "\n")
    return path


ROWS = [[f"u{n}", f"i{n}", "4", str(n), "fine"] for n in range(5)]


def with_reviews(*reviews):
    return [[*row[:4], review] for row, review in zip(ROWS, reviews, strict=True)]


@pytest.mark.parametrize(
    "reviews",
    [
        ("ok", '"great', "ok", '"bad', "ok"),
        ("ok", '"great"', "ok", '"bad" he said', "ok"),
        ("ok", '5" pipe', "ok", '"', "ok"),
        ('"', "ok", "ok", "ok", '"'),
        ('"a', '"b', '"c', '"d', '"e'),
        ('""', "ok", '"""', "ok", "ok"),
    ],
)
def test_a_tsv_file_has_no_quotes(tmp_path, reviews):
    path = made(tmp_path, "r.tsv", with_reviews(*reviews))
    assert read(path).column("user_id").tolist() == [f"u{n}" for n in range(5)]
    assert read(path, context=["review"]).column("review").tolist() == list(reviews)
    assert audit(path).rows == 5


@pytest.mark.parametrize(
    ("reviews", "message"),
    [
        (("ok", '"great', "ok", '"bad', "ok"), "line 5: text follows a closing quote"),
        (("ok", '"great', "ok", 'bad"', "ok"), "quote in line 3 .*holds line 4, which looks like"),
        (("ok", '"great', "ok", "ok", "ok"), "quote in line 3 begins a field that is not closed"),
        (("ok", '"great" said he', "ok", "ok", "ok"), "line 3: text follows a closing quote"),
        (("5\" pipe", '"great', "ok", 'bad"', "ok"), "quote in line 3 .*holds line 4"),
        (('"a ""b"', '"""c', "ok", '"', "ok"), "quote in line 3 .*holds line 4"),
    ],
)  # fmt: skip
def test_a_csv_file_whose_quotes_swallow_rows_is_refused(tmp_path, monkeypatch, reviews, message):
    path = made(tmp_path, "r.csv", with_reviews(*reviews))
    for size in (1 << 22, 7, 1):
        monkeypatch.setattr(quoting, "BLOCK_BYTES", size)
        with pytest.raises(ValueError, match=message):
            read(path)
        with pytest.raises(ValueError, match=message):
            audit(path)
    assert len(read(path, quote="")) == 5


def test_the_first_column_may_hold_the_quote_too(tmp_path):
    path = tmp_path / "r.csv"
    path.write_text('note,user_id,item_id\n"a,1,2\nb,2,3\nc",3,4\n')
    with pytest.raises(ValueError, match="quote in line 2.*holds line 3"):
        read(path, label=None, time=None)
    rows = read(path, label=None, time=None, quote="")
    assert rows.column("user_id").tolist() == [1, 2, 3]


def test_line_breaks_in_text_are_read_and_accepted_where_they_are_declared(tmp_path):
    path = tmp_path / "r.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerows([NAMES, ["u", "i", 4, 1, "two\nlines, one comma"]])
        writer.writerow(["v", "j", 4, 1, "two\nlines,of,four,com,mas"])
    with pytest.raises(ValueError, match="quote in line 4.*holds line 5.*quote='\"'"):
        read(path)
    rows = read(path, quote='"', label=None, time=None, id_type="string")
    assert rows.column("user_id").tolist() == ["u", "v"]


TEXT = st.text(st.sampled_from("ab\"',;\t |é日\u2028"), max_size=8)


@given(
    reviews=st.lists(TEXT, min_size=1, max_size=12),
    mark=st.sampled_from(",;|"),
    ending=st.sampled_from(["\n", "\r\n"]),
    style=st.sampled_from([csv.QUOTE_ALL, csv.QUOTE_MINIMAL, csv.QUOTE_NONNUMERIC]),
    place=st.integers(0, 2),
)
@settings(max_examples=150, deadline=None)
def test_what_a_csv_writer_writes_comes_back(tmp_path_factory, reviews, mark, ending, style, place):
    path = tmp_path_factory.mktemp("csv") / "r.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, delimiter=mark, lineterminator=ending, quoting=style)
        for number, review in enumerate(["review", *reviews]):
            row = ["user_id", "item_id"] if not number else [f"u{number}", f"0{number}"]
            writer.writerow([*row[:place], f"x{review}" if number else review, *row[place:]])
    rows = read(path, label=None, time=None, context=["review"])
    assert rows.column("item_id").tolist() == [f"0{n}" for n in range(1, len(reviews) + 1)]
    assert rows.column("review").tolist() == [f"x{review}" for review in reviews]


@given(
    fields=st.lists(st.tuples(TEXT, TEXT, TEXT), min_size=1, max_size=9),
    size=st.integers(1, 40),
    breaks=st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_blocks_do_not_matter(fields, size, breaks):
    text = io.StringIO()
    rows = [[f"{a}\n" if breaks else a, b, c] for a, b, c in fields]
    csv.writer(text, lineterminator="\n").writerows(rows)
    data = text.getvalue().encode()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(quoting, "BLOCK_BYTES", size)
        found = scan(io.BytesIO(data), RULES, path="r.csv", line=1)
    assert found == scan(io.BytesIO(data), RULES, path="r.csv", line=1)
    assert found.breaks == breaks
    ends, at = 0, 0
    while at < len(data):
        at, ends = record_end(data, at, RULES, True), ends + 1
    assert ends == len(rows)


@given(st.text(st.sampled_from('a",\n'), max_size=30), st.integers(1, 9))
@settings(max_examples=300, deadline=None)
def test_any_text_gives_the_fields_of_the_csv_module_or_an_error(text, size):
    """Whatever is not refused means to Python's reader, in strict mode, what it means here."""
    data = text.encode()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(quoting, "BLOCK_BYTES", size)
        try:
            found = scan(io.BytesIO(data), RULES, path="r.csv", line=1)
        except ValueError:
            return
    rows = list(csv.reader(io.StringIO(text, newline=""), strict=True))
    assert found.breaks == any("\n" in field for row in rows for field in row)
