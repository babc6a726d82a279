import datetime
import gzip
import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kerasrec.data.tables.arrow import TEXT_IDS
from kerasrec.data.tables.readers import read
from kerasrec.data.tables.table_file import detect_format

HEADER = "user_id,item_id,rating,timestamp\n"
ROWS = {"user_id": [1, 5], "item_id": [2, 6], "rating": [3.0, 4.5], "timestamp": [10, 20]}
LIBFM = "1 3:1 9:1 20:1 30:0.5\n-1 4:1 9:1 21:1 30:2\n"
INTER = (
    "user_id:token\titem_id:token\trating:float\ttimestamp:float\n"
    "1\t2\t3\t10\n5\t6\t4.5\t20.0\n"
)  # fmt: skip


def write(folder, name, content):
    data = content if isinstance(content, bytes) else content.encode()
    path = folder / name
    path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    return path


@pytest.mark.parametrize("packed", ["", ".gz"])
@pytest.mark.parametrize(
    "name, content, format",
    [
        ("r.csv", HEADER + "1,2,3,10\n5,6,4.5,20\n", "csv"),
        ("r.tsv", (HEADER + "1,2,3,10\n5,6,4.5,20\n").replace(",", "\t"), "tsv"),
        ("u.data", "1\t2\t3\t10\n5\t6\t4.5\t20\n", "movielens"),
        ("u1.base", "1\t2\t3\t10\n5\t6\t4.5\t20\n", "movielens"),
        ("ratings.dat", "1::2::3::10\n5::6::4.5::20\n", "dat"),
        ("ml.inter", INTER, "inter"),
        ("plain.txt", INTER, "inter"),
        ("plain", HEADER + "1,2,3,10\n5,6,4.5,20\n", "csv"),
        ("crlf.csv", (HEADER + "1,2,3,10\n5,6,4.5,20").replace("\n", "\r\n"), "csv"),
        ("bom.csv", b"\xef\xbb\xbf" + (HEADER + "1,2,3,10\n\n5,6,4.5,20\n").encode(), "csv"),
        ("bom.data", b"\xef\xbb\xbf1\t2\t3\t10\r\n5\t6\t4.5\t20\r\n", "movielens"),
        (
            "q.csv",
            '"user_id","item_id","rating","timestamp"\n"1","2","3",10\n"5",6,4.5,20\n',
            "csv",
        ),
    ],
)
def test_formats(tmp_path, name, content, format, packed):
    path = write(tmp_path, name + packed, content)
    assert detect_format(path) == format
    for given_format in (None, format):
        assert read(path, format=given_format).table.to_pydict() == ROWS


@pytest.mark.parametrize("packed", ["", ".gz"])
def test_parquet(tmp_path, packed):
    table = pa.table(ROWS).append_column("title", [["a", "b"]])
    table = table.set_column(0, "user_id", table["user_id"].cast(pa.int32()).dictionary_encode())
    pq.write_table(table, tmp_path / "r.parquet")
    path = write(tmp_path, "r.pq" + packed, (tmp_path / "r.parquet").read_bytes())
    assert detect_format(path) == "parquet"
    assert read(path).table.to_pydict() == ROWS


def test_format_by_content_where_the_suffix_lies(tmp_path):
    pq.write_table(pa.table(ROWS), tmp_path / "data")
    assert detect_format(tmp_path / "data") == "parquet"
    plain = tmp_path / "plain.csv.gz"
    plain.write_text(HEADER + "1,2,3,10\n5,6,4.5,20\n")
    assert read(plain).table.to_pydict() == ROWS


def test_a_file_without_header_takes_names(tmp_path):
    path = write(tmp_path, "pairs.tsv", "0\t31\n0\t22\n")
    rows = read(path, columns=["u", "i"], user="u", item="i", label=None, time=None)
    assert rows.table.to_pydict() == {"u": [0, 0], "i": [31, 22]}
    with pytest.raises(ValueError, match="first line looks like a row.*columns="):
        read(path)
    spaces = write(tmp_path, "pairs.txt", "1 5\n2 6\n")
    with pytest.raises(ValueError, match="cannot tell the format.*'1 5'"):
        read(spaces)
    rows = read(
        spaces, format="csv", separator=" ", columns=["user_id", "item_id"], label=None, time=None
    )
    assert rows.column("item_id").tolist() == [5, 6]


def test_positional_formats_take_the_roles_as_names(tmp_path):
    path = write(tmp_path, "u.data", "1\t2\t3\n5\t6\t4\n")
    rows = read(path, user="who", item="what", label="stars", time=None)
    assert rows.columns == ["who", "what", "stars"]
    with pytest.raises(ValueError, match="'timestamp' \\(time\\).*time=None"):
        read(path)
    with pytest.raises(ValueError, match="expected 2 to 4 fields.*received 5"):
        read(write(tmp_path, "v.dat", "1::2::3::4::5\n"))
    with pytest.raises(ValueError, match="expected '::' between all fields"):
        read(write(tmp_path, "w.dat", "1::2::3::4\n5:6::7:::8\n"))


def test_ids_are_integers_only_where_nothing_is_lost(tmp_path):
    def ids(*values):
        text = "user_id,item_id\n" + "".join(f"{value},{n}\n" for n, value in enumerate(values))
        path = write(tmp_path, "ids.csv", text)
        return read(path, label=None, time=None).column("user_id").tolist()

    assert ids("7", "2147483648", "9223372036854775807") == [7, 2**31, 2**63 - 1]
    assert ids("0", "10") == [0, 10]
    assert ids("007", "7") == ["007", "7"]
    assert ids("+7", "7") == ["+7", "7"]
    assert ids("a", "7") == ["a", "7"]
    assert ids("-1", "a") == ["-1", "a"]
    assert ids("9223372036854775808", "a") == ["9223372036854775808", "a"]
    assert ids("NA", "null") == ["NA", "null"]
    assert ids("日本", "🎬") == ["日本", "🎬"]
    with pytest.raises(ValueError, match="received -1"):
        ids("-1", "2")
    with pytest.raises(
        ValueError, match="2\\*\\*63 - 1; received a larger one.*9223372036854775808"
    ):
        ids("9223372036854775808", "2")
    assert ids("1.0", "20.0") == [1, 20]
    assert ids("1.5", "2.0") == ["1.5", "2.0"]
    with pytest.raises(ValueError, match="integers and some as floats, such as '2.0'.*id_type="):
        ids("1", "2.0")


@given(
    st.lists(
        st.tuples(
            st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=5),
            st.integers(0, 2**63 - 1),
            st.floats(-1e6, 1e6, width=32),
        ),
        min_size=1,
        max_size=20,
    )
)
@settings(max_examples=40, deadline=None)
def test_whatever_is_written_comes_back(tmp_path_factory, rows):
    users, items, ratings = zip(*rows, strict=True)
    text = "user_id,item_id,rating\n" + "".join(
        '"{}",{},{!r}\n'.format(user.replace('"', '""'), item, rating)
        for user, item, rating in rows
    )
    path = write(tmp_path_factory.mktemp("csv"), "r.csv", text)
    # A letter in front keeps texts such as "7" or "1.0" from being numbers.
    path.write_text(text.replace('\n"', '\n"x'), "utf-8")
    read_back = read(path, time=None, duplicates="keep")
    assert read_back.column("user_id").tolist() == ["x" + user for user in users]
    assert read_back.column("item_id").tolist() == list(items)
    assert read_back.column("rating").tolist() == [float(np.float32(r)) for r in ratings]


@pytest.mark.parametrize(
    "times, expected",
    [
        (("881250949", "881250950"), [881250949, 881250950]),
        (("8.81e8", "2.0"), [881000000, 2]),
        (("1970-01-01 00:00:01", "1970-01-01T00:00:02.5"), [10**6, 25 * 10**5]),
        (("1970-01-01T01:00:00+01:00", "1970-01-01T00:00:00Z"), [0, 0]),
        (("1970-01-01", "1970-01-02"), [0, 86400 * 10**6]),
    ],
)
def test_times_as_text(tmp_path, times, expected):
    text = HEADER + "".join(f"{n},{n},1,{time}\n" for n, time in enumerate(times))
    rows = read(write(tmp_path, "r.csv", text))
    assert rows.column("timestamp").tolist() == expected


def test_context_columns(tmp_path):
    text = (
        "user_id,item_id,hour,zip,price,device,seen\n1,2,7,02139,3,tv,true\n2,2,8,10115,0.5,pc,no\n"
    )
    names = ("hour", "zip", "price", "device", "seen")
    rows = read(write(tmp_path, "r.csv", text), label=None, time=None, context=names)
    assert [rows.column(name).tolist() for name in names] == [
        [7, 8],
        ["02139", "10115"],
        [3.0, 0.5],
        ["tv", "pc"],
        ["true", "no"],
    ]


def test_recbole_types_decide(tmp_path):
    text = (
        "user_id:token\titem_id:token\tage:float\tcode:token\ttags:token_seq\n1\ta\t8\t1.5\tx y\n"
    )
    path = write(tmp_path, "r.inter", text)
    rows = read(path, label=None, time=None, context=("age", "code"))
    assert rows.table.schema.types == [pa.int64(), TEXT_IDS, pa.float32(), TEXT_IDS]
    with pytest.raises(ValueError, match="'tags': expected one value a row.*token_seq"):
        read(path, label=None, time=None, context=("tags",))
    with pytest.raises(
        ValueError, match="RecBole header holds name:type.*\\['user_id', 'item_id'\\]"
    ):
        read(write(tmp_path, "s.inter", "user_id\titem_id\n1\t2\n"))


@pytest.mark.parametrize("ending", ["\n", "\r\n", " \n"])
def test_libfm(tmp_path, ending):
    path = write(tmp_path, "r.libfm", LIBFM.replace("\n", ending))
    rows = read(path, label="click")
    assert rows.table.to_pydict() == {
        "user_id": [3, 4],
        "item_id": [9, 9],
        "click": [1.0, -1.0],
        "field_2": [20, 21],
        "field_3": [0.5, 2.0],
    }
    assert rows.time is None and rows.context == ("field_2", "field_3")
    assert detect_format(write(tmp_path, "other.txt", LIBFM)) == "libfm"
    assert read(path, context=("field_3",)).context == ("field_3",)


@pytest.mark.parametrize(
    "text, message",
    [
        ("1 3:1 9:1\n0 4:1\n", "2 features each.*Expected 5 columns, got 3"),
        ("1 3:1 9:2\n0 4:1 8:3\n", "feature 1 \\('item_id'\\) must be one-hot"),
        ("1 3:1 9:1 5:2\n0 4:1 9:1 6:3\n", "feature 2 \\('field_2'\\).*or one index with a number"),
        ("1 3:1\n", "at least two features"),
        ("a,b\n", "expected libFM rows"),
        ("1 3:1 9:1\n0 4:x 9:1\n", "expected libFM rows.*'x'"),
    ],
)
def test_refused_libfm(tmp_path, text, message):
    with pytest.raises(ValueError, match=message):
        read(write(tmp_path, "r.libfm", text))


@pytest.mark.parametrize(
    "content, message",
    [
        ("", "the file is empty"),
        (" \r\n\n", "the file is empty"),
        (HEADER, "header .*'rating', 'timestamp'\\] and no rows"),
        (HEADER.strip(), "and no rows"),
        ("user_id,rating,timestamp\n1,2,3\n", "one column 'item_id' \\(item\\)"),
        (HEADER + "1,2,good,3\n", "'rating': expected numbers; received 'good' in row 1"),
        (HEADER + "1,2,3,1\n1,3, 4,3\n", "received ' 4' in row 2"),
        (HEADER + "1,2,nan,3\n", "no missing values.*'rating': 1"),
        (HEADER + "1,2,inf,3\n", "must be finite.*received inf in row 1"),
        (HEADER + ",2,3,3\n", "no missing values.*'user_id': 1"),
        (HEADER + "1,2,3,4\n1,2,4,5\n", "repeat an earlier pair, first \\(1, 2\\) in row 2"),
        (HEADER + "1,2,3,soon\n", "times as numbers or in ISO 8601.*'soon'"),
        (HEADER + "1,2,3,1e300\n", "times must be numbers below 2"),
        (HEADER + "1,2,3\n", "Expected 4 columns, got 3"),
        (HEADER + "\u00e9,2,3,4\n".encode().decode(), None),
        ((HEADER + "\u00e9,2,3,4\n").encode("latin-1"), "the text is not utf-8.*encoding="),
        (HEADER.encode("utf-16"), "no rows|not a readable|UTF-8"),
        (HEADER.replace(",", "#") + "1#2#3#4\n", "no separator: pass separator="),
        ("user_id,user_id\n1,2\n", "different names"),
        ('"user_id",item_id,rating,timestamp\n"a\nb",2,3,4\n', "one line of text"),
    ],
)
def test_refused_csv(tmp_path, content, message):
    data = content.encode() if isinstance(content, str) else content
    path = write(tmp_path, "r.csv", data)
    if message is None:
        assert read(path).column("user_id").tolist() == ["\u00e9"]
        return
    with pytest.raises(ValueError, match=message) as error:
        read(path)
    assert str(path) in str(error.value)


def test_refused_paths_and_arguments(tmp_path):
    with pytest.raises(ValueError, match="there is no such file"):
        read(tmp_path / "none.csv")
    with pytest.raises(ValueError, match="this is a directory"):
        read(tmp_path)
    path = write(tmp_path, "r.csv", HEADER + "1,2,3,4\n")
    with pytest.raises(ValueError, match="format must be one of .*received 'xml'"):
        read(path, format="xml")
    with pytest.raises(ValueError, match="one character; received '::'"):
        read(path, separator="::")
    with pytest.raises(ValueError, match="columns, separator and quote are for csv and tsv"):
        read(write(tmp_path, "u.data", "1\t2\t3\t4\n"), columns=["a"])
    with pytest.raises(ValueError, match="not a readable Parquet file"):
        read(write(tmp_path, "r.parquet", "hello"))
    whole = write(tmp_path, "cut.csv.gz", HEADER + "1,2,3,4\n")
    whole.write_bytes(whole.read_bytes()[:-9])
    with pytest.raises(ValueError, match="cannot read the file"):
        read(whole)


def test_missing_rows_can_be_dropped(tmp_path):
    path = write(tmp_path, "r.csv", HEADER + "1,2,nan,3\n2,3,4,5\n,1,2,3\n")
    assert read(path, missing="drop").column("user_id").tolist() == [2]


def test_a_time_zone_in_parquet(tmp_path):
    moment = datetime.datetime(1970, 1, 1, 1, tzinfo=datetime.timezone(datetime.timedelta(hours=1)))
    table = pa.table({"user_id": ["a"], "item_id": ["b"], "timestamp": [moment]})
    pq.write_table(table, tmp_path / "r.parquet")
    rows = read(tmp_path / "r.parquet", label=None)
    assert rows.column("timestamp").tolist() == [0]


def real(*parts):
    root = os.environ.get("KERASREC_DATA")
    path = Path(root or "", *parts)
    if not root or not path.is_file():
        pytest.skip(f"{'/'.join(parts)} is not in KERASREC_DATA")
    return path


@pytest.mark.parametrize(
    "parts, arguments, shape",
    [
        (("ml-100k", "u.data.gz"), {}, (100_000, 943, 1_682)),
        (("ml-100k", "u1.test.gz"), {}, (20_000, 459, 1_410)),
        (("ml-1m", "ratings_reconstructed.csv.gz"), {"item": "movie_id", "time": "time_rank"},
         (1_000_209, 6_040, 3_706)),
        (("movietweetings-100k", "ratings.dat.gz"), {}, (100_000, 16_554, 10_506)),
        (("ml-latest-small", "ratings.csv.gz"), {"user": "userId", "item": "movieId"},
         (100_836, 610, 9_724)),
        (("frappe", "frappe.test.libfm.gz"), {"duplicates": "keep"}, (28_860, 811, 4_054)),
    ],
)  # fmt: skip
def test_real_files(parts, arguments, shape):
    rows = read(real(*parts), **arguments)
    assert (len(rows), rows.num_users, rows.num_items) == shape


def test_movietweetings_keeps_leading_zeros():
    items = read(real("movietweetings-100k", "ratings.dat.gz")).column("item_id")
    assert items[2] == "0104257"


def text_of(count, *, newline="\n"):
    rows = [f"{n:03},i{n},4,{n}" for n in range(count)]
    return newline.join(["user_id,item_id,rating,timestamp", *rows]) + newline


@pytest.mark.parametrize("before", ["", "\n", "\r\n", "\n\n  \n", "\ufeff", "\ufeff\n"])
@pytest.mark.parametrize("wide", [0, 70_000, 1_200_000])
@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_ids_do_not_merge_whatever_stands_before_the_rows(tmp_path, before, wide, newline):
    text = text_of(8, newline=newline)
    if wide:
        rows = text.split(newline)
        text = newline.join([f"{rows[0]},{'x' * wide}", *(f"{row},y" for row in rows[1:-1])])
    path = write(tmp_path, "r.csv", before + text)
    rows = read(path)
    assert rows.column("user_id").tolist() == [f"{n:03}" for n in range(8)]
    assert rows.column("item_id").tolist() == [f"i{n}" for n in range(8)]


def test_a_row_may_be_longer_than_a_block_of_the_parser(tmp_path):
    path = write(tmp_path, "r.csv", "user_id,item_id,text\n07,1," + "x" * 3_000_000 + "\n7,2,y\n")
    assert read(path, label=None, time=None).column("user_id").tolist() == ["07", "7"]


def test_the_type_of_ids_is_declared_for_files_that_must_agree(tmp_path):
    train = write(tmp_path, "train.csv", "user_id,item_id\n1,10\n2,20\n")
    test = write(tmp_path, "test.csv", "user_id,item_id\n1,10\n02,20\n")
    options = {"label": None, "time": None}
    for path, users in ((train, ["1", "2"]), (test, ["1", "02"])):
        assert read(path, id_type="string", **options).column("user_id").tolist() == users
    assert read(train, id_type="integer", **options).column("user_id").tolist() == [1, 2]
    with pytest.raises(ValueError, match="test.csv.*integers without leading zeros; received '02'"):
        read(test, id_type="integer", **options)
    pq.write_table(pa.table({"user_id": [1, 2], "item_id": ["7", "8"]}), tmp_path / "r.parquet")
    rows = read(tmp_path / "r.parquet", id_type="string", **options)
    assert rows.table.to_pydict() == {"user_id": ["1", "2"], "item_id": ["7", "8"]}
    rows = read(tmp_path / "r.parquet", id_type="integer", **options)
    assert rows.table.to_pydict() == {"user_id": [1, 2], "item_id": [7, 8]}
    with pytest.raises(ValueError, match="id_type must be one of"):
        read(train, id_type="int")


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252", "utf-16", "utf-8-sig", "cp1251"])
def test_the_encoding_is_declared(tmp_path, encoding):
    user = "Жо" if encoding == "cp1251" else "zoë"
    content = f"user_id,item_id,rating,timestamp\n{user},2,3,4\n".encode(encoding)
    path = write(tmp_path, "r.csv", content)
    assert read(path, encoding=encoding).column("user_id").tolist() == [user]
    if not encoding.startswith("utf-8"):
        with pytest.raises(ValueError, match="(?s)(pass|Pass) encoding="):
            read(path)
    with pytest.raises(ValueError, match="encoding must be the name of one.*'klingon'"):
        read(path, encoding="klingon")


def test_text_that_is_not_read_may_have_any_encoding(tmp_path):
    path = write(tmp_path, "r.csv", b"user_id,item_id,title\n1,2,caf\xe9\n3,4,x\n")
    assert len(read(path, label=None, time=None)) == 2


@pytest.mark.parametrize("mark", [";", "\t", "|"])
def test_separators_are_found(tmp_path, mark):
    path = write(tmp_path, "r.csv", text_of(3).replace(",", mark))
    assert read(path).column("user_id").tolist() == ["000", "001", "002"]
    assert (
        read(path, separator=rf"\x{ord(mark):02x}").table.to_pydict()
        == read(path).table.to_pydict()
    )
    bare = write(tmp_path, "bare.csv", f"007{mark}1\n7{mark}2\n")
    rows = read(bare, columns=["user_id", "item_id"], label=None, time=None)
    assert rows.column("user_id").tolist() == ["007", "7"]


def test_what_excel_writes(tmp_path):
    text = "\ufeffuserId;movieId;rating;ts\r\n007;1;4,5;1,5\r\n7;2;3;2\r\n"
    rows = read(write(tmp_path, "r.csv", text))
    assert rows.table.to_pydict() == {
        "userId": ["007", "7"], "movieId": [1, 2], "rating": [4.5, 3], "ts": [1_500_000, 2_000_000],
    }  # fmt: skip
    assert (rows.user, rows.item, rows.time) == ("userId", "movieId", "ts")


def test_times_with_a_fraction_are_seconds(tmp_path):
    text = HEADER + "1,2,3,1700000000.123456\n1,3,3,1700000001\n"
    times = read(write(tmp_path, "r.csv", text)).column("timestamp").tolist()
    assert times == [1_700_000_000_123_456, 1_700_000_001_000_000]


@pytest.mark.parametrize("name", ["r.csv.bz2", "r.csv.xz", "r.csv.zst", "r.csv.lz4", "r.csv.zip"])
def test_compressed_files(tmp_path, name):
    import bz2
    import io
    import lzma
    import zipfile

    data, path = text_of(4).encode(), tmp_path / name
    if name.endswith("zip"):
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w") as archive:
            archive.writestr("inner.csv", data)
        path.write_bytes(packed.getvalue())
    else:
        kind = name.rpartition(".")[2]
        path.write_bytes(
            {"bz2": bz2.compress, "xz": lzma.compress}.get(
                kind, lambda some: pa.compress(some, {"zst": "zstd"}.get(kind, "lz4"), asbytes=True)
            )(data)
        )
        if kind == "lz4":
            sink = pa.BufferOutputStream()
            with pa.CompressedOutputStream(sink, "lz4") as out:
                out.write(data)
            path.write_bytes(sink.getvalue())
    assert detect_format(path) == "csv"
    assert read(path).column("user_id").tolist() == ["000", "001", "002", "003"]
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(ValueError, match="cannot read the file|not readable"):
        read(path)


def test_an_archive_of_several_files_is_refused(tmp_path):
    import zipfile

    with zipfile.ZipFile(tmp_path / "r.zip", "w") as archive:
        archive.writestr("a.csv", HEADER)
        archive.writestr("b.csv", HEADER)
    with pytest.raises(ValueError, match="archive of one file; it holds \\['a.csv', 'b.csv'\\]"):
        read(tmp_path / "r.zip")


def test_json_lines(tmp_path):
    text = (
        '{"user_id": "007", "item_id": 1, "rating": 4, "timestamp": "2024-01-01", "n": {"a": 1}}\n'
        '{"user_id": "7", "item_id": 2, "rating": 4.5, "timestamp": "2024-01-02", "n": [1]}\n\n'
        '{"user_id": "2024-01-01", "item_id": 9007199254740993, "rating": null}\n'
    )
    path = write(tmp_path, "r.jsonl", text)
    assert detect_format(path) == "jsonl" == detect_format(write(tmp_path, "plain", text))
    rows = read(path, time=None, missing="drop")
    assert rows.column("user_id").tolist() == ["007", "7"]
    assert rows.column("rating").tolist() == [4, 4.5]
    rows = read(path, time=None, label=None)
    assert rows.column("user_id").tolist() == ["007", "7", "2024-01-01"]
    assert rows.column("item_id").tolist() == [1, 2, 2**53 + 1]
    assert read(path, missing="drop").column("timestamp").tolist()[1] == 1_704_153_600_000_000
    strings = read(path, time=None, label=None, id_type="string")
    assert strings.column("item_id").tolist() == ["1", "2", "9007199254740993"]
    for wrong, message in (
        ("[1, 2]\n", "expected JSON lines.*array as lines"),
        ('{"user_id": 1}\n', "'item_id'"),
        ('{"user_id": 1, "item_id": 2}\n{"user_id": "a", "item_id": 3}\n', "as text or all as"),
        ('{"user_id": 1, "item_id": 2}\n{"user_id": ', "not readable as JSON lines"),
    ):
        with pytest.raises(ValueError, match=message):
            read(write(tmp_path, "w.jsonl", wrong), label=None, time=None)


@given(
    ids=st.lists(
        st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=6),
        min_size=1,
        max_size=12,
        unique=True,
    ),
    form=st.sampled_from(["csv", "csv-all", "json", "parquet", "pandas"]),
)
@settings(max_examples=60, deadline=None)
def test_text_ids_are_the_same_from_every_format(tmp_path_factory, ids, form):
    import csv
    import json

    import pandas as pd

    folder = tmp_path_factory.mktemp("same")
    table = {"user_id": ids, "item_id": [str(n) for n in range(len(ids))]}
    path = folder / {"json": "r.jsonl", "parquet": "r.parquet"}.get(form, "r.csv")
    if form == "parquet":
        pq.write_table(pa.table(table), path)
    elif form == "json":
        rows = [dict(zip(table, row, strict=True)) for row in zip(*table.values(), strict=True)]
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    elif form == "pandas":
        pd.DataFrame(table).to_csv(path, index=False)
    else:
        with path.open("w", encoding="utf-8", newline="") as file:
            style = csv.QUOTE_ALL if form == "csv-all" else csv.QUOTE_MINIMAL
            writer = csv.writer(file, quoting=style)
            writer.writerows([list(table), *zip(*table.values(), strict=True)])
    assert read(path, label=None, time=None, id_type="string").table.to_pydict() == table


def test_columns_without_a_role_are_not_read(tmp_path):
    table = pa.table(ROWS).append_column("vector", pa.array([[0.0] * 128] * 2))
    pq.write_table(table, tmp_path / "r.parquet")
    seen = []
    plain = pq.ParquetFile.read
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            pq.ParquetFile, "read", lambda self, **o: seen.append(o["columns"]) or plain(self, **o)
        )
        assert read(tmp_path / "r.parquet").table.to_pydict() == ROWS
    assert seen == [["user_id", "item_id", "rating", "timestamp"]]


def test_the_nearest_name_is_offered(tmp_path):
    path = write(tmp_path, "r.csv", "usr,item_id\n1,2\n")
    with pytest.raises(ValueError, match="Did you mean 'usr'"):
        read(path, label=None, time=None)
    with pytest.raises(ValueError, match=f"Did you mean '{tmp_path}/r.csv'"):
        read(tmp_path / "r.cvs")
