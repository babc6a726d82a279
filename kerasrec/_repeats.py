"""Equal rows of a table, whose products are equal only if they are computed once.

A matrix product adds the numbers of a row in another order at the end of a block, so that equal
rows may have products that differ in the last bit.
"""

from typing import Any

import numpy as np


def find_repeats(vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Find the rows that equal an earlier row bit by bit, and the first such row of each.

    Args:
        vectors: float32 `(rows, dim)`, contiguous.

    Returns:
        Numbers of the rows that repeat one, and for each of them the number of the first such row.
    """
    words: Any = vectors.view(np.uint64 if vectors.shape[1] % 2 == 0 else np.uint32)
    odd = np.random.default_rng(0).integers(0, 2**63, words.shape[1], np.uint64) * 2 + 1
    # Equal rows have equal hashes. Rows with the hash of an earlier row are then compared.
    multiply: Any = np.einsum
    hashes = multiply("id,d->i", words, odd, dtype=np.uint64)
    ordered = np.sort(hashes)
    if not (ordered[1:] == ordered[:-1]).any():  # as in most catalogues; np.unique takes far longer
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    _, first, which = np.unique(hashes, return_index=True, return_inverse=True)
    original = first[which]
    repeats = np.flatnonzero(original != np.arange(len(vectors)))
    repeats = repeats[(vectors[repeats] == vectors[original[repeats]]).all(axis=1)]
    return repeats, original[repeats]
