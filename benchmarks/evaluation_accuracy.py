"""Published baselines that an evaluation must reproduce to the last digit.

    KERASREC_DATA=... python benchmarks/evaluation_accuracy.py

Gowalla (`gowalla-lightgcn`, full ranking, seen items removed): popularity, and GF-CF (Shen et al.,
2021, "How Powerful is Graph Convolution for Recommendation?"). GF-CF is a closed form without
randomness: the linear filter plus 0.3 times the ideal low-pass filter of 256 singular vectors. NCF
MovieLens 1M (`ncf-ml-1m`, the given 99 negatives): popularity, with fair ties and with the test
item before all tied items. The output is also written to docs/benchmarks/evaluation_accuracy.md.
"""

import argparse
import sys
import time

import numpy as np
import pages
import scipy.sparse
from scipy.sparse.linalg import svds

from kerasrec import data, datasets
from kerasrec.evaluation import Candidates, rank
from kerasrec.evaluation.baseline import MostSeen
from kerasrec.schema import Schema
from kerasrec.types import Columns

VECTORS, WEIGHT, SEED = 256, 0.3, 0

ABOUT = """# Published baselines, reproduced

Baselines without a random choice, evaluated by `kerasrec.evaluation`, beside the figures that \
were published on the same files. GF-CF: BARS leaderboard `gowalla_m1`; popularity: Rendle et al. \
(2020), "Neural Collaborative Filtering vs. Matrix Factorization Revisited". This page is written \
by `benchmarks/evaluation_accuracy.py`.
"""


def main() -> None:
    """Measure and write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    pages.add_options(parser)
    remake = parser.parse_args().page
    page = pages.Page(
        "evaluation_accuracy", __file__, {"seed": SEED}, packages=("scipy",), remake=remake
    )
    shown, missed = page.printed(measure)
    head = page.head(f"seed      {SEED}, where the iteration of the SVD starts")
    page.write("\n".join([ABOUT, "```text", *head, shown, "```", ""]))
    sys.exit(missed)


def measure() -> int:
    lines = [("", "ours", "published")]
    wrong = 0

    def add(name: str, figures: tuple[float, float], published: tuple[float, float] | None) -> None:
        nonlocal wrong
        text = " / ".join(f"{value:.4f}" for value in figures)
        other = "-" if published is None else " / ".join(f"{value:.4f}" for value in published)
        wrong += published is not None and text != other
        lines.append((name, text, other))

    schema, train, test = encoded("gowalla-lightgcn")
    popular = rank(MostSeen(schema, train), test, seen=train, k=20).summary()
    add("gowalla popularity, Recall@20 / NDCG@20", pair(popular, "recall@20", "ndcg@20"), None)
    start = time.perf_counter()
    graph = GraphFilter(schema, train)
    fitted = time.perf_counter() - start
    ranked = rank(graph, test, seen=train, k=20, max_memory_mb=2048).summary()
    seconds = time.perf_counter() - start - fitted
    add(
        "gowalla GF-CF, Recall@20 / NDCG@20", pair(ranked, "recall@20", "ndcg@20"), (0.1849, 0.1518)
    )

    dataset = datasets.load("ncf-ml-1m")
    schema, train, test = encoded("ncf-ml-1m")
    given = negatives(dataset, schema, test)
    found = rank(MostSeen(schema, train), test, seen=train, k=10, candidates=Candidates(given))
    add(
        "ncf-ml-1m popularity, HR@10 / NDCG@10",
        pair(found.summary(), "hr@10", "ndcg@10"),
        (0.4535, 0.2543),
    )
    place = found.positives.greater  # before all that tie
    hit = place < 10
    first = float(hit.mean()), float((hit / np.log2(place + 2)).mean())
    add("  the test item before all that tie", first, (0.4538, 0.2545))

    widths = [max(len(line[at]) for line in lines) for at in range(3)]
    for line in lines:
        print(
            "  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip()
        )
    print(f"\nGF-CF scored {29_858:,} x {40_981:,} pairs in {seconds:.0f} s, SVD {fitted:.0f} s")
    print("all as published" if not wrong else f"{wrong} MISSED")
    return wrong


def pair(figures: dict, *names: str) -> tuple[float, float]:
    first, second = (float(figures[name]) for name in names)
    return first, second


def encoded(name: str) -> tuple[Schema, Columns, Columns]:
    dataset = datasets.load(name)
    vocabularies = data.fit_vocabularies(dataset.interactions)
    schema = data.make_schema(dataset.interactions, vocabularies)
    parts = (dataset.split.train, dataset.split.test)
    train, test = (data.encode(part, vocabularies) for part in parts)
    return schema, train, test


def negatives(dataset: datasets.Dataset, schema: Schema, test: Columns) -> np.ndarray:
    """Return the given candidates as encoded ids, in the order of the test rows."""
    vocabulary = data.fit_vocabularies(dataset.interactions)[schema.item_id.name]
    return vocabulary.encode(dataset.negatives.ravel()).reshape(dataset.negatives.shape)


class GraphFilter:
    """GF-CF, with R the training matrix and N = D_U^-1/2 R D_I^-1/2. The scores of all items are

    r N^T N + 0.3 r D_I^-1/2 V V^T D_I^1/2

    for the row r of a user, and the first right singular vectors V of N.
    """

    def __init__(self, schema: Schema, train: Columns) -> None:
        self.schema = Schema(schema.user_id, schema.item_id)
        users, items = train[schema.user_id.name], train[schema.item_id.name]
        shape = schema.user_id.num_ids, schema.item_id.num_ids
        # In float64: results of two runs in float32 differed in the fourth digit.
        ones = np.ones(len(users))
        self.rows = scipy.sparse.csr_matrix((ones, (users, items)), shape)
        by_user, by_item = (
            np.maximum(np.asarray(self.rows.sum(axis)).ravel(), 1) for axis in (1, 0)
        )
        normal = scipy.sparse.diags(by_user**-0.5) @ self.rows @ scipy.sparse.diags(by_item**-0.5)
        self.normal = normal.tocsr()
        _, _, right = svds(self.normal, VECTORS, rng=np.random.default_rng(SEED))
        root = np.sqrt(by_item)
        self.into = (right / root).T
        self.out = WEIGHT * right * root

    def __call__(self, inputs: Columns, training: bool = False) -> np.ndarray:
        users, items = inputs[self.schema.user_id.name], inputs[self.schema.item_id.name]
        rows = self.rows[users]
        scores = (rows @ self.normal.T @ self.normal).toarray()
        scores += (rows @ self.into) @ self.out
        return np.take_along_axis(scores, items, axis=1)


if __name__ == "__main__":
    main()
