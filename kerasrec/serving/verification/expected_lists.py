"""Expected lists of items of a served model, computed by scoring everything and sorting."""

import functools
from collections.abc import Iterable
from typing import Any

import numpy as np

from kerasrec.data.encoding.vocabulary import Vocabulary
from kerasrec.retrieval.columns import unknown_queries
from kerasrec.retrieval.exact import LOWEST_SCORE
from kerasrec.retrieval.item_vectors import similarity
from kerasrec.retrieval.vector_table import VectorTable
from kerasrec.schema import FIRST_ID
from kerasrec.serving.pipeline import Pipeline
from kerasrec.serving.raw_ids import as_raw, encode_raw
from kerasrec.serving.spec import ExportSpec
from kerasrec.types import RAW_PADDING, Columns, Retriever

# Number of items recorded beyond the k slots, to recognise ties with the last slot.
SPARE_RANKS = 32
# A catalogue of at most this size is also excluded completely, and all but one item.
SMALL_CATALOGUE = 2000

_PAIRS = 2**16


class ExpectedLists:
    """Expected lists for some rows of inputs.

    Args:
        spec: specification of the export.
        encoded: encoded features of the rows.
    """

    def __init__(self, spec: ExportSpec, encoded: Columns) -> None:
        self.spec = spec
        self.model = spec.rounded.retriever or spec.rounded.whole
        self.encoded = encoded
        self.items, self.ids = spec.item_vocabulary, spec.item_ids
        self.fallback = unknown_queries(self.model, encoded)
        if spec.category_space is not None:
            self.category_ids = spec.vocabularies[spec.category_space]

    @functools.cached_property
    def vectors(self) -> np.ndarray:
        """Return the vectors `(candidates, dim)` of a retriever, as stored."""
        exact = np.asarray(self.spec.item_vectors)
        return VectorTable(exact, self.spec.quantize).numpy()

    @functools.cached_property
    def scores(self) -> np.ndarray:
        """Return the model's scores `(rows, candidates)`, or the popularity for unknown users."""
        scores = np.empty((len(self.fallback), len(self.ids)), np.float32)
        for row, fallback in enumerate(self.fallback):
            if fallback:
                scores[row] = self.items.counts[self.ids - FIRST_ID]
                continue
            query = {f.name: self.encoded[f.name][row : row + 1] for f in self.spec.schema.query}
            if self.spec.quantize != "float32" and isinstance(self.model, Retriever):
                # From the stored vectors, which are rounded separately.
                scores[row] = self.vectors @ np.asarray(self.model.query_embedding(query))[0]
                continue
            for start in range(0, len(self.ids), _PAIRS):
                stop = start + _PAIRS
                block = {name: c[None, start:stop] for name, c in self.spec.candidates.items()}
                scores[row, start:stop] = self.model({**query, **block}, training=False)[0]
        return scores

    def exclusions(self) -> list[np.ndarray]:
        """Return raw ids `(rows, n)` to exclude: none, a row's best and unknown ids, everything."""
        dtype = self.items.dtype
        padding = RAW_PADDING[dtype]
        best = self.items.decode(self.ids[np.argmax(self.scores, axis=1)])
        nonsense: Iterable[Any] = (2**63 - 1 - step for step in range(len(self.items) + 1))
        if dtype == "string":
            nonsense = (f"nothing{'?' * n}" for n in range(len(self.items) + 1))
        unknown = absent(self.items, nonsense, 1)[0]
        rows = [[raw, padding, unknown, raw, self.items.ids[0]] for raw in best]
        rows[-1] = [padding] * 5
        exclusions = [as_raw([[]] * len(rows), dtype), as_raw(rows, dtype)]
        if len(self.ids) <= SMALL_CATALOGUE:
            everything = self.items.decode(self.ids).tolist()
            rows = [everything[row % 2 :] + [padding] * (row % 2) for row in range(len(rows))]
            exclusions.append(as_raw(rows, dtype))
        return exclusions

    def filters(self) -> np.ndarray:
        """Return raw categories `(rows, 3)` to allow: none, a known one, two, an unknown one."""
        dtype = self.category_ids.dtype
        padding = RAW_PADDING[dtype]
        raw = self.category_ids.ids.tolist()
        nonsense: Iterable[Any] = range(len(raw) + 1)
        if dtype == "string":
            nonsense = (f"nothing{'?' * n}" for n in nonsense)
        unknown = absent(self.category_ids, nonsense, 1)[0]
        kinds: list[list[Any]] = [[], raw[:1], [raw[-1], padding, raw[0]], [unknown]]
        rows = [kinds[row % 4] for row in range(len(self.fallback))]
        return as_raw([row + [padding] * (3 - len(row)) for row in rows], dtype)

    def recommend(
        self, exclude: np.ndarray, k: int, allow: np.ndarray | None = None
    ) -> dict[str, Any]:
        """Return the expected answer of `recommend` and the longer ranking.

        Args:
            exclude: raw ids `(rows, n)`.
            k: length of the lists.
            allow: raw categories `(rows, n)`, if there is a filter.
        """
        excluded = encode_raw(exclude, self.items, padded=True)
        allowed = np.stack([~np.isin(self.ids, row) for row in excluded])
        categories = self.spec.categories
        if allow is not None and categories is not None:
            for row, wanted in enumerate(encode_raw(allow, self.category_ids, padded=True)):
                if wanted.any():
                    known = wanted[wanted >= FIRST_ID]
                    allowed[row] &= np.isin(categories, known).any(axis=1)
        if self.spec.rounded.pipeline is not None:
            return self._by_pipeline(self.spec.rounded.pipeline, allowed, k)
        found = self._best(self.scores, allowed, k)
        found["answers"]["fallback"] = self.fallback.tolist()
        return found

    def _by_pipeline(self, pipeline: Pipeline, allowed: np.ndarray, k: int) -> dict[str, Any]:
        found = pipeline.recommend(
            self.encoded,
            k=k,
            candidates=self.spec.candidates,
            popularity=self.items.counts[self.ids - FIRST_ID],
            allowed=allowed,
            vectors=self.vectors,
            categories=self.spec.categories,
            num_categories=self.spec.num_categories,
        )
        raw = self.items.decode(np.maximum(found.pop("item"), FIRST_ID))
        real = np.arange(k) < found["count"][:, None]
        found["item_id"] = np.where(real, raw, RAW_PADDING[self.items.dtype])
        answers = {name: value.tolist() for name, value in found.items()}
        ranking = {"item_id": answers["item_id"], "score": answers["score"]}
        return {"answers": answers, "ranking": {**ranking, "complete": [True] * len(real)}}

    def similar(self, asked: np.ndarray, k: int) -> dict[str, Any]:
        """Return the expected answer of `similar_items` and the longer ranking.

        Args:
            asked: encoded item ids `(rows,)`.
            k: length of the lists.
        """
        there = np.isin(asked, self.ids)
        if self.spec.item_vectors is None:
            scores = np.asarray(self.model.scores_of_items(asked))[:, self.ids]
        else:
            columns, norms = similarity(self.vectors)
            units = self.vectors * columns * norms[:, None]
            index = np.where(there, np.searchsorted(self.ids, asked), 0)
            scores = units[index] @ units.T
        allowed = there[:, None] & (self.ids != asked[:, None])
        return self._best(scores, allowed, k)

    def _best(self, scores: np.ndarray, allowed: np.ndarray, k: int) -> dict[str, Any]:
        """Return the k best of each row and the longer ranking."""
        length = min(k + SPARE_RANKS, len(self.ids))
        shape = len(scores), length
        raw = np.full(shape, RAW_PADDING[self.items.dtype], self.items.ids.dtype)
        best = np.full(shape, LOWEST_SCORE, np.float32)
        counts = []
        for row, places in enumerate(map(np.flatnonzero, allowed)):
            order = places[np.argsort(-scores[row, places], kind="stable")][:length]
            raw[row, : len(order)] = self.items.decode(self.ids[order])
            best[row, : len(order)] = scores[row, order]
            counts.append(min(len(order), k))
        return {
            "answers": {
                "item_id": raw[:, :k].tolist(),
                "score": best[:, :k].tolist(),
                "count": counts,
            },
            "ranking": {
                "item_id": raw.tolist(),
                "score": best.tolist(),
                # True if no item outside the ranking may be in the answer.
                "complete": (allowed.sum(axis=1) <= length).tolist(),
            },
        }


def absent(vocabulary: Vocabulary, proposals: Iterable[Any], count: int) -> list[Any]:
    """Return the first proposals that are not in the vocabulary.

    Args:
        vocabulary: vocabulary of the existing ids.
        proposals: candidate ids, enough of them.
        count: number of ids to return.
    """
    found: list[Any] = []
    for proposal in proposals:
        if vocabulary.encode([proposal])[0] < FIRST_ID:
            found.append(proposal)
        if len(found) == count:
            break
    return found
