import numpy as np
import pyarrow as pa
import pytest

from kerasrec.data import Examples, prepare_examples, read_examples, split_examples
from kerasrec.data.examples.classes import label_column


@pytest.mark.parametrize(
    ("values", "classes", "labels", "names"),
    [
        (["b", "a", "", "né"], True, [1, 0, None, 2], ("a", "b", "né")),
        ([10, 9, -1, None], True, [2, 1, 0, None], ("-1", "9", "10")),  # in the order of numbers
        ([2**40, 2**40 + 1, 0], True, [1, 2, 0], ("0", str(2**40), str(2**40 + 1))),
        ([0.0, 3.0, 1.0], None, [0, 2, 1], ("0", "1", "3")),
        ([0, 1, 1], None, [0, 1, 1], ()),  # a yes or a no
        ([0.5, 3.0, 1.0], None, [0.5, 3, 1], ()),
        (list(range(21)), None, list(range(21)), ()),  # as well a number
        ([4, 5, 6], False, [4, 5, 6], ()),
        (["b", "b"], ("a", "b"), [1, 1], ("a", "b")),
    ],
)
def test_labels_are_positions_of_sorted_names(values, classes, labels, names):
    column, found = label_column(values, "label", classes)
    assert column.type == pa.float32()
    assert (column.to_pylist(), found) == (labels, names)


@pytest.mark.parametrize(
    ("values", "classes", "message"),
    [
        ([0.5, 1.0], True, "text or whole numbers below.*received 0.5"),
        ([2.0**53, 1.0], True, "received 9.007"),
        (["c"], ("a", "b"), "expected the classes 'a', 'b'.*received 'c'"),
        ([str(n) for n in range(1001)], None, "at most 1,000 classes; received 1,001"),
        (["a"], False, "expected numbers; received text"),
    ],
)
def test_bad_labels(values, classes, message):
    with pytest.raises(ValueError, match=message):
        label_column(values, "label", classes)


def rows(kinds, **options):
    table = {"x": np.linspace(0.1, 0.9, len(kinds)), "kind": kinds}
    return Examples.from_table(table, label="kind", classes=True, **options)


def test_classes_are_those_of_the_training_rows():
    split = split_examples(rows(["b", "c", "b", "a"] * 10), valid=0.2, test=0.2)
    assert "mean label" not in split.describe()
    for part in split.parts.values():  # each has the same shares of classes
        assert np.bincount(part.labels.astype(int)).tolist() == [
            len(part) // 4, len(part) // 2, len(part) // 4,
        ]  # fmt: skip
    train = split.train.take(split.train.labels < 2)
    ready = prepare_examples(type(split)(train, split.valid, split.test))
    assert ready.classes == ("a", "b")
    assert set(ready.train["kind"]) == set(ready.test["kind"]) == {0.0, 1.0}
    assert len(ready.test["x"]) == 6
    assert ready.notes[-2:] == (
        "'kind' is one of 2 classes: a, b",
        "4 rows are left out: no training row has their 'kind'",
    )
    again = prepare_examples(split, vocabularies=ready.vocabularies, schema=ready.schema)
    assert again.classes == ready.classes
    assert len(again.train["kind"]) == len(ready.train["kind"])


def test_one_class_and_numbers_are_refused():
    with pytest.raises(ValueError, match="all training rows have the 'kind' 'a'"):
        prepare_examples(rows(["a", "a"]))
    ready = prepare_examples(rows(["a", "b"]))
    numbers = Examples.from_table({"x": [0.5, 0.2], "kind": [0, 1]}, label="kind")
    with pytest.raises(ValueError, match="Read them with classes=True"):
        prepare_examples(numbers, vocabularies=ready.vocabularies, schema=ready.schema)


def test_a_second_file_has_the_classes_of_the_first(tmp_path):
    first, second = tmp_path / "a.csv", tmp_path / "b.csv"
    first.write_text("x,kind\n0.5,low\n0.7,high\n0.9,mid\n")
    second.write_text("x,kind\n0.5,mid\n")
    train = read_examples(first, label="kind", classes=None)
    assert (train.classes, train.labels.tolist()) == (("high", "low", "mid"), [1, 0, 2])
    assert read_examples(second, like=train).labels.tolist() == [2]
    second.write_text("x,kind\n0.5,odd\n")
    with pytest.raises(ValueError, match=r"b.csv: .*expected the classes 'high'.*'odd'"):
        read_examples(second, like=train)
    with pytest.raises(ValueError, match=r"expected numbers; received '\w+' in row"):
        read_examples(first, label="kind")
