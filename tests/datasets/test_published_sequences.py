import pytest

from kerasrec.datasets import load


@pytest.mark.parametrize(
    ("name", "users", "items", "rows"),
    [("sasrec-ml-1m", 6040, 3416, 999_611), ("amazon-beauty-s3rec", 22_363, 12_101, 198_502)],
)
def test_counts(data, name, users, items, rows):
    dataset = load(name)
    found, split = dataset.interactions, dataset.split
    assert (found.num_users, found.num_items, len(found)) == (users, items, rows)
    assert [len(p) for p in (split.train, split.valid, split.test)] == [
        rows - 2 * users,
        users,
        users,
    ]
    assert split.repeated_pairs == 0


def test_both_forms_keep_their_order_and_split_off_the_last_two(cache):
    folder = cache / "sasrec-ml-1m"
    folder.mkdir(parents=True)
    (folder / "ml-1m.txt").write_text("1 9\n1 3\n1 5\n2 4\n1 7\n2 8\n2 6\n")
    split = load("sasrec-ml-1m").split
    parts = (split.train, split.valid, split.test)
    assert [part.column("item_id").tolist() for part in parts] == [[9, 3, 4], [5, 8], [7, 6]]
    assert split.test.column("time_rank").tolist() == [3, 2]
    folder = cache / "amazon-beauty-s3rec"
    folder.mkdir()
    (folder / "Beauty.txt").write_text("1 9 3 5 7\n2 4 8 6\n")
    assert load("amazon-beauty-s3rec").split.valid.column("item_id").tolist() == [5, 8]
    (folder / "Beauty.txt").write_text("1 9 x\n")
    with pytest.raises(ValueError, match="line 1 is 1 9 x"):
        load("amazon-beauty-s3rec")


def test_absent(cache):
    with pytest.raises(ValueError, match=r"sasrec-ml-1m is not in .*kang205/SASRec"):
        load("sasrec-ml-1m")
