"""Rows of the flags: what a run's YAML file says, and histories of held-out rows."""

import numpy as np

from kerasrec.cli.preparing import load, prepare
from kerasrec.cli.settings import Source, Splitting

CSV = """user_id,item_id,rating,timestamp
a,1,5,4
a,2,5,1
a,3,5,2
a,4,5,3
b,1,5,1
b,2,5,2
b,3,5,3
"""


def test_a_named_set_takes_the_empty_list_of_a_yaml_file():
    rows = load(Source("synthetic", context=[])).interactions
    assert len(rows) == len(load(Source("synthetic")).interactions) > 0


def test_held_out_rows_know_what_was_before_them(tmp_path):
    (tmp_path / "ratings.csv").write_text(CSV)
    plain = prepare(Source(str(tmp_path / "ratings.csv")), Splitting(), seed=0)
    prepared = plain.with_histories(2)
    items = prepared.vocabularies["item_id"]

    def histories(part):
        rows = part["history"][np.arange(len(part["user_id"]))]
        return [items.decode(row[row > 1]).tolist() for row in rows]

    # In order of time user a had 2, 3, 4, 1; item 4 has no training row and is unknown.
    assert histories(prepared.valid) == [[2, 3], [1]]
    assert histories(prepared.test) == [[3], [1, 2]]
    assert prepared.schema.user[-1].max_length == 2 and "history" not in prepared.train
    assert prepared.fingerprint() == plain.fingerprint()


def test_no_validation_rows(tmp_path):
    (tmp_path / "ratings.csv").write_text(CSV)
    plain = prepare(Source(str(tmp_path / "ratings.csv")), Splitting(valid=0), seed=0)
    prepared = plain.with_histories(3)
    assert len(prepared.valid["item_id"]) == 0
    assert prepared.test["history"][np.arange(2)].astype(bool).sum() == 3 + 2
