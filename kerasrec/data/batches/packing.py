"""Packing of sequences of different lengths into rows of one width."""

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True, eq=False)
class Packing:
    """Slots of sequences by descending length, filled again in each epoch.

    The lengths that share a row are fixed once. The sequence in each slot, among those of its
    length, and the order of the rows are drawn in each epoch. All epochs therefore have the same
    number of rows.

    """

    lengths: np.ndarray  # of each slot `(sequences,)`, descending
    row: np.ndarray  # of each slot
    offset: np.ndarray  # position in its row where the slot begins
    num_rows: int
    width: int  # positions in a row

    def assign(self, lengths: np.ndarray, rng: np.random.Generator | None) -> np.ndarray:
        """Return the sequence of each slot, with those of one length shuffled if `rng` is given."""
        order = np.arange(len(lengths)) if rng is None else rng.permutation(len(lengths))
        return order[np.argsort(-lengths[order], kind="stable")]


def pack(lengths: np.ndarray, width: int, *, alone: bool = False) -> Packing:
    """Pack sequences, longest first, each into the fullest row with enough free positions.

    Best fit decreasing needs at most about 11/9 of the least number of rows (Johnson, 1974). With
    many short sequences it leaves hardly any gaps. All sequences of one length are placed together,
    so that the work grows with the width and not with the number of sequences. With `alone`, each
    sequence gets a row of its own.

    Example:

    >>> packing = pack(np.array([2, 5, 3, 1]), 5)
    >>> packing.lengths.tolist(), packing.row.tolist(), packing.offset.tolist()
    ([5, 3, 2, 1], [0, 1, 1, 2], [0, 0, 3, 0])
    """
    lengths = np.asarray(lengths)
    if not len(lengths) or lengths.min() < 1 or lengths.max() > width:
        received = f"{lengths.min()} to {lengths.max()}" if len(lengths) else "none"
        raise ValueError(f"pack: expected lengths from 1 to width={width}; received {received}.")
    falling = np.sort(lengths)[::-1]
    if alone:
        rows = np.arange(len(lengths))
        return Packing(falling, rows, np.zeros_like(rows), len(rows), width)
    free: dict[int, list[np.ndarray]] = {}  # rows by the number of free positions in them
    slot_rows, slot_offsets, num_rows = [], [], 0
    values, counts = np.unique(falling, return_counts=True)
    for length, count in zip(values[::-1].tolist(), counts[::-1].tolist(), strict=True):
        while count:
            left = min((space for space in free if space >= length), default=0)
            if not left:
                left, new = width, -(-count // (width // length))
                free[left] = [np.arange(num_rows, num_rows + new)]
                num_rows += new
            rows = np.concatenate(free.pop(left))
            used, rest = rows[:count], rows[count:]
            slot_rows.append(used)
            slot_offsets.append(np.full(len(used), width - left))
            count -= len(used)
            for space, some in ((left - length, used), (left, rest)):
                if space and len(some):
                    free.setdefault(space, []).append(some)
    return Packing(
        falling, np.concatenate(slot_rows), np.concatenate(slot_offsets), num_rows, width
    )
