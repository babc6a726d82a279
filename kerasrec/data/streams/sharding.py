"""Sharding: equal parts of the rows for each worker, dealt again in each pass."""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import numpy as np
import pyarrow as pa


class Group(Protocol):
    """Rows that are read in sequence: a row group of a file, or a whole file."""

    @property
    def rows(self) -> int:
        """Return the number of rows."""

    def read(self, start: int, stop: int) -> Iterator[pa.Table | pa.RecordBatch]:
        """Read the rows from `start` to `stop`, in pieces."""


@dataclasses.dataclass(frozen=True)
class Part:
    """Share of the rows that one of several workers reads in each pass.

    The rows of all groups are concatenated in the order of the pass. Each worker takes an equal
    contiguous part, so all workers take the same number of steps with the same number of rows. Rows
    that do not divide evenly among the workers are dropped for that pass: fewer than there are
    workers, or with `drop_remainder` fewer than a batch.

    """

    index: int  # of the worker, from 0
    count: int  # of workers
    rows: int  # of all groups together
    batch_size: int  # rows of a step over all workers
    batches: int  # steps of a pass
    own_rows: int  # that this worker reads in each pass

    @property
    def own_batch(self) -> int:
        """Return the number of rows of a step on this worker."""
        return self.batch_size // self.count

    @property
    def left_out(self) -> int:
        """Return the number of rows that no worker reads in a pass."""
        return self.rows - self.count * self.own_rows

    @property
    def all_alike(self) -> bool:
        """Return whether every step has the same number of rows."""
        return self.own_rows == self.batches * self.own_batch

    def __str__(self) -> str:
        """Return one line for a log."""
        return (
            f"worker {self.index} of {self.count}: {self.own_rows:,} of {self.rows:,} rows a pass, "
            f"{self.own_batch:,} in each of {self.batches:,} steps; {self.left_out:,} rows left out"
        )

    def pieces(self, groups: Sequence[Group]) -> list[tuple[Group, int, int]]:
        """Return the pieces `(group, start, stop)` of this worker, from the groups of a pass."""
        ends = np.cumsum([group.rows for group in groups])
        begin = self.index * self.own_rows
        end = begin + self.own_rows
        found = []
        for at in range(int(np.searchsorted(ends, begin, side="right")), len(groups)):
            first = int(ends[at]) - groups[at].rows
            if first >= end:
                break
            if groups[at].rows:
                stop = min(end - first, groups[at].rows)
                found.append((groups[at], max(begin - first, 0), stop))
        return found


def share(
    owner: str, rows: int, batch_size: int, shard: tuple[int, int] | None, drop_remainder: bool
) -> Part:
    """Compute the part of one worker, `shard` being its index and the number of workers."""
    index, count = _checked(owner, (0, 1) if shard is None else shard)
    if batch_size % count:
        raise ValueError(
            f"{owner}: batch_size counts the rows of all workers, so it must be a multiple of "
            f"{count}; received {batch_size}. Take {batch_size - batch_size % count or count} or "
            f"{batch_size - batch_size % count + count}."
        )
    whole, rest = divmod(rows, batch_size)
    last = 0 if drop_remainder else rest // count
    batches = whole + (last > 0)
    if not batches:
        reason = (
            f"drop_remainder leaves nothing of {rows} rows, because one batch takes {batch_size}. "
            "Lower batch_size or keep the remainder."
            if drop_remainder
            else f"{rows} rows cannot be shared by {count} workers. Use fewer workers."
        )
        raise ValueError(f"{owner}: {reason}")
    return Part(index, count, rows, batch_size, batches, whole * (batch_size // count) + last)


def _checked(owner: str, shard: Any) -> tuple[int, int]:
    fits = isinstance(shard, tuple | list) and len(shard) == 2
    if fits and all(isinstance(n, int | np.integer) and not isinstance(n, bool) for n in shard):
        index, count = int(shard[0]), int(shard[1])
        if 0 <= index < count:
            return index, count
    raise ValueError(
        f"{owner}: shard must be (place of this worker from 0, number of workers), such as "
        f"kerasrec.distribute.shard(strategy) gives; received {shard!r}."
    )
