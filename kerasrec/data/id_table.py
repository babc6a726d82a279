"""A hash table of 64-bit integers that is built once and looked up in by whole arrays."""

import numpy as np

# Odd, near 2**64 divided by the golden ratio: its product spreads neighbours over the table.
MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)


class IdTable:
    """Places of integers in an array, by open addressing with steps of one slot.

    Arrow's `index_in` builds its table anew in each call, which for millions of ids takes most of
    a second: too long for rows that come piece by piece.

    Args:
        ids: int64 `(ids,)`, each once.

    Example:

    >>> IdTable(np.array([30, 10, 20])).find(np.array([10, 11, 30])).tolist()
    [1, -1, 0]
    """

    def __init__(self, ids: np.ndarray) -> None:
        if not len(ids):
            raise ValueError("IdTable: expected at least one id; received none.")
        self._ids = np.ascontiguousarray(ids, np.int64)
        bits = max(1, int(2 * len(ids) - 1).bit_length())  # at most half of the slots are taken
        self._shift, self._mask = np.uint64(64 - bits), np.int64((1 << bits) - 1)
        self._slots = np.full(1 << bits, -1, np.int32)
        waiting = np.arange(len(ids), dtype=np.int32)
        slots = self._first(self._ids)
        while len(waiting):
            free = self._slots[slots] < 0
            self._slots[slots[free]] = waiting[free]  # of several ids, the last one gets the slot
            lost = self._slots[slots] != waiting
            waiting, slots = waiting[lost], (slots[lost] + 1) & self._mask

    def find(self, values: np.ndarray) -> np.ndarray:
        """The place of each value, -1 where it is none of the ids.

        Args:
            values: int64 `(values,)`.

        Returns:
            int32 `(values,)`.
        """
        values = np.ascontiguousarray(values, np.int64)
        slots = self._first(values)
        places = self._slots[slots]
        # A free slot ends a search; its -1 reads the last id, which does not count.
        rest = np.flatnonzero((self._ids[places] != values) & (places >= 0))
        slots = slots[rest]
        while len(rest):
            slots = (slots + 1) & self._mask
            found = self._slots[slots]
            places[rest] = found
            going_on = (self._ids[found] != values[rest]) & (found >= 0)
            rest, slots = rest[going_on], slots[going_on]
        return places

    def _first(self, values: np.ndarray) -> np.ndarray:
        with np.errstate(over="ignore"):
            return ((values.view(np.uint64) * MULTIPLIER) >> self._shift).view(np.int64)
