"""Speed and memory of full-catalogue ranking on Gowalla, compared with other libraries.

    pip install ".[benchmarks]"    # in a checkout; brings `implicit`
    KERASREC_DATA=... python benchmarks/evaluation.py
    python benchmarks/evaluation.py --page    # the page from stored results

29,858 users x 40,981 items (`gowalla-lightgcn`), vectors of 64 numbers from a truncated SVD of the
training matrix, seen items removed. Each side runs in a separate process on all cores. The sides
take turns, and every pass is timed from the vectors to the last metric. kerasrec computes HR,
Recall, Precision, NDCG, MAP at 20 and MRR, MAP and AUC over the whole list. `implicit` computes
Precision, MAP, NDCG and AUC of the first 20. The numpy line computes Recall@20 and NDCG@20 from one
matrix product on all cores and argpartition per block. Two further measurements follow: a catalogue
of a million items, and the pass over NCF MovieLens 1M beside an epoch of matrix factorization.
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable

import numpy as np
import pages
import turns

DIM, K, SEED = 64, 20, 0
MILLION = 1_000_000
MEMORY_MIB = 1536

SIDES_OF_GOWALLA = ("ours", "implicit", "numpy")
ABOUT = """# Ranking the whole catalogue

Users per second and peak memory of a full evaluation on Gowalla (29,858 users, 40,981 items, 64 \
dimensions, seen items removed, cut-off 20), each side in a process of its own, on all cores, in \
turns. A rate is that of the fastest pass of a round, and the mean over the rounds has a 95 % \
interval. Ours includes HR, Recall, Precision, NDCG, MAP, MRR and AUC with fair ties, and a value \
for every query. This page is written by `benchmarks/evaluation.py`. It needs `implicit`, which \
`pip install ".[benchmarks]"` in a checkout brings.
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=2, help="passes of each side and round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--side", choices=sorted(SIDES), help=argparse.SUPPRESS)
    parser.add_argument("--vectors", help=argparse.SUPPRESS)
    pages.add_options(parser)
    options = parser.parse_args()
    if options.side:
        found = SIDES[options.side](options)
        found["peak_mib"] = peak_mib()
        print(json.dumps(found))
        return
    page = pages.Page(
        "evaluation",
        __file__,
        {"rounds": options.rounds, "repeats": options.repeats},
        packages=("scipy", "implicit"),
        remake=options.page,
        keep=pages.whole(parser, options),
    )
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/vectors.npz"
        if not options.page:
            write_vectors(path)
        rounds = page.rounds(
            SIDES_OF_GOWALLA, page.settings["rounds"], lambda side, number: run(side, options, path)
        )
    million = page.result("million", lambda: run("million", options))
    epoch = page.result("epoch", lambda: run("epoch", options))
    shown, missed = report(rounds, million, epoch)
    head = page.head(f"seeds     SVD {SEED}, synthetic catalogue {SEED}, model {SEED}")
    page.write("\n".join([ABOUT, "```text", *head, shown, "```", ""]))
    sys.exit(missed)


def peak_mib() -> float:
    """Return the peak memory of this process, without that of its parent before the start."""
    status = pathlib.Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def report(rounds: dict[str, list[dict]], million: dict, epoch: dict) -> tuple[str, int]:
    """Return the text of the page, and 1 if a goal is missed."""
    rates = {side: [max(one["rates"]) for one in found] for side, found in rounds.items()}
    lines = [f"{'gowalla':31}{'users/s':>27}{'of implicit':>22}{'peak MiB':>10}"]
    for side, found in rounds.items():
        peak = max(one["peak_mib"] for one in found)
        ratio = turns.ratio(rates[side], rates["implicit"]).show()
        lines.append(
            f"{found[0]['name']:31}{turns.mean(rates[side]).show(',.0f'):>27}{ratio:>22}{peak:10,.0f}"
        )
    for found in rounds.values():
        metrics = "  ".join(f"{name} {value:.6f}" for name, value in found[0]["metrics"].items())
        lines.append(f"{found[0]['name']:31}{metrics}")
    peak = max(one["peak_mib"] for one in rounds["ours"])
    ours, theirs = (rounds[side][0]["metrics"] for side in ("ours", "implicit"))
    difference = abs(ours["ndcg@20"] - theirs["ndcg"])
    share = epoch["pass"] / epoch["epoch"]
    lines += [
        f"\nNDCG@20: ours and implicit differ by {difference:.1e}",
        f"\n{million['queries']:,} users x {MILLION:,} items, dim {DIM}: "
        f"{max(million['rates']):,.0f} users/s, peak {million['peak_mib']:,.0f} MiB",
        f"\nncf-ml-1m, {epoch['users']:,} users x {epoch['items']:,} items, MF dim {DIM} with "
        f"{epoch['negatives']} shared negatives, batches of {epoch['batch_size']}:",
        f"an epoch {epoch['epoch']:.2f} s, a validation pass {epoch['pass']:.2f} s: {share:.0%}\n",
    ]
    ahead = turns.ratio(rates["ours"], rates["implicit"])
    goals = {
        "not below implicit's rate (upper end of the interval)": ahead.high >= 1,
        "1.5 times implicit's rate (lower end of the interval)": ahead.low >= 1.5,
        "500 users/s with a million items": max(million["rates"]) >= 500,
        f"peak below {MEMORY_MIB} MiB on Gowalla": peak < MEMORY_MIB,
        f"peak below {MEMORY_MIB} MiB with a million items": million["peak_mib"] < MEMORY_MIB,
        "a validation pass below 20 % of an epoch": share < 0.2,
        "NDCG@20 of implicit": difference < 1e-6,
    }
    for goal, reached in goals.items():
        lines.append(f"goal      {goal}: {'reached' if reached else 'MISSED'}")
    return "\n".join(lines), int(not all(goals.values()))


def run(side: str, options: argparse.Namespace, vectors: str = "") -> dict:
    command = [sys.executable, __file__, "--side", side, "--repeats", str(options.repeats)]
    # implicit requires this. The others set the threads of BLAS themselves.
    one = {"OPENBLAS_NUM_THREADS": "1"} if side == "implicit" else {}
    done = subprocess.run(
        [*command, "--vectors", vectors], capture_output=True, text=True, check=False,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", **one},
    )  # fmt: skip
    if done.returncode:
        sys.exit(f"{side} failed:\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def gowalla() -> tuple[np.ndarray, ...]:
    """Return user and item of the training and test rows, numbered from 0."""
    from kerasrec import datasets

    split = datasets.load("gowalla-lightgcn").split
    return tuple(
        part.column(name).astype(np.int64)
        for part in (split.train, split.test)
        for name in (part.user, part.item)
    )


def write_vectors(path: str) -> None:
    import scipy.sparse
    from scipy.sparse.linalg import svds

    user, item, test_user, test_item = gowalla()
    shape = int(max(user.max(), test_user.max())) + 1, int(max(item.max(), test_item.max())) + 1
    rows = scipy.sparse.csr_matrix((np.ones(len(user), np.float32), (user, item)), shape)
    by_user, by_item = (np.maximum(np.asarray(rows.sum(axis)).ravel(), 1) for axis in (1, 0))
    normal = scipy.sparse.diags(by_user**-0.5) @ rows @ scipy.sparse.diags(by_item**-0.5)
    _, _, right = svds(normal.astype(np.float32), DIM, rng=np.random.default_rng(SEED))
    users = rows @ (right.T / np.sqrt(by_item)[:, None])
    items = right.T * np.sqrt(by_item)[:, None]
    np.savez(
        path,
        users=users.astype(np.float32),
        items=np.ascontiguousarray(items, np.float32),
        train=np.stack([user, item]),
        test=np.stack([test_user, test_item]),
    )


def timed(one_pass: Callable[[], dict[str, float]], queries: int, repeats: int) -> dict:
    one_pass()
    rates = []
    for _ in range(repeats):
        start = time.perf_counter()
        metrics = one_pass()
        rates.append(queries / (time.perf_counter() - start))
    return {"rates": rates, "metrics": metrics}


class Vectors:
    """Retriever made of two arrays."""

    def __init__(self, users: np.ndarray, items: np.ndarray) -> None:
        from kerasrec.schema import Categorical, Schema

        self.users, self.items = users, items
        self.schema = Schema(
            Categorical("user", len(users) + 2), Categorical("item", len(items) + 2)
        )

    def __call__(self, inputs: dict, training: bool = False) -> np.ndarray:
        raise NotImplementedError("A retriever is ranked by its vectors.")

    def query_embedding(self, inputs: dict) -> np.ndarray:
        return self.users[inputs["user"] - 2]

    def item_embedding(self, inputs: dict) -> np.ndarray:
        return self.items[inputs["item"] - 2]


def columns(pairs: np.ndarray) -> dict[str, np.ndarray]:
    return {"user": (pairs[0] + 2).astype(np.int32), "item": (pairs[1] + 2).astype(np.int32)}


def ours(options: argparse.Namespace) -> dict:
    from kerasrec.evaluation import rank_queries

    stored = np.load(options.vectors)
    model = Vectors(stored["users"], stored["items"])
    train, test = columns(stored["train"]), columns(stored["test"])

    def one_pass() -> dict[str, float]:
        ranked = rank_queries(model, test, seen=train, k=K).summary()
        return {name: value for name, value in ranked.items() if isinstance(value, float)}

    found = timed(one_pass, len(np.unique(test["user"])), options.repeats)
    return found | {"name": "kerasrec, all ranking metrics"}


def implicit_side(options: argparse.Namespace) -> dict:
    import scipy.sparse
    from implicit.cpu.als import AlternatingLeastSquares
    from implicit.evaluation import ranking_metrics_at_k

    stored = np.load(options.vectors)
    model = AlternatingLeastSquares(factors=DIM, num_threads=0)
    model.user_factors, model.item_factors = stored["users"], stored["items"]
    shape = len(stored["users"]), len(stored["items"])
    train, test = (
        scipy.sparse.csr_matrix((np.ones(pairs.shape[1], np.float32), tuple(pairs)), shape)
        for pairs in (stored["train"], stored["test"])
    )

    def one_pass() -> dict[str, float]:
        found = ranking_metrics_at_k(model, train, test, K=K, show_progress=False, num_threads=0)
        return {name: float(value) for name, value in found.items()}

    found = timed(one_pass, int((np.diff(test.indptr) > 0).sum()), options.repeats)
    return found | {"name": "implicit, ranking_metrics_at_k"}


def numpy_side(options: argparse.Namespace) -> dict:
    import scipy.sparse

    stored = np.load(options.vectors)
    users, items = stored["users"], stored["items"]
    shape = len(users), len(items)
    train, test = (
        scipy.sparse.csr_matrix((np.ones(pairs.shape[1], np.float32), tuple(pairs)), shape)
        for pairs in (stored["train"], stored["test"])
    )
    size = 256
    number = np.diff(test.indptr)
    discount = 1 / np.log2(np.arange(2, K + 2))
    best = np.concatenate([[0.0], np.cumsum(discount)])

    def one_pass() -> dict[str, float]:
        recall, ndcg = [], []
        scores = np.empty((size, len(items)), np.float32)
        for start in range(0, len(users), size):
            stop = min(start + size, len(users))
            block = np.matmul(users[start:stop], items.T, out=scores[: stop - start])
            seen = train[start:stop]
            block[np.repeat(np.arange(stop - start), np.diff(seen.indptr)), seen.indices] = -np.inf
            top = np.argpartition(block, -K, axis=1)[:, -K:]
            order = np.argsort(-np.take_along_axis(block, top, axis=1), axis=1)
            top = np.take_along_axis(top, order, axis=1)
            rows = np.repeat(np.arange(stop - start), K)
            hits = np.asarray(test[start:stop][rows, top.ravel()]).reshape(top.shape)
            positives = number[start:stop]
            some = positives > 0
            recall.append(hits.sum(axis=1)[some] / positives[some])
            ndcg.append((hits @ discount)[some] / best[np.minimum(positives[some], K)])
        return {
            "recall@20": float(np.concatenate(recall).mean()),
            "ndcg@20": float(np.concatenate(ndcg).mean()),
        }

    return timed(one_pass, int((number > 0).sum()), options.repeats) | {
        "name": "numpy product and argpartition"
    }


def million(options: argparse.Namespace) -> dict:
    from kerasrec.evaluation import rank_queries

    rng = np.random.default_rng(SEED)
    queries = 1000
    model = Vectors(
        rng.standard_normal((queries, DIM), np.float32),
        rng.standard_normal((MILLION, DIM), np.float32),
    )
    user = np.repeat(np.arange(queries), 10)
    train, test = (columns(np.stack([user, rng.integers(0, MILLION, len(user))])) for _ in range(2))

    def one_pass() -> dict[str, float]:
        return {"auc": rank_queries(model, test, seen=train, k=K).summary()["auc"]}

    return timed(one_pass, queries, options.repeats) | {"queries": queries}


def epoch(options: argparse.Namespace) -> dict:
    import keras

    from kerasrec import callbacks, data, datasets, models, optimizers
    from kerasrec.retrieval import SampledSoftmaxTrainer

    negatives, batch_size = 256, 2048
    dataset = datasets.load("ncf-ml-1m")
    rows, split = dataset.interactions, dataset.split
    vocabularies = data.fit_vocabularies(rows)
    schema = data.make_schema(rows, vocabularies)
    train, test = (data.encode(part, vocabularies) for part in (split.train, split.test))
    keras.utils.set_random_seed(SEED)
    model = models.MatrixFactorization(schema, embedding_dim=DIM)
    fitted = SampledSoftmaxTrainer(model, negatives=negatives, seed=SEED)
    loss = keras.losses.BinaryCrossentropy(from_logits=True)
    fitted.compile(optimizers.Adam(0.004), loss, jit_compile=True, steps_per_execution=16)
    batches = data.pointwise(train, schema, batch_size=batch_size, seed=SEED, drop_remainder=True)
    times: list[float] = []
    passes: list[float] = []

    class Clock(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
            times.append(time.perf_counter())

        def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
            times[-1] = time.perf_counter() - times[-1]

    from kerasrec.training import keep_freed_memory

    keep_freed_memory()
    fitted.fit(batches, epochs=2 + options.repeats, verbose=0, shuffle=False, callbacks=[Clock()])
    ranking = callbacks.RankingValidation(test, train, ranker=model)
    ranking.set_model(fitted)
    ranking.on_train_begin()
    for _ in range(1 + options.repeats):
        start = time.perf_counter()
        ranking.rank()
        passes.append(time.perf_counter() - start)
    return {
        "epoch": min(times[2:]),
        "pass": min(passes[1:]),
        "users": len(np.unique(test[schema.user_id.name])),
        "items": schema.item_id.num_ids - 2,
        "negatives": negatives,
        "batch_size": batch_size,
    }


SIDES: dict[str, Callable[[argparse.Namespace], dict]] = {
    "ours": ours,
    "implicit": implicit_side,
    "numpy": numpy_side,
    "million": million,
    "epoch": epoch,
}

if __name__ == "__main__":
    main()
