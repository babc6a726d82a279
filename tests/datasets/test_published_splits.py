import gzip

import numpy as np
import pytest

from kerasrec.datasets import load

TRAIN = "0\t5\n0\t7\n1\t5\n"
TEST = "0\t9\t4\t978300760\n1\t7\t5\t978302109\n"
NEGATIVES = "(0,9)\t1\t2\n(1,7)\t9\t3\n"


def write_ncf(cache, **changes):
    folder = cache / "ncf-ml-1m"
    folder.mkdir(parents=True)
    texts = {"train.rating": TRAIN, "test.rating": TEST, "test.negative": NEGATIVES, **changes}
    for name, text in texts.items():
        (folder / f"ml-1m.{name}").write_text(text)


def test_ncf(data):
    dataset = load("ncf-ml-1m")
    rows, split = dataset.interactions, dataset.split
    assert (len(rows), rows.num_users, rows.num_items) == (1_000_209, 6040, 3706)
    assert [len(part) for part in (split.train, split.valid, split.test)] == [994_169, 0, 6040]
    assert split.repeated_pairs == 0
    assert dataset.negatives.shape == (6040, 99)
    own = (dataset.negatives == split.test.column("item_id")[:, None]).any(axis=1)
    assert own.sum() == 156


def test_gowalla(data):
    dataset = load("gowalla-lightgcn")
    rows, split = dataset.interactions, dataset.split
    assert (len(rows), rows.num_users, rows.num_items) == (1_027_370, 29_858, 40_981)
    assert [len(part) for part in (split.train, split.valid, split.test)] == [810_128, 0, 217_242]
    assert split.repeated_pairs == 0
    assert dataset.negatives is None


def test_ncf_rows_keep_their_order(cache):
    write_ncf(cache)
    dataset = load("ncf-ml-1m")
    train, test = dataset.split.train, dataset.split.test
    assert train.column("item_id").tolist() == [5, 7, 5]
    assert train.column("time_rank").tolist() == [0, 1, 0]
    assert test.column("item_id").tolist() == [9, 7]
    assert test.column("time_rank").tolist() == [2, 1]
    assert dataset.negatives.tolist() == [[1, 2], [9, 3]]
    assert "MovieLens" in dataset.terms


def test_gowalla_lists(cache):
    folder = cache / "gowalla-lightgcn"
    folder.mkdir(parents=True)
    (folder / "train.txt.gz").write_bytes(gzip.compress(b"0 4 5\n1 6\n\n2\n"))
    (folder / "test.txt").write_text("0 6\n")
    split = load("gowalla-lightgcn").split
    assert split.train.time is None
    assert split.train.column("user_id").tolist() == [0, 0, 1]
    np.testing.assert_array_equal(split.train.column("item_id"), [4, 5, 6])
    assert split.test.column("item_id").tolist() == [6]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train.rating": "0\tfive\n"}, "ml-1m.train.rating: expected lines `user<TAB>item"),
        ({"train.rating": "0 5\n"}, "ml-1m.train.rating: expected lines"),
        ({"train.rating": ""}, "ml-1m.train.rating: expected lines"),
        ({"test.negative": "(0,8)\t1\t2\n(1,7)\t9\t3\n"}, r"line 1 belongs to \(0,8\); expected"),
        ({"test.negative": "(0,9)\t1\t2\n(1,7)\t9\n"}, "test.negative: expected as many items"),
        ({"test.negative": NEGATIVES + "(2,7)\t9\t3\n"}, "line 3 belongs to .*expected no line"),
        ({"test.negative": "(0,9)\t1\t2\n"}, "test.negative: expected a line for each of the 2"),
        ({"test.negative": "(0,9)\t1\tx\n(1,7)\t9\t3\n"}, "line 1.*whole numbers"),
    ],
)
def test_damaged_ncf_files(changes, message, cache):
    write_ncf(cache, **changes)
    with pytest.raises(ValueError, match=message):
        load("ncf-ml-1m")


def test_a_damaged_list(cache):
    folder = cache / "gowalla-lightgcn"
    folder.mkdir(parents=True)
    (folder / "train.txt").write_text("0 4 5\n1 six\n")
    (folder / "test.txt").write_text("0 6\n")
    with pytest.raises(ValueError, match="train.txt: expected whole numbers.*line 2 is 1 six"):
        load("gowalla-lightgcn")


@pytest.mark.parametrize("name", ["ncf-ml-1m", "gowalla-lightgcn"])
def test_says_where_to_put_it(name, cache):
    with pytest.raises(ValueError, match=f"{name} is not in .*Put .*cache/{name}"):
        load(name)
