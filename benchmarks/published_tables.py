"""Tables of `published.py`: protocols, settings, goals and published rows."""

import dataclasses
import functools
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from published_training import (
    RankingSettings,
    RatingSettings,
    choose_ranking,
    choose_rating,
    test_ranking,
    test_rating,
    trains,
)

SECONDS = "training_seconds"


@dataclasses.dataclass(frozen=True)
class Published:
    """A row of a published table."""

    model: str
    figures: Mapping[str, str]
    source: str


@dataclasses.dataclass(frozen=True)
class Table:
    """A published table and its reproduction.

    Args:
        title: heading of the page.
        measures: heading of each measured figure.
        higher_is_better: whether higher figures are better.
        models: settings by name of the row.
        goals: (model, measure, figure); `SECONDS` is also a measure, of the slowest run.
        published: published rows.
        protocol: description of the measurement.
        training: description of the training beyond the settings.
        choose: function of a part and settings that returns the epoch chosen on held-out training
            rows.
        test: function of a part, settings, seed and epoch that returns the figures on the test
            rows.
        stops_early: replaces both if every seed chooses its own epoch: function of a part,
            settings, seed and checkpoint folder that returns the epoch and the figures on the test
            rows.
        parts: parts to average over: folds, or the one split.
        trains: whether the settings belong to a model with trainable weights.
    """

    title: str
    measures: Mapping[str, str]
    higher_is_better: bool
    models: Mapping[str, Any]
    goals: Sequence[tuple[str, str, float]]
    published: Sequence[Published]
    protocol: str
    training: str
    choose: Callable[[str, Any], dict[str, Any]] | None = None
    test: Callable[[str, Any, int, int | None], dict[str, Any]] | None = None
    stops_early: Callable[[str, Any, int, pathlib.Path], dict[str, Any]] | None = None
    parts: Sequence[str] = ("split",)
    trains: Callable[[Any], bool] = trains


def rows_from(source: str, measures: Sequence[str], *rows: Sequence[str]) -> list[Published]:
    """Return the published rows `(model, *figures)` of one source."""
    return [
        Published(model, dict(zip(measures, figures, strict=True)), source)
        for model, *figures in rows
    ]


EPOCH = """
The epoch is chosen on rows held out of the training part, with seed 0, and is then the same for
all seeds; the model is trained anew on the whole training part for that many epochs of the same
schedule, and meets the test rows once. The other settings were chosen by hand on the same held-out
rows."""


RECENT = "MatrixFactorization, newer rows weigh more"
ALS = "MatrixFactorization, alternating least squares"


def ncf_ml_1m() -> Table:
    """Return the table of the NCF split of MovieLens 1M, with 99 given negatives."""
    measures = ("hr@10", "ndcg@10")
    rendle = "Rendle et al. 2020, arXiv 2005.09683, main table"
    return Table(
        title="Top-N on MovieLens 1M, split and negatives of neural collaborative filtering",
        measures={"hr@10": "HR@10", "ndcg@10": "NDCG@10"},
        higher_is_better=True,
        models={
            "MatrixFactorization": RankingSettings(
                embedding_dim=192, l2=0.02, learning_rate=0.004, negatives=256, epochs=16
            ),
            RECENT: RankingSettings(
                embedding_dim=192, l2=0.02, learning_rate=0.004, negatives=256, epochs=12,
                half_life=15.0, floor=0.1,
            ),
            "EmbeddingMLP": RankingSettings(
                kind="EmbeddingMLP", embedding_dim=32, l2=0.0, learning_rate=0.001, negatives=4,
                batch_size=10_240, epochs=40, every=1, patience=3,
            ),
            "EASE": RankingSettings(kind="EASE", epochs=0, options={}),
            ALS: RankingSettings(
                epochs=0, options={"embedding_dim": 64, "use_bias": False}, solver={"epochs": 12}
            ),
            "SparseEASE": RankingSettings(kind="SparseEASE", epochs=0, options={}),
            "Popularity": RankingSettings(kind="Popularity", epochs=0),
            "random": RankingSettings(kind="random", epochs=0),
        },
        goals=[
            ("MatrixFactorization", "hr@10", 0.7294),
            ("MatrixFactorization", "ndcg@10", 0.4523),
            ("MatrixFactorization", SECONDS, 300.0),
            (RECENT, SECONDS, 300.0),
            ("EASE", "hr@10", 0.7162),
            ("EASE", "ndcg@10", 0.4468),
            ("SparseEASE", "hr@10", 0.7162),
            ("SparseEASE", "ndcg@10", 0.4468),
            (ALS, "hr@10", 0.7111),
            (ALS, "ndcg@10", 0.4383),
        ],
        published=rows_from(
            rendle, measures,
            ("MF, dot product, d=192 (256 epochs; mean of 8 runs)", "0.7294", "0.4523"),
            ("SLIM", "0.7162", "0.4468"),
            ("iALS", "0.7111", "0.4383"),
            ("NeuMF", "0.7093", "0.4349"),
            ("Popularity", "0.4535", "0.2543"),
        ),
        protocol=f"""
The published split: the last film of each of 6,040 users is the test, ranked among the 99 films
given with it (for 156 users one of them is the test film itself and counts once). **Sampled**: the
figures compare with no full ranking. Equal scores count as the mean over their orders.
{EPOCH} Held out is the last training film of each user, ranked among 99 drawn films that the user
has not seen.""",
        training="""
MatrixFactorization: `kerasrec.training.SampledSoftmaxTrainer`, `negatives` shared by a batch; with
a `half_life`, each row weighs what `kerasrec.data.recency_weights` gives it, which reads the times
of the training rows. No published model does, so that no row compares with it.
EmbeddingMLP: binary cross-entropy, `negatives`
drawn for each positive (`with_negatives`). All: `kerasrec.optimizers.Adam`, the rate falls linearly
to 0 at the last planned epoch; with a `patience` it stays the same, and the choice of the epoch
ends when NDCG@10 of the held-out rows has not risen for so many epochs. The seed sets
initial weights, order and negatives. EASE, SparseEASE and
`kerasrec.training.AlternatingLeastSquares` solve for the training rows with their default
penalties, those of least squares having been chosen on held-out films of this table; the latter
begins with the random vectors of seed 0 and runs for 12 epochs. Popularity counts the training
rows; random is what constant scores get, exactly.""",
        choose=functools.partial(choose_ranking, "ncf-ml-1m"),
        test=functools.partial(test_ranking, "ncf-ml-1m"),
    )  # fmt: skip


def gowalla_lightgcn() -> Table:
    """Return the table of the Gowalla split of NGCF and LightGCN, with full ranking."""
    measures = ("recall@20", "ndcg@20")
    bars = "BARS leaderboard gowalla_m1, reczoo/BARS 5b5e61f"
    return Table(
        title="Top-N on Gowalla, split of NGCF and LightGCN",
        measures={"recall@20": "Recall@20", "ndcg@20": "NDCG@20"},
        higher_is_better=True,
        models={
            "MatrixFactorization": RankingSettings(
                embedding_dim=64, temperature=0.1, learning_rate=0.01, negatives=1024,
                sampling_correction=True, epochs=32, every=8, k=20,
            ),
            "SparseEASE": RankingSettings(
                kind="SparseEASE", epochs=0, k=20, options={"neighbours": 100, "l2": 30.0}
            ),
            "GraphFilter": RankingSettings(
                kind="GraphFilter", epochs=0, k=20,
                options={"order": 4, "flatness": 2.0, "rank": 512, "rank_weight": 0.3},
            ),
            "ItemKNN": RankingSettings(
                kind="ItemKNN", epochs=0, k=20, options={"neighbours": 100, "shrinkage": 10.0}
            ),
            "Popularity": RankingSettings(kind="Popularity", epochs=0, k=20),
        },
        goals=[
            ("SparseEASE", "recall@20", 0.1941),
            ("SparseEASE", "ndcg@20", 0.1616),
            ("SparseEASE", "recall@20", 0.1765),
            ("SparseEASE", "ndcg@20", 0.1467),
            ("GraphFilter", "recall@20", 0.1941),
            ("GraphFilter", "ndcg@20", 0.1616),
            ("ItemKNN", "recall@20", 0.1570),
            ("ItemKNN", "ndcg@20", 0.1214),
            ("MatrixFactorization", "recall@20", 0.1941),
            ("MatrixFactorization", "ndcg@20", 0.1616),
            ("MatrixFactorization", "recall@20", 0.1837),
            ("MatrixFactorization", "ndcg@20", 0.1493),
        ],
        published=rows_from(
            "their papers", measures,
            ("ChebyCF (2025, closed form)", "0.1941", "0.1616"),
            ("BSPM", "0.1921", "0.1597"),
        ) + rows_from(
            bars, measures,
            ("SimpleX", "0.1872", "0.1557"),
            ("UltraGCN", "0.1862", "0.1580"),
            ("GF-CF", "0.1849", "0.1518"),
            ("MF-CCL", "0.1837", "0.1493"),
            ("LightGCN", "0.1820", "0.1547"),
            ("EASE", "0.1765", "0.1467"),
            ("YoutubeDNN (two-tower)", "0.1754", "0.1473"),
            ("SLIM", "0.1699", "0.1382"),
            ("CML", "0.1670", "0.1292"),
            ("Mult-VAE", "0.1641", "0.1335"),
            ("MF-BPR", "0.1627", "0.1378"),
            ("ItemCF", "0.1570", "0.1214"),
            ("NGCF", "0.1570", "0.1327"),
            ("NeuMF", "0.1399", "0.1212"),
        ),
        protocol=f"""
The published split: 810,128 training and 217,242 test rows of 29,858 users and 40,981 items; all
items are ranked but those of the user's training rows. Published rows have embedding size 64, and
most of them stopped on the test rows.
{EPOCH} Held out is a random tenth of the training rows.""",
        training="""
MatrixFactorization: `kerasrec.training.SampledSoftmaxTrainer`, `negatives` shared by a batch,
`kerasrec.optimizers.Adam`, the rate falls linearly to 0 at the last planned epoch. The seed sets
initial weights, order and negatives. The other models are solved for, once; their settings were
chosen on 2,000 users with held-out rows: SparseEASE among 50 and 100 neighbours with l2 from 3 to
108, GraphFilter among 60 settings of filter, rank and weight, ItemKNN among 6.""",
        choose=functools.partial(choose_ranking, "gowalla-lightgcn"),
        test=functools.partial(test_ranking, "gowalla-lightgcn"),
    )  # fmt: skip


SURPRISE = "[README of Surprise, 2381fb1](https://github.com/NicolasHug/Surprise/blob/2381fb11d0c4bf917cc4b9126f205d0013649966/README.md)"
RATING_PROTOCOL = """
The rows of the file, shuffled by `numpy.random.RandomState(0)` and cut into 5 consecutive blocks,
which are the test parts: the folds of the benchmark of Surprise. Predictions are clipped to 1..5
and errors averaged over the folds. Test rows whose user or film has no training row count like all
others.
"""
RATING_TRAINING = """
Biased matrix factorisation, mean squared error plus the penalty of `MatrixFactorization`; Adam with
`kerasrec.optimizers.inverse_time_decay` (to `learning_rate / (1 + decay_rate)` at the last planned
epoch) and `clipnorm` on the gradient of each weight; mu starts at the mean training rating. "biases
only" has vectors that start at zero, where their gradient is zero. The seed sets the initial
vectors and the order of the rows."""
FOLDS = tuple(f"fold{number}" for number in range(1, 6))


def _ratings(
    data: str, title: str, settings: RatingSettings, goal: float, *published: Sequence[str],
    note: str, tuned: Sequence[Published] = (),
) -> Table:  # fmt: skip
    return Table(
        title=title,
        measures={"rmse": "RMSE", "mae": "MAE"},
        higher_is_better=False,
        models={
            "biased MF": settings,
            "biases only": dataclasses.replace(settings, embedding_dim=1, stddev=0.0),
        },
        goals=[("biased MF", "rmse", goal)],
        published=[*tuned, *rows_from(SURPRISE, ("rmse", "mae"), *published)],
        protocol=f"""{RATING_PROTOCOL}The rows of Surprise are its defaults, untuned. {note}{EPOCH}
Held out is a random tenth of the training part of each fold; settings other than the epoch were
looked at on that of fold 1 alone, whose rows are test rows of other folds.""",
        training=RATING_TRAINING,
        choose=functools.partial(choose_rating, data),
        test=functools.partial(test_rating, data),
        parts=FOLDS,
    )


def ml_100k_ratings() -> Table:
    """Return the table of RMSE on MovieLens 100K, five folds."""
    return _ratings(
        "movielens-100k",
        "Rating prediction on MovieLens 100K",
        RatingSettings(),
        0.8785,
        ("SVD++", "0.919", "0.721"),
        ("SVD (biased MF)", "0.934", "0.737"),
        ("Baseline (biases only)", "0.944", "0.748"),
        tuned=rows_from(
            "myfm, run on these folds: rank 10, 300 draws",
            ("rmse",),
            ("Bayesian factorisation machine, with dates", "0.8785"),
            ("Bayesian factorisation machine, ids alone", "0.8809"),
        ),
        note="""
Two reservations: `l2` was also looked at on held-out tenths of folds 2 and 4, and the test part of
fold 1 had been scored once before the learning rate went from 0.01 to 0.015, which was decided on
the held-out tenth.
""",
    )


def ml_1m_ratings() -> Table:
    """Return the table of RMSE on MovieLens 1M, five folds."""
    return _ratings(
        "movielens-1m",
        "Rating prediction on MovieLens 1M",
        RatingSettings(
            l2=0.06, learning_rate=0.01, clipnorm=None, batch_size=4096, epochs=8, bias_l2=0.002
        ),
        0.862,
        ("SVD++", "0.862", "0.672"),
        ("SVD (biased MF)", "0.873", "0.686"),
        ("k-NN baseline", "0.895", "0.706"),
        ("Baseline (biases only)", "0.909", "0.719"),
        note="""488 of the 1,000,209 rows, whose rating is unknown in our copy, are left out. A
Bayesian factorisation machine (myfm) has RMSE 0.8140 on another split, a random tenth as test; on
these folds it has not been run.
""",
    )


TABLES: dict[str, Callable[[], Table]] = {
    "ncf-ml-1m": ncf_ml_1m,
    "gowalla-lightgcn": gowalla_lightgcn,
    "ml-100k-ratings": ml_100k_ratings,
    "ml-1m-ratings": ml_1m_ratings,
}
