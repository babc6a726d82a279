import gzip

import numpy as np
import pytest

from kerasrec.datasets import load, movielens


@pytest.fixture(scope="module")
def recbole():
    """The real files of the wheel; needs a network or a filled pip cache."""
    prefix = "recbole/dataset_example/ml-100k/"
    try:
        return movielens.files_of_wheel(
            movielens._WHEEL,
            sha256=movielens._WHEEL_SHA256,
            members=[prefix + name for name in movielens._WHEEL_FILES],
        )
    except ValueError as error:
        if "sha256" in str(error):
            raise
        pytest.skip(f"needs pip's network: {error}")


def rows_of(data):
    """The wheel's .inter file, which is u.data below another header."""
    header = b"user_id:token\titem_id:token\trating:float\ttimestamp:float\n"
    return header + gzip.decompress((data / "ml-100k" / "u.data.gz").read_bytes())


def test_100k_original(data):
    dataset = load("movielens-100k")
    rows = dataset.interactions
    assert (len(rows), rows.num_users, rows.num_items) == (100_000, 943, 1682)
    first = {"user_id": 196, "item_id": 242, "rating": 3.0, "timestamp": 881250949}
    assert rows.table.slice(0, 1).to_pylist() == [first]
    assert dataset.items.slice(0, 1).to_pylist() == [
        {
            "item_id": 1,
            "title": "Toy Story (1995)",
            "year": 1995,
            "genres": ["Animation", "Children's", "Comedy"],
        }
    ]
    assert dataset.users.slice(0, 1).to_pylist() == [
        {"user_id": 1, "age": 24, "gender": "M", "occupation": "technician", "zip_code": "85711"}
    ]
    for side, name in ((dataset.users, "user_id"), (dataset.items, "item_id")):
        assert set(rows.table[name].to_pylist()) <= set(side[name].to_pylist())
        assert side[name].type == rows.table[name].type
    assert "no redistribution" in dataset.terms


@pytest.mark.slow
def test_100k_of_the_wheel_is_the_same(data, cache, recbole, monkeypatch):
    assert recbole["ml-100k.inter"] == rows_of(data)
    movielens.install("ml-100k", recbole)
    from_wheel = load("movielens-100k")
    monkeypatch.setenv("KERASREC_DATA", str(data))
    original = load("movielens-100k")
    assert from_wheel.interactions.table.equals(original.interactions.table)
    assert from_wheel.users.equals(original.users)
    assert from_wheel.items.equals(original.items)


def test_100k_from_a_cached_inter_file(data, cache, monkeypatch):
    movielens.install("ml-100k", {"ml-100k.inter": rows_of(data)})
    cached = load("movielens-100k")
    assert cached.users is None and cached.items is None
    monkeypatch.setenv("KERASREC_DATA", str(data))
    assert cached.interactions.table.equals(load("movielens-100k").interactions.table)


SMALL = {
    "ml-100k.inter": b"user_id:token\titem_id:token\trating:float\ttimestamp:float\n1\t7\t3\t9\n",
    "ml-100k.item": b"item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq\n"
    b"7\tHeat\t1995\tDrama Crime\n8\tunkonwn\tunkonwn\tunknown\n",
    "ml-100k.user": b"user_id:token\tage:token\tgender:token\toccupation:token\tzip_code:token\n"
    b"1\t24\tF\twriter\t02139\n",
}


def test_100k_is_downloaded_once_and_says_its_terms_once(cache, monkeypatch, capsys):
    calls = []
    monkeypatch.setattr(
        movielens, "files_of_wheel", lambda *args, **kwargs: calls.append(args) or SMALL
    )
    first = load("movielens-100k")
    said = capsys.readouterr()
    assert "no redistribution" in said.err and str(cache) in said.err and not said.out
    second = load("movielens-100k")
    assert capsys.readouterr() == ("", "")
    assert calls == [("recbole==1.2.1",)]
    assert first.interactions.table.equals(second.interactions.table)
    assert first.items["title"].to_pylist() == ["Heat (1995)", "unknown"]
    assert first.items["year"].to_pylist() == [1995, None]
    assert first.interactions.items.equals(first.items)
    assert first.interactions.users.equals(first.users)
    assert first.items["genres"].to_pylist() == [["Crime", "Drama"], ["unknown"]]
    assert first.users["zip_code"].to_pylist() == ["02139"]


def test_100k_without_a_network_says_what_to_do(cache, monkeypatch):
    def offline(*_, **__):
        raise ValueError("could not download recbole==1.2.1 with pip: no network")

    monkeypatch.setattr(movielens, "files_of_wheel", offline)
    with pytest.raises(ValueError, match="is not in .*no network.*Connect.*or put u.data"):
        load("movielens-100k")
    assert not cache.exists()


def test_1m_reconstructed(data):
    dataset = load("movielens-1m")
    rows = dataset.interactions
    assert len(rows) == 1_000_209 - 488
    assert rows.column("rating").min() == 1.0
    assert (rows.num_users, rows.time) == (6040, "time_rank")
    assert dataset.notes[0].startswith("488 of 1000209 rows with an unknown rating")
    assert dataset.users.slice(0, 1).to_pylist() == [
        {"user_id": 1, "age": 1, "gender": "F", "occupation": "K-12 student", "zip_code": "48067"}
    ]
    assert dataset.items.num_rows == 3883
    assert set(np.unique(rows.column("item_id"))) <= set(dataset.items["item_id"].to_pylist())


def test_1m_original(cache):
    folder = cache / "ml-1m"
    folder.mkdir(parents=True)
    (folder / "ratings.dat").write_text("1::1193::5::978300760\n2::661::3::978302109\n")
    (folder / "movies.dat").write_bytes("661::Amélie (2001)::Comedy|Drama\n".encode("latin-1"))
    dataset = load("movielens-1m")
    assert dataset.interactions.column("timestamp").tolist() == [978300760, 978302109]
    assert dataset.items.to_pylist() == [
        {"item_id": 661, "title": "Amélie (2001)", "year": 2001, "genres": ["Comedy", "Drama"]}
    ]
    assert dataset.users is None and dataset.notes == ()


def test_1m_says_where_to_put_it(cache):
    with pytest.raises(ValueError, match="forbid redistribution: download.*into .*cache/ml-1m"):
        load("movielens-1m")
