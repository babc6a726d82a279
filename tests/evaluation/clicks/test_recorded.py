import numpy as np
import pyarrow.parquet as pq
import pytest

from kerasrec.evaluation import ClickPredictions
from kerasrec.evaluation.clicks.recorded import from_table, to_table


def test_what_is_written_is_read(tmp_path):
    labels = np.array([1.0, 0.0, 1.0, 0.0] * 5)
    found = ClickPredictions.from_probabilities(labels, np.linspace(0, 1, 20))
    columns = {
        "same": ["x"] * 20,
        "id": [f"u{n}" for n in range(20)],
        "tags": [["a"]] * 20,
        "half": ["low", "high"] * 10,
        "number": np.arange(20.0),
        "gaps": [None, "é"] * 10,
        "third": [True, True, True, False] * 5,
        "day": np.arange(20) // 5,
    }
    users = np.arange(20) % 3 + 2**40
    pq.write_table(to_table(found, columns, users), tmp_path / "p.parquet")
    again = from_table(pq.read_table(tmp_path / "p.parquet"))
    for ours, theirs in zip(found, again.found, strict=True):
        assert ours.tolist() == theirs.tolist()
    # Four columns, and those first that tell the label: here half and gaps alone do.
    assert list(again.segments) == ["half", "gaps", "third", "number"]
    assert again.segments["gaps"][:2].tolist() == ["missing", "é"]
    assert [len(set(again.users[users == user])) for user in set(users)] == [1, 1, 1]
    plain = from_table(to_table(found, {}))
    assert plain.users is None and plain.segments == {}


def test_another_table_is_refused():
    found = ClickPredictions.from_probabilities([1, 0], [0.5, 0.5])
    with pytest.raises(KeyError, match="logit"):
        from_table(to_table(found, {}).drop_columns(["logit"]))
