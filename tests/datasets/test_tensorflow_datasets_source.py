import gzip

import numpy as np
import pytest

from kerasrec.data import encode, fit_vocabularies, make_schema, stream_tfrecord
from kerasrec.datasets import load, tfds_files


def as_if_downloaded(data, download_dir, rows):
    """Puts real files where TFDS keeps the archive it has downloaded and extracted."""
    import tensorflow_datasets as tfds

    url = "https://files.grouplens.org/datasets/movielens/ml-100k.zip"
    checksum = tfds.builder_cls("movielens").url_infos[url].checksum
    name = tfds.core.download.resource.get_dl_fname(url, checksum)
    folder = download_dir / "extracted" / f"ZIP.{name}" / "ml-100k"
    folder.mkdir(parents=True)
    (download_dir / name).touch()
    (download_dir / f"{name}.INFO").write_text("{}")
    for file in ("u.data", "u.item", "u.user"):
        content = gzip.decompress((data / "ml-100k" / f"{file}.gz").read_bytes())
        if file == "u.data":
            content = b"".join(content.splitlines(keepends=True)[:rows])
        (folder / file).write_bytes(content)


def sorted_rows(interactions):
    names = (interactions.user, interactions.item, interactions.label, interactions.time)
    columns = [interactions.column(name).astype(np.int64) for name in names]
    return np.stack(columns, axis=1)[np.lexsort(columns)]


def test_the_real_loader_on_the_real_data(data, tmp_path):
    rows = 1500  # all 100,000 take TFDS a quarter of a minute or more
    as_if_downloaded(data, tmp_path / "downloads", rows)
    folders = {"data_dir": tmp_path / "data", "download_dir": tmp_path / "downloads"}
    dataset = load("tfds:movielens/100k-ratings", **folders)
    original = load("movielens-100k")
    expected = original.interactions.take(np.arange(rows))
    np.testing.assert_array_equal(sorted_rows(dataset.interactions), sorted_rows(expected))
    titles = {row["item_id"]: row["title"] for row in original.items.to_pylist()}
    assert dataset.items.num_rows == dataset.interactions.num_items
    for row in dataset.items.to_pylist():
        assert row["title"].strip() == titles[int(row["movie_id"])]
    # Prepared once, it loads without the download, in the same order.
    again = load("tfds:movielens/100k-ratings", data_dir=tmp_path / "data")
    assert again.interactions.table.equals(dataset.interactions.table)
    paths = tfds_files("movielens/100k-ratings", data_dir=tmp_path / "data")
    rows = dataset.interactions
    vocabularies = fit_vocabularies(rows)
    options = {"batch_size": 200, "shuffle": False, "drop_remainder": True}
    halves = [
        stream_tfrecord(paths, make_schema(rows, vocabularies), vocabularies, shard=s, **options)
        for s in ((0, 2), (1, 2))
    ]
    users = [features["user_id"] for half in halves for features, _ in half]
    expected = encode(rows, vocabularies)["user_id"]
    np.testing.assert_array_equal(np.concatenate(users), expected[:1400])
    with pytest.raises(ValueError, match="one of the splits .'train'.; received 'test'"):
        load("tfds:movielens/100k-ratings", data_dir=tmp_path / "data", split="test")


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("tfds:nope", {}, "has no such builder .*The name is builder/config"),
        ("tfds:movielens/nope", {}, "has no such builder"),
        ("tfds:mnist", {}, "it lacks .'user_id'.*and has .'image', 'label'."),
        ("tfds:movielens", {"shard": 1}, "takes the options .'split'.*received .'shard'."),
    ],
)
def test_messages(name, options, message):
    with pytest.raises(ValueError, match=message):
        load(name, **options)
