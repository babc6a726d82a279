import gzip

import pytest

from kerasrec.data import read_examples


def write(path, text):
    path.write_text(text, encoding="utf-8")
    return path


def test_types_and_gaps(tmp_path):
    file = write(
        tmp_path / "rows.csv",
        "age,zip,city,on,target\n31,02139,Zürich,True,1\n,10115,,False,0\n4.5,8001,北京,True,0\n",
    )
    rows = read_examples(file, label="target")
    assert rows.table["age"].to_pylist() == [31.0, None, 4.5]
    assert rows.table["zip"].to_pylist() == ["02139", "10115", "8001"]  # a name, not a number
    assert rows.table["city"].to_pylist()[0::2] == ["Zürich", "北京"]
    assert rows.labels.tolist() == [1.0, 0.0, 0.0]


def test_a_usual_name_of_the_label_is_found(tmp_path):
    file = write(tmp_path / "rows.csv", "x,Clicked\n1,0\n2,1\n")
    assert read_examples(file).label == "Clicked"
    with pytest.raises(ValueError, match=r"other.csv.*expected a column 'label' \(label\)"):
        read_examples(write(tmp_path / "other.csv", "x,y\n1,0\n"))


def test_other_parts_have_the_types_of_the_first(tmp_path):
    train = read_examples(write(tmp_path / "a.csv", "code,label\n007,1\nx,0\n"))
    assert train.table["code"].to_pylist() == ["007", "x"]
    test = read_examples(write(tmp_path / "b.csv", "label,more,code\n1,9,12\n"), like=train)
    assert test.table["code"].to_pylist() == ["12"]
    assert test.features == train.features


def test_indices_of_libfm_and_tokens_of_recbole_are_categories(tmp_path):
    with gzip.open(tmp_path / "rows.libfm.gz", "wt") as file:
        file.write("1 3:1 17:1 40:0.5\n-1 4:1 18:1 40:1.5\n")
    rows = read_examples(tmp_path / "rows.libfm.gz")
    assert rows.kinds == {"user": "categorical", "item": "categorical"}
    assert rows.table["field_2"].to_pylist() == [0.5, 1.5]
    file = write(tmp_path / "rows.inter", "a:token\tb:float\tlabel:float\n1\t2\t1\n2\t3\t0\n")
    assert read_examples(file).kinds == {"a": "categorical", "b": "numeric"}


def test_bad_input(tmp_path):
    with pytest.raises(ValueError, match=r"none\.csv"):
        read_examples(tmp_path / "none.csv")
    file = write(tmp_path / "rows.csv", "x,label\n1,yes\n")
    with pytest.raises(ValueError, match=r"rows\.csv.*expected numbers; received 'yes' in row 1"):
        read_examples(file)


def test_several_labels_of_a_file(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("heat,click,buy\n1.5,1,0\n2.5,0,0.5\n,1,2\n")
    rows = read_examples(path, label=["click", "buy"])
    assert (rows.label, rows.other_labels, rows.features) == ("click", ("buy",), ("heat",))
    again = read_examples(path, like=rows)
    assert again.other_labels == ("buy",) and again.table == rows.table
    chosen = read_examples(path, label=("buy", "click"), features=["heat"])
    assert (chosen.label, chosen.other_labels) == ("buy", ("click",))
