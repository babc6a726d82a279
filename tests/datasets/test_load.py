import subprocess
import sys

import pytest

from kerasrec.datasets import load, names


def test_names():
    assert names() == [
        "amazon-beauty-s3rec",
        "gowalla-lightgcn",
        "movielens-100k",
        "movielens-1m",
        "movietweetings-100k",
        "ncf-ml-1m",
        "sasrec-ml-1m",
        "synthetic",
    ]


def test_a_path_with_roles(tmp_path):
    path = tmp_path / "plays.csv"
    path.write_text("listener,song,plays\nann,x,3\nbob,y,1\n")
    dataset = load(path, user="listener", item="song", label="plays", time=None)
    assert dataset.name == str(path)
    assert dataset.interactions.column("plays").tolist() == [3.0, 1.0]
    assert repr(dataset).startswith(f"Dataset({str(path)!r}, Interactions(2 rows, 2 users")


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("movielens100k", {}, "Did you mean 'movielens-100k'"),
        ("movielens-9k", {}, "is neither a data set nor a file; .* one of .*'gowalla-lightgcn'"),
        ("synthetic", {"num_user": 3}, "takes the options .'num_users'.*received .'num_user'."),
        ("movielens-100k", {"seed": 3}, "'movielens-100k' takes no options; received .'seed'."),
    ],
)
def test_messages(name, options, message):
    with pytest.raises(ValueError, match=message):
        load(name, **options)


def test_options_of_a_path_are_checked(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match="takes the options .'format'.*received .'people'."):
        load(path, people="a")


def test_a_path_with_tables(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("user_id,item_id\n1,2\n3,2\n")
    dataset = load(path, label=None, time=None, items={"item_id": [2], "price": [1.5]})
    assert dataset.items.to_pylist() == [{"item_id": 2, "price": 1.5}] and dataset.users is None


def test_loading_needs_no_tensorflow():
    code = (
        "import sys\n"
        "from kerasrec.datasets import load\n"
        "load('synthetic', num_users=3, num_items=4, ratings_per_user=1)\n"
        "assert not {'tensorflow', 'keras', 'tensorflow_datasets'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
