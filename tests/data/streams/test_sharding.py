"""Parts of rows: every row goes to one worker at most, and no more are left out than is said."""

import dataclasses

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kerasrec.data import fit_vocabularies, make_schema, stream_parquet
from kerasrec.data.streams import row_stream
from kerasrec.data.streams.sharding import share
from kerasrec.data.tables.interactions import Interactions


@dataclasses.dataclass(frozen=True)
class Rows:
    """A group of so many rows, from a first number on."""

    first: int
    rows: int


def in_a_line(sizes):
    firsts = np.cumsum([0, *sizes])
    return [Rows(int(first), rows) for first, rows in zip(firsts, sizes, strict=False)]


def numbers(part, groups):
    return [
        number
        for group, start, stop in part.pieces(groups)
        for number in range(group.first + start, group.first + stop)
    ]


@given(
    sizes=st.lists(st.integers(0, 40), min_size=1, max_size=12),
    workers=st.integers(1, 7),
    rows_each=st.integers(1, 9),
    drop_remainder=st.booleans(),
)
def test_parts_are_even_disjoint_and_complete(sizes, workers, rows_each, drop_remainder):
    """Groups of any size, empty ones too; fewer groups or rows than workers."""
    total, batch_size = sum(sizes), workers * rows_each
    least = batch_size if drop_remainder else workers
    if total < least:
        with pytest.raises(ValueError, match="leaves nothing of|cannot be shared by"):
            share("test", total, batch_size, (0, workers), drop_remainder)
        return
    parts = [share("test", total, batch_size, (i, workers), drop_remainder) for i in range(workers)]
    groups = in_a_line(sizes)
    found = [numbers(part, groups) for part in parts]
    assert len({part.batches for part in parts}) == 1
    assert {len(own) for own in found} == {parts[0].own_rows}
    together = np.concatenate(found)
    assert together.tolist() == list(range(total - parts[0].left_out)), "each row once, no gap"
    assert parts[0].left_out < least
    assert all(start < stop for part in parts for _, start, stop in part.pieces(groups))
    if workers == 1 and not drop_remainder:
        assert parts[0].left_out == 0


@pytest.mark.parametrize("shard", [(2, 2), (-1, 2), (0, 0), 1, (0, 1, 2), ("0", 2), (True, 2)])
def test_a_shard_is_a_place_and_a_number(shard):
    with pytest.raises(ValueError, match="shard must be .place of this worker from 0"):
        share("test", 10, 4, shard, False)


def test_a_batch_is_shared_evenly():
    with pytest.raises(ValueError, match="multiple of 3; received 10. Take 9 or 12"):
        share("test", 100, 10, (0, 3), False)
    with pytest.raises(ValueError, match="5 rows cannot be shared by 8 workers. Use fewer"):
        share("test", 5, 8, (0, 8), False)


def test_what_is_left_out_is_said():
    part = share("test", 103, 10, (1, 2), False)
    assert str(part) == (
        "worker 1 of 2: 51 of 103 rows a pass, 5 in each of 11 steps; 1 rows left out"
    )
    assert share("test", 103, 10, (1, 2), True).left_out == 3


@pytest.fixture(scope="module")
def known():
    ids = pa.table({"user_id": [0, 1, 2], "item_id": [0, 1, 2], "rating": [1.0, 2.0, 3.0]})
    vocabularies = fit_vocabularies(Interactions.from_table(ids, time=None))
    return vocabularies, make_schema(Interactions.from_table(ids, time=None), vocabularies)


def write(folder, sizes, row_group):
    """Files of so many rows; the rating of a row is its number."""
    first = 0
    for at, rows in enumerate(sizes):
        ids = np.arange(rows) % 3
        table = {"user_id": ids, "item_id": ids, "rating": np.arange(first, first + rows) * 1.0}
        pq.write_table(pa.table(table), folder / f"{at:02d}.parquet", row_group_size=row_group)
        first += rows
    return first


def passes(folder, known, count=2, **options):
    vocabularies, schema = known
    dataset = stream_parquet(folder, schema, vocabularies, **options)
    return dataset, [[label.numpy().tolist() for _, label in dataset] for _ in range(count)]


@pytest.mark.slow
@settings(max_examples=12)
@given(
    sizes=st.lists(st.integers(0, 25), min_size=1, max_size=4),
    workers=st.integers(1, 4),
    row_group=st.integers(1, 12),
    seed=st.integers(0, 3),
    drop_remainder=st.booleans(),
)
def test_workers_share_the_files(
    sizes, workers, row_group, seed, drop_remainder, known, tmp_path_factory
):
    folder = tmp_path_factory.mktemp("rows")
    total, batch_size = write(folder, sizes, row_group), 3 * workers
    if total < (batch_size if drop_remainder else workers):
        return
    options = {"batch_size": batch_size, "seed": seed, "drop_remainder": drop_remainder}
    made = [
        passes(folder, known, shard=(index, workers), buffer_rows=16, **options)
        for index in range(workers)
    ]
    for number in range(2):
        steps = {tuple(map(len, found[number])) for _, found in made}
        assert len(steps) == 1, "all workers take the same steps, with as many rows"
        assert len(steps.pop()) == made[0][0].part.batches == int(made[0][0].cardinality())
        rows = [row for _, found in made for step in found[number] for row in step]
        assert len(rows) == len(set(rows)) == total - made[0][0].part.left_out
        assert set(rows) <= set(range(total))
    again = passes(folder, known, shard=(workers - 1, workers), buffer_rows=16, **options)
    assert again[1] == made[-1][1], "the seed and the number of the pass decide"


def test_one_row_and_more_workers_than_rows(known, tmp_path):
    write(tmp_path, [0, 1, 0], 5)
    dataset, found = passes(tmp_path, known, batch_size=4, shard=(0, 1))
    assert found == [[[0.0]], [[0.0]]] and dataset.part.left_out == 0
    with pytest.raises(ValueError, match="1 rows cannot be shared by 4 workers"):
        passes(tmp_path, known, batch_size=4, shard=(0, 4))


def test_each_pass_deals_anew_across_files(known, tmp_path, monkeypatch):
    monkeypatch.setattr(row_stream, "SLICE_ROWS", 8)
    write(tmp_path, [64] * 8, 16)
    _, (first, second) = passes(tmp_path, known, batch_size=32, shard=(0, 2), buffer_rows=64)
    first, second = np.concatenate(first), np.concatenate(second)
    assert set(first) != set(second), "another half of the row groups"
    assert len(set(first // 64)) > 4, "of most files"
    assert np.mean(np.abs(np.diff(first)) < 16) < 0.5, "mixed within the buffer"


def test_a_later_pass_can_be_gone_to(known, tmp_path):
    write(tmp_path, [40, 23], 9)
    options = {"batch_size": 10, "shard": (1, 2)}
    _, whole = passes(tmp_path, known, count=3, **options)
    vocabularies, schema = known
    dataset = stream_parquet(tmp_path, schema, vocabularies, **options)
    dataset.go_to_pass(2)
    assert [label.numpy().tolist() for _, label in dataset] == whole[2]
