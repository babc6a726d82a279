"""Hash tables of integers and texts with vectorised look-up, and checksums of columns."""

import hashlib

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

# Odd, near 2**64 divided by the golden ratio: its product spreads neighbours over the table.
MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
WORD = 8
FULL = np.uint64(2**64 - 1)
SEEDS = 16
_HASHED_AT_ONCE = 1 << 20
_SIP_START = (0x736F6D6570736575, 0x646F72616E646F6D, 0x6C7967656E657261, 0x7465646279746573)


class IdTable:
    """Hash table from distinct int64 ids to their positions, with linear probing.

    Arrow's `index_in` builds its table in every call. For millions of ids that takes most of a
    second, which is too long for rows that come in pieces.

    Example:

    >>> IdTable(np.array([30, 10, 20])).find(np.array([10, 11, 30])).tolist()
    [1, -1, 0]
    """

    def __init__(self, ids: np.ndarray) -> None:
        if not len(ids):
            raise ValueError("IdTable: expected at least one id; received none.")
        self._ids = np.ascontiguousarray(ids, np.int64)
        bits = max(1, int(2 * len(ids) - 1).bit_length())  # at most half of the slots are used
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
        """Return the position of each value, -1 if it is none of the ids."""
        values = np.ascontiguousarray(values, np.int64)
        slots = self._first(values)
        positions = self._slots[slots]
        # A free slot ends a search. Its -1 indexes the last id, which is ignored.
        rest = np.flatnonzero((self._ids[positions] != values) & (positions >= 0))
        slots = slots[rest]
        while len(rest):
            slots = (slots + 1) & self._mask
            found = self._slots[slots]
            positions[rest] = found
            going_on = (self._ids[found] != values[rest]) & (found >= 0)
            rest, slots = rest[going_on], slots[going_on]
        return positions

    def _first(self, values: np.ndarray) -> np.ndarray:
        with np.errstate(over="ignore"):
            return ((values.view(np.uint64) * MULTIPLIER) >> self._shift).view(np.int64)


class TextTable:
    """Hash table from distinct large_strings to their positions: hashes first, then a comparison.

    Example:

    >>> import pyarrow as pa
    >>> table = TextTable(pa.array(["ann", "bob"], pa.large_string()))
    >>> table.find(pa.array(["bob", "eve"], pa.large_string())).tolist()
    [1, -1]
    """

    def __init__(self, texts: pa.LargeStringArray) -> None:
        self._texts = texts
        for seed in range(SEEDS):
            hashes = hash_texts(texts, seed)
            if len(np.unique(hashes)) == len(texts):
                break
        else:
            raise ValueError(
                f"TextTable: expected {len(texts)} texts, each once; some share all of {SEEDS} "
                "hashes. Give each id once."
            )
        self._seed, self._table = seed, IdTable(hashes)

    def find(self, texts: pa.LargeStringArray) -> np.ndarray:
        """Return the position of each text, -1 if it is none of them."""
        positions = self._table.find(hash_texts(texts, self._seed))
        rows = np.flatnonzero(positions >= 0)
        same = pc.equal(self._texts.take(pa.array(positions[rows])), texts.take(pa.array(rows)))
        positions[rows[~same.to_numpy(zero_copy_only=False)]] = -1
        return positions


def hash_texts(texts: pa.LargeStringArray, seed: int) -> np.ndarray:
    """Compute a 64-bit hash of each text, eight bytes at a time."""
    words, begins, lengths = text_words(texts)
    with np.errstate(over="ignore"):
        hashes = (lengths.astype(np.uint64) + np.uint64(seed + 1)) * MULTIPLIER
        rows = np.arange(len(texts))
        for done in range(0, int(lengths.max(initial=0)), WORD):
            rows = rows[lengths[rows] > done]
            kept = np.minimum(lengths[rows] - done, WORD).astype(np.uint64)
            word = words[begins[rows] + done] & (FULL >> (np.uint64(8) * (np.uint64(WORD) - kept)))
            mixed = (hashes[rows] ^ word) * MULTIPLIER
            hashes[rows] = mixed ^ (mixed >> np.uint64(29))
    return hashes.view(np.int64)


def text_words(texts: pa.LargeStringArray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the eight bytes from each byte of the texts on, where each text begins, its length.

    Zeros follow the last text. Bytes of the next text, which follow a text, have to be masked.

    Args:
        texts: without missing ones.

    Returns:
        Words, uint64 of the lowest byte first; beginnings and lengths in bytes.
    """
    _, offsets_buffer, data_buffer = texts.buffers()
    count = len(texts)
    if not count:
        return np.zeros(1, np.uint64), np.empty(0, np.int64), np.empty(0, np.int64)
    offsets = np.frombuffer(offsets_buffer, np.int64)[texts.offset : texts.offset + count + 1]
    data = np.zeros(int(offsets[-1] - offsets[0]) + WORD, np.uint8)
    if data_buffer is not None:
        data[:-WORD] = np.frombuffer(data_buffer, np.uint8)[offsets[0] : offsets[-1]]
    # A word starting at every byte, not only at every eighth one.
    words = np.ndarray((len(data) - WORD + 1,), "<u8", data, strides=(1,))
    return words, offsets[:-1] - offsets[0], np.diff(offsets)


def hash_values(values: np.ndarray) -> str:
    """Compute the SHA-256 of a column, independent of its memory layout.

    Example:

    >>> hash_values(np.array(["a", "b"], object)) == hash_values(np.array(["ab"], object))
    False
    """
    digest = hashlib.sha256()
    is_text = values.dtype.kind == "O"
    digest.update(b"text" if is_text else values.dtype.newbyteorder("<").str.encode())
    for start in range(0, len(values), _HASHED_AT_ONCE):
        part = values[start : start + _HASHED_AT_ONCE]
        if is_text:  # ids hold no line breaks, so lines separate them unambiguously
            digest.update(("\n".join(part) + "\n").encode())
        else:
            digest.update(part.astype(part.dtype.newbyteorder("<")).tobytes())
    return digest.hexdigest()


def sip_hash(texts: pa.LargeStringArray, key: tuple[int, int]) -> np.ndarray:
    """Compute SipHash-2-4 of the bytes of each text, uint64 `(rows,)`.

    Args:
        texts: without missing ones.
        key: two integers of 64 bits.

    Example:

    >>> hex(sip_hash(pa.array(["kerasrec"], pa.large_string()), (1, 2))[0])
    '0xbd1b52aab73d6e4e'
    """
    words, begins, lengths = text_words(texts)
    with np.errstate(over="ignore"):
        state = [
            np.full(len(texts), np.uint64(start ^ half))
            for start, half in zip(_SIP_START, (*key, *key), strict=True)
        ]
        whole = lengths // 8
        rows = np.arange(len(texts))
        for step in range(int(whole.max(initial=0))):
            rows = rows[whole[rows] > step]
            part = [one[rows] for one in state]
            _mix(part, words[begins[rows] + 8 * step])
            for one, changed in zip(state, part, strict=True):
                one[rows] = changed
        # The last word holds the bytes that are left, and the length modulo 256 as its highest one.
        left = np.uint64(8) * (lengths % 8).astype(np.uint64)
        last = words[begins + 8 * whole] & ((np.uint64(1) << left) - np.uint64(1))
        _mix(state, last | (lengths.astype(np.uint64) << np.uint64(56)))
        state[2] ^= np.uint64(0xFF)
        for _ in range(4):
            _round(state)
        return state[0] ^ state[1] ^ state[2] ^ state[3]


def _mix(state: list[np.ndarray], word: np.ndarray) -> None:
    state[3] ^= word
    _round(state)
    _round(state)
    state[0] ^= word


def _round(v: list[np.ndarray]) -> None:
    v[0] += v[1]
    v[2] += v[3]
    v[1] = _rotated(v[1], 13) ^ v[0]
    v[3] = _rotated(v[3], 16) ^ v[2]
    v[0] = _rotated(v[0], 32)
    v[2] += v[1]
    v[0] += v[3]
    v[1] = _rotated(v[1], 17) ^ v[2]
    v[3] = _rotated(v[3], 21) ^ v[0]
    v[2] = _rotated(v[2], 32)


def _rotated(values: np.ndarray, bits: int) -> np.ndarray:
    return np.asarray((values << np.uint64(bits)) | (values >> np.uint64(64 - bits)))
