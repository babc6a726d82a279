"""Rules that choose the settings of a model and of its training from the rows.

A rule reads `Facts`: numbers of rows, users and items, lengths of histories, kind of labels. The
constants were chosen on seven data sets; `benchmarks/recipes.py` measures each set by rules that
were chosen without it.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from kerasrec.runs.choosing import table_rules
from kerasrec.runs.choosing.durations import MOST, Settings, end_of, power_of_two, share
from kerasrec.runs.choosing.facts import Facts
from kerasrec.runs.choosing.table_rules import DEEP_FIELDS, FIELDS, STEPS
from kerasrec.runs.settings import Training

SPARSE, DENSE = 16.0, 300.0
"""Positive rows per item of a sparse and of a dense data set, between which rules interpolate."""
FEW, MANY = 1000.0, 4000.0
"""Effective numbers of items between which the temperature of a softmax falls."""
LONGEST = 200
"""Largest length of histories that is chosen."""
LONGEST_OF_PAIRS = 50
"""The same of a model that reads a history for each pair of a user and an item."""
MANY_ITEMS = 50_000
"""Items from which on a softmax samples some of them."""
MOST_PROFILES = 200
"""Largest number of epochs of models with one row per user, whose epochs are short."""


def density_of(facts: Facts) -> float:
    """Return 0 for a sparse data set, 1 for a dense one, and shares between."""
    return share(facts.rows_per_item, SPARSE, DENSE)


def between(facts: Facts, sparse: float, dense: float) -> float:
    """Interpolate between the values for a sparse and for a dense data set, to two digits."""
    return _interpolated(sparse, dense, density_of(facts))


def temperature(facts: Facts) -> tuple[float, str]:
    """Choose the divisor of cosines in a softmax: the more items compete, the smaller it is."""
    chosen = _interpolated(0.2, 0.1, share(facts.effective_items, FEW, MANY))
    return chosen, f"as many as {facts.effective_items:,.0f} equally popular items"


def max_length(facts: Facts, *, of_pairs: bool = False) -> tuple[int, str]:
    """Choose the number of newest items of a user that a model of histories reads.

    Args:
        facts: facts of the rows.
        of_pairs: whether the history is read again for each pair.
    """
    longest = LONGEST_OF_PAIRS if of_pairs else LONGEST
    length = min(longest, max(10, facts.history))
    return length, f"nine of ten users have at most {facts.history:,} items"


def arguments(model: str, loss: str, facts: Facts) -> Settings:
    """Choose arguments of a model's constructor. Models without rules keep their defaults."""
    if facts.features:
        return table_rules.ARGUMENTS.get(model, lambda facts: {})(facts)
    made = ARGUMENTS.get((model, loss)) or ARGUMENTS.get((model, "")) or (lambda facts: {})
    return made(facts)


def chosen_arguments(model: str) -> set[str]:
    """Return the names of the constructor's arguments that rules choose, for any loss.

    Those that a search may change count, too, so that a value which is given can be told from a
    default.
    """
    pairs = Facts(1, 1, 1, 1, "none", 1.0, 1, 1)
    table = dataclasses.replace(pairs, features=1)
    losses = {loss for one, loss in ARGUMENTS if one == model} | {"", "softmax", "mse"}
    found = set()
    for facts in (pairs, table):
        for loss in losses:
            found |= set(arguments(model, loss, facts))
            found |= {n for changed in alternatives(model, loss, facts) for n in changed}
    return found - {field.name for field in dataclasses.fields(Training)}


def _sasrec(facts: Facts) -> Settings:
    per_item = _per_item(facts)
    dim = _width(facts)
    return {
        "embedding_dim": (dim, per_item),
        "num_heads": (2, "as on every data set tried"),
        "hidden_units": (4 * dim if dim == 64 else dim, per_item),
        "dropout": (between(facts, 0.5, 0.1), per_item),
    }


def _gru4rec(facts: Facts) -> Settings:
    per_item = _per_item(facts)
    return {
        "embedding_dim": (_width(facts), per_item),
        "dropout": (between(facts, 0.5, 0.2), per_item),
    }


def _factors(facts: Facts) -> Settings:
    return {
        "embedding_dim": (128, "as on every data set tried"),
        "temperature": temperature(facts),
    }


def _smoothed_factors(facts: Facts) -> Settings:
    return {
        "embedding_dim": (64, "as in the paper"),
        "temperature": (between(facts, 0.1, 0.2), _per_item(facts)),
    }


def _constrained_factors(facts: Facts) -> Settings:
    return {"embedding_dim": (64, "as in the paper")}


def _rated_factors(facts: Facts) -> Settings:
    return {
        "embedding_dim": (64, "as on every data set tried"),
        "l2": (0.1, "as on every data set tried"),
        "bias_l2": (0.02, "as on every data set tried"),
        "stddev": (0.01, "training starts from the biases"),
    }


def _perceptron(facts: Facts, sparse_l2: float = 1e-3) -> Settings:
    # Rows of items with few events learn too little under a large penalty.
    dense = share(facts.rows_per_item, SPARSE, 2 * SPARSE)
    l2 = sparse_l2 * (0.03 / sparse_l2) ** dense
    return {
        "embedding_dim": (64, "as on every data set tried"),
        "l2": (float(f"{l2:.1g}"), _per_item(facts)),
    }


def _neural_factors(facts: Facts) -> Settings:
    return _perceptron(facts, sparse_l2=1e-2)


def _fields(facts: Facts) -> Settings:
    """Choose the arguments of a model of features, of rows with users and items."""
    found = _perceptron(facts)
    return {"embedding_dim": found["embedding_dim"], "embedding_l2": found["l2"]}


def _rated_perceptron(facts: Facts) -> Settings:
    mean = float(f"{facts.mean_label:.4g}")
    return {
        "embedding_dim": (64, "as on every data set tried"),
        "l2": (1e-3, "as on every data set tried"),
        "initial_bias": (mean, "the mean label"),
    }


ARGUMENTS: Mapping[tuple[str, str], Callable[[Facts], Settings]] = {
    ("SASRec", ""): _sasrec,
    ("GRU4Rec", ""): _gru4rec,
    ("LightGCN", ""): _smoothed_factors,
    ("MatrixFactorization", "softmax"): _factors,
    ("MatrixFactorization", "graph_crossentropy"): _constrained_factors,
    ("MatrixFactorization", "mse"): _rated_factors,
    ("EmbeddingMLP", ""): _perceptron,
    ("NeuMF", ""): _neural_factors,
    **{(model, ""): _fields for model in (*FIELDS, *DEEP_FIELDS)},
    ("EmbeddingMLP", "mse"): _rated_perceptron,
    ("NeuMF", "mse"): _rated_perceptron,
}


def alternatives(model: str, loss: str, facts: Facts) -> list[dict[str, Any]]:
    """Return settings that a search tries beside those of the rules, the most promising first."""
    if model in DEEP_FIELDS and facts.features:
        other = {"table_l2": 0.002} if facts.categories else {"learning_rate": 0.0005}
        return [{"dropout": 0.1}, {"dropout": 0.5}, other]
    if model in (*FIELDS, *DEEP_FIELDS):
        return [{"embedding_l2": 1e-3}, {"embedding_l2": 1e-2}, {"embedding_l2": 3e-2}]
    if model == "MatrixFactorization" and loss == "mse":
        return [{"l2": 0.05}, {"l2": 0.2}, {"l2": 0.02}]
    if model == "LightGCN":
        return [{"num_layers": 2}, {"temperature": 0.1}, {"temperature": 0.2}]
    if model == "MatrixFactorization" and loss == "graph_crossentropy":
        return [{"l2": 1e-3}, {"l2": 1e-2}, {"learning_rate": 0.01}]
    if model == "MatrixFactorization":
        dot = {"temperature": None, "l2": 0.02, "learning_rate": 0.004}
        return [{"temperature": 0.1}, {"temperature": 0.2}, dot]
    chosen: Any = arguments(model, loss, facts).get("dropout", (None, ""))[0]
    if chosen is not None:
        less, more = round(max(0.1, chosen - 0.2), 2), round(min(0.6, chosen + 0.2), 2)
        return [{"dropout": less}, {"dropout": more}, {"embedding_dim": 128}]
    if model in ("MultDAE", "MultVAE", "RecVAE"):
        return [{"dropout": 0.7}, {"learning_rate": 0.001}, {"learning_rate": 0.01}]
    if model in ("EmbeddingMLP", "NeuMF"):
        return [{"l2": 1e-3}, {"l2": 1e-2}, {"l2": 3e-2}]
    return [{"learning_rate": 0.0005}, {"learning_rate": 0.006}]


def sequence(facts: Facts, *, length: int, pairwise: bool = False) -> Settings:
    """Choose the training of a model that predicts the next item, against all items or drawn ones.

    Args:
        facts: facts of the rows.
        length: length of the histories.
        pairwise: whether the loss compares each item with drawn ones.
    """
    tokens = power_of_two(facts.rows / STEPS, 1024, 4096)
    dim = _width(facts)
    size = max(1, tokens // length)
    drawn = 0 if facts.items <= MANY_ITEMS else 4096
    if pairwise:
        drawn = 256
    # As measured: large products of matrices take half of their time, each step back 700.
    products = dim * (24 * dim + (drawn or facts.items)) / 2 + 700 * length
    end = end_of(
        facts.rows / tokens, max(3000, facts.rows // 150), facts.rows * products, linear=True
    )
    return {
        "batch_size": (size, f"{tokens:,} events in a step"),
        "negatives": (drawn, f"{facts.items:,} items, of which 0 takes all"),
        "learning_rate": (0.003 if density_of(facts) > 0.5 else 0.002, _per_item(facts)),
        "warmup_steps": (100, "as on every data set tried"),
        **end,
        # Figures of next items stand still for longer than others before they rise again.
        "patience": (max(3, end["epochs"][0] // 2), "half of the epochs"),
    }


def retrieval(facts: Facts) -> Settings:
    """Choose the training of a model of two vectors by softmax."""
    size = power_of_two(facts.rows / STEPS, 512, 4096)
    rate = (0.01, "as on every data set tried")
    return _two_vectors(facts, size, rate, 8000, dim=128, most=60)


def graph(facts: Facts) -> Settings:
    """Choose the training of vectors smoothed over a graph, by softmax."""
    # Each step smooths all vectors, so larger batches take less time.
    size = power_of_two(facts.rows / STEPS, 1024, 8192)
    return _two_vectors(facts, size, (0.01, "as on MovieLens 100K"), 2000, dim=128)


def graph_constraint(facts: Facts) -> Settings:
    """Choose the training of a model of two vectors with weights from a graph."""
    size = power_of_two(facts.rows / STEPS, 512, 4096)
    return _two_vectors(facts, size, (0.005, "half of that of the softmax"), 4000, dim=64)


def profiles(facts: Facts) -> Settings:
    """Choose the training of an autoencoder, on one row per user."""
    size = power_of_two(facts.users / 15, 16, 512)
    steps = facts.users / size
    # The first layer and the last one, of 600 units each.
    products = facts.users * facts.items * 1200
    return {
        "batch_size": (size, f"{facts.users:,} users"),
        "learning_rate": (0.003, "as on MovieLens 100K"),
        "warmup_steps": (0, "not needed"),
        **end_of(steps, max(1500, round(30 * steps)), products, most=MOST_PROFILES),
    }


def pairs(facts: Facts, *, shared: bool = False, history: int = 0) -> Settings:
    """Choose the training of any other ranker, against items drawn for each row or for a batch.

    Args:
        facts: facts of the rows.
        shared: whether a batch shares the drawn items.
        history: length of the histories that are read for each pair.
    """
    drawn = 64 if shared else 8
    rows = facts.rows * (1 if shared else 1 + drawn)
    size = 256 if shared else power_of_two(rows / STEPS / 4, 1024, 4096 if history else 16384)
    return {
        "batch_size": (size, f"{facts.rows:,} rows"),
        "negatives": (drawn, "as on every data set tried"),
        "learning_rate": (0.005, "as on every data set tried"),
        "warmup_steps": (0, "not needed"),
        "unknown_share": (0.02, "unknown ids get trained scores"),
        **end_of(rows / size, 16_000, rows * (40_000 + 10_000 * history) * (64 if shared else 1)),
    }


def ratings(facts: Facts) -> Settings:
    """Choose the training on the squared error of ratings."""
    size = power_of_two(facts.pairs / STEPS, 256, 4096)
    return {
        "batch_size": (size, f"{facts.pairs:,} rows"),
        "learning_rate": (0.005, "as on every data set tried"),
        "warmup_steps": (0, "not needed"),
        "unknown_share": (0.02, "unknown ids get trained scores"),
        **end_of(facts.pairs / size, 2500, facts.pairs * 10_000),
    }


def labels(facts: Facts, *, length: int | None = None) -> Settings:
    """Choose the training on labels of rows, in histories of some length or one by one."""
    size = power_of_two(facts.pairs / STEPS, 256, 4096)
    products = 10_000 if length is None else 300_000
    return {
        "batch_size": (size if length is None else max(1, size // length), f"{facts.pairs:,} rows"),
        "learning_rate": (0.002, "as on every data set tried"),
        "warmup_steps": (0, "not needed"),
        "unknown_share": (0.02, "unknown ids get trained scores"),
        **end_of(facts.pairs / size, 2000, facts.pairs * products),
    }


def _two_vectors(
    facts: Facts, size: int, rate: tuple[float, str], total: int, *, dim: int, most: int = MOST
) -> Settings:
    """Choose the training of two vectors against items that a batch shares, see `end_of`."""
    negatives = power_of_two(facts.items / 2, 64, 1024)
    return {
        "batch_size": (size, f"{facts.rows:,} rows"),
        "negatives": (negatives, f"{facts.items:,} items"),
        "learning_rate": rate,
        "warmup_steps": (0, "not needed"),
        **end_of(facts.rows / size, total, facts.rows * dim * negatives, most=most),
    }


def _width(facts: Facts) -> int:
    return 64 if density_of(facts) > 0.5 else 128


def _interpolated(first: float, second: float, share: float) -> float:
    return float(f"{first + (second - first) * share:.2g}")


def _per_item(facts: Facts) -> str:
    return f"{facts.rows_per_item:.0f} rows per item"
