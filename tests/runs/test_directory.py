import dataclasses
import json

import numpy as np
import pyarrow as pa
import pytest

from kerasrec.data import Vocabulary, save_vocabularies
from kerasrec.models import EmbeddingMLP, MatrixFactorization
from kerasrec.runs.directory import FILES, SEEN, changes, read_run, write_run
from kerasrec.runs.records import Records
from kerasrec.schema import Bag, Categorical, Numeric, Schema

SCHEMA = Schema(user=Categorical("user_id", 4), item=Categorical("item_id", 5))
VOCABULARIES = {
    "user_id": Vocabulary.fit(["ann", "bob"], "user_id"),
    "item_id": Vocabulary.fit([7, 8, 9], "item_id"),
}


RECORDED = ("run.json", "queries.parquet")


@dataclasses.dataclass
class Rows:
    """As much of prepared data as a run keeps."""

    vocabularies: dict = dataclasses.field(default_factory=lambda: VOCABULARIES)
    users: dict | None = None
    items: dict | None = None

    def seen(self):
        return {"user_id": np.int32([2, 2, 3]), "item_id": np.int32([2, 3, 4])}


def records(metrics=({"model": "popularity", "hr@10": 0.1},)):
    return Records(list(metrics), pa.table({"user": ["ann"]}), {})


def write(directory, **changes):
    arguments = {
        "flags": {"model": "MatrixFactorization", "embedding_dim": 2, "data": "x.csv"},
        "split": {"train": {"rows": 3}},
        "history": {"loss": [1.0, 0.5]},
        "records": records(),
        **changes,
    }
    model = MatrixFactorization(SCHEMA, embedding_dim=2)
    return model, write_run(directory, model, Rows(), **arguments)


def test_what_is_written_is_read(tmp_path):
    model, directory = write(tmp_path / "runs" / "mf")
    assert sorted(file.name for file in directory.iterdir()) == sorted((*FILES, SEEN, *RECORDED))
    run = read_run(directory)
    pairs = {"user_id": np.array([2, 3]), "item_id": np.array([4, 2])}
    np.testing.assert_array_equal(run.model(pairs), model(pairs))
    assert run.flags == {"model": "MatrixFactorization", "embedding_dim": 2, "data": "x.csv"}
    assert run.split == {"train": {"rows": 3}}
    assert run.seen()["item_id"].tolist() == [2, 3, 4] and run.titles() is None
    assert run.users is run.items is None
    assert run.vocabularies["user_id"].ids.tolist() == ["ann", "bob"]
    assert Schema.from_json((directory / "schema.json").read_text()) == SCHEMA
    assert json.loads((directory / "history.json").read_text()) == {"loss": [1.0, 0.5]}


def test_features_that_the_model_reads_are_kept(tmp_path):
    items = (SCHEMA.item_id, Bag("genres", 5, 2), Numeric("price"))
    schema = Schema(user=SCHEMA.user, item=items)
    model = EmbeddingMLP(schema, embedding_dim=2, hidden_units=(2,))
    table = {
        "item_id": np.arange(5, dtype=np.int32),
        "genres": np.int32([[0, 0], [0, 0], [2, 3], [4, 0], [0, 0]]),
        "price": np.float32([np.nan, np.nan, 1, np.nan, 3]),
        "shelf": np.arange(5),  # not read
    }
    ready = Rows(users={"user_id": np.arange(4)}, items=table)
    flags = {"model": "EmbeddingMLP", "data": "x.csv"}
    write_run(tmp_path / "mlp", model, ready, flags=flags, split={}, history={}, records=records())
    run = read_run(tmp_path / "mlp")
    assert run.users is None and list(run.items) == ["item_id", "genres", "price"]
    for name, column in run.items.items():
        np.testing.assert_array_equal(column, table[name])
        assert column.dtype == table[name].dtype
    (tmp_path / "mlp/items.parquet").write_text("no table")
    with pytest.raises(ValueError, match="items.parquet cannot be read .*Train again"):
        _ = read_run(tmp_path / "mlp").items


def test_a_run_of_before_the_records_is_read(tmp_path):
    _, directory = write(tmp_path / "mf")
    for name in RECORDED:
        (directory / name).unlink()
    assert read_run(directory).flags["embedding_dim"] == 2


def test_the_config_says_how_to_repeat_it(tmp_path):
    _, directory = write(tmp_path / "mf")
    first = (directory / "config.yaml").read_text().splitlines()[0]
    assert first == "# kerasrec fit MatrixFactorization --config config.yaml --output NEW_DIRECTORY"


def test_a_failure_leaves_nothing(tmp_path):
    with pytest.raises(TypeError):
        write(tmp_path / "mf", records=records([object()]))
    assert list(tmp_path.iterdir()) == []


def test_a_run_is_never_overwritten(tmp_path):
    (tmp_path / "mf").mkdir()
    with pytest.raises(ValueError, match="mf exists already.*Choose another --output"):
        write(tmp_path / "mf")
    assert list((tmp_path / "mf").iterdir()) == []


def test_another_directory_is_refused(tmp_path):
    (tmp_path / "model.keras").touch()
    with pytest.raises(ValueError, match="this has no schema.json and no vocabularies.parquet"):
        read_run(tmp_path)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("config.yaml", "model: ["),
        ("config.yaml", "just text"),
        ("config.yaml", "embedding_dim: 3"),
        ("config.yaml", "model: SVD"),
        ("split.json", "{"),
        ("model.keras", "no archive"),
    ],
)
def test_damaged_files_are_named(name, text, tmp_path):
    _, directory = write(tmp_path / "mf")
    (directory / name).write_text(text)
    with pytest.raises(ValueError, match="mf: .*Restore them, or train again"):
        _ = read_run(directory).model


def test_titles_are_kept(tmp_path):
    titles = pa.table({"item_id": [7, 8], "title": ["Seven", "Eight"]})
    named = Records([], pa.table({"user": ["ann"]}), {}, titles)
    _, directory = write(tmp_path / "mf", records=named)
    assert read_run(directory).titles().to_pylist()[1] == {"item_id": 8, "title": "Eight"}


def test_a_model_of_another_schema_is_refused(tmp_path):
    _, directory = write(tmp_path / "mf")
    other = Schema(user=SCHEMA.user, item=Categorical("item_id", 9))
    MatrixFactorization(other, embedding_dim=2).save(directory / "model.keras")
    with pytest.raises(ValueError, match="another schema than schema.json"):
        _ = read_run(directory).model


def test_an_unfinished_training_is_named(tmp_path):
    (tmp_path / ".mf.training").mkdir()
    with pytest.raises(ValueError, match="mf: its training is not finished.*--resume"):
        read_run(tmp_path / "mf")


def test_the_vocabularies_of_another_training_are_refused(tmp_path):
    items = Vocabulary.fit([7, 8, 9], "item_id")
    item = Categorical("item_id", 5, fingerprint=items.fingerprint)
    model = MatrixFactorization(Schema(user=SCHEMA.user, item=item), embedding_dim=2)
    flags = {"model": "MatrixFactorization", "data": "x.csv"}
    rest = {"flags": flags, "split": {}, "history": {}, "records": records()}
    directory = write_run(tmp_path / "mf", model, Rows(), **rest)
    assert read_run(directory).vocabularies["item_id"].ids.tolist() == [7, 8, 9]
    turned = {**VOCABULARIES, "item_id": Vocabulary.fit([9, 8, 7], "item_id")}
    save_vocabularies(turned, directory)
    with pytest.raises(ValueError, match=r"parquet holds: other vocabularies of \['item_id'\]"):
        read_run(directory)


def test_what_changed_is_named():
    ours = {"train": {"rows": 3, "sha256": {"user_id": "a", "rating": "b"}}}
    assert changes(ours, ours) == []
    other = {"train": {"rows": 3, "sha256": {"user_id": "x", "time": "t"}}}
    names = ["user_id of the train rows", "rating of the train rows", "time of the train rows"]
    assert changes(ours, other) == names
    assert changes(ours, {"train": {"rows": 4}}) == ["number of train rows (4, expected 3)"]
    assert changes({"train": {"rows": 3, "sha256": "ab"}}, ours) == [
        "form of the checksum of the train rows"
    ]
