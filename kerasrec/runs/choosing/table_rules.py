"""Rules of tables of features without users and items, see `rules`."""

from collections.abc import Callable, Mapping

from kerasrec.runs.choosing.durations import MOST, Settings, end_of, power_of_two, share
from kerasrec.runs.choosing.facts import Facts

STEPS = 100
"""Steps of an epoch that are enough for a small data set."""
MOST_OF_TABLES = 100
"""Largest number of epochs of tables without users and items, which may have few rows."""
FIELDS = ("DIN", "FactorizationMachine", "FieldAwareFM")
DEEP_FIELDS = (
    *("AutoInt", "ConvolutionalInteraction", "DCNv2", "DLRM", "DeepFM", "FeatureMLP", "FinalMLP"),
    *("FinalNet", "MLPEnsemble", "NeuralFM", "WideAndDeep"),
)
"""Models of features with hidden layers, which take batch normalisation."""


L2_OF_ROWS, MOST_L2 = 1000.0, 0.2
"""Weight of a penalty on all rows of tables of many categories, over the number of rows: 0.005 for
the 200,000 of Frappe, 0.2 for the 5,000 of a sample of Criteo, by their validation rows."""
CROSS_L2 = 0.02
"""Weight of a penalty on all weights of crosses, over the number of rows."""
MEMBERS = 4
"""Networks of MLPEnsemble, unless others are asked for."""
LARGEST_TABLES = 200_000
"""Categories up to which each step may update whole tables."""


def many_categories(facts: Facts) -> float:
    """Return 0 for a table of few categories, 1 for one of many, and shares between.

    0 too where the tables are too large for a penalty on all of their rows.
    """
    # As on a table of 120 categories and on one of 5,400.
    return share(facts.categories, 300, 3000) if facts.categories <= LARGEST_TABLES else 0.0


def _machine(facts: Facts) -> Settings:
    """Choose the arguments of a factorization machine."""
    return _products(facts, 16, 128)


def _field_aware(facts: Facts) -> Settings:
    """Choose the arguments of a field-aware factorization machine, whose rows have many vectors."""
    return _products(facts, 4, 16)


def _products(facts: Facts, least: int, most: int) -> Settings:
    """Choose the size of vectors whose products tell rows apart: many values need long vectors."""
    why = f"{facts.categories:,} categories of {facts.pairs:,} rows"
    dim = power_of_two(least * (most / least) ** _enough(facts), least, most)
    return {"embedding_dim": (dim, why)}


def _enough(facts: Facts) -> float:
    """Return 1 for many categories with rows enough for long vectors, 0 for few of either."""
    return many_categories(facts) * share(facts.pairs, 10_000, 100_000)


def _wide(facts: Facts) -> Settings:
    """Choose the arguments of a linear model beside hidden layers: pairs of values that repeat."""
    chosen = _deep_fields(facts)
    crosses = [list(facts.cross)] if facts.cross else []
    l2 = float(f"{CROSS_L2 / facts.pairs:.2g}")
    return chosen | {
        "crosses": (crosses, "most positive rows share both" if crosses else "no pairs repeat"),
        "cross_l2": (l2, f"{facts.pairs:,} rows"),
    }


def _deep_fields(facts: Facts) -> Settings:
    """Choose the arguments of a model of features with hidden layers."""
    normal = facts.categories > 0
    why = "categories" if normal else "numbers alone, which are scaled"
    # Tables that are too large for a penalty on all of their rows.
    large = facts.categories > LARGEST_TABLES
    return {
        "embedding_l2": (3.0 * large, f"{facts.categories:,} categories"),
        "dropout": (0.3 - 0.1 * many_categories(facts) if normal else 0.0, why),
        "batch_normalization": (normal, why),
    }


def _two_streams(facts: Facts) -> Settings:
    """Choose the arguments of FinalMLP: two wide layers, whose products take the place of depth."""
    chosen = _deep_fields(facts)
    return chosen | {
        "hidden_units": ((128,), "as on Frappe"),
        "second_hidden_units": ((128,), "as on Frappe"),
        "num_heads": (4, "as on Frappe"),
        "dropout": (0.3, "as on Frappe"),
    }


def _dot_products(facts: Facts) -> Settings:
    """Choose the arguments of DLRM, whose hidden layers read products of rows instead of rows."""
    chosen = _deep_fields(facts)
    if facts.categories > LARGEST_TABLES:
        return chosen
    dim = power_of_two(16 * 8 ** many_categories(facts), 16, 128)
    return chosen | {"embedding_dim": (dim, f"{facts.categories:,} categories")}


def _pooled_pairs(facts: Facts) -> Settings:
    """Choose the arguments of NeuralFM, whose pairs learn rows by heart unless dropped."""
    many = many_categories(facts)
    why = f"{facts.categories:,} categories"
    return _deep_fields(facts) | {
        "embedding_dim": (power_of_two(32 * 8 ** _enough(facts), 32, 256), why),
        "hidden_units": ((128,), "as on Frappe"),
        "dropout": (0.3, "as on Frappe"),
        "pair_dropout": (round(0.2 + 0.4 * many, 2), why),
    }


ARGUMENTS: Mapping[str, Callable[[Facts], Settings]] = {
    **dict.fromkeys(DEEP_FIELDS, _deep_fields),
    "DLRM": _dot_products,
    "FactorizationMachine": _machine,
    "FieldAwareFM": _field_aware,
    "FinalMLP": _two_streams,
    "NeuralFM": _pooled_pairs,
    "WideAndDeep": _wide,
}


def examples(facts: Facts, *, model: str) -> Settings:
    """Choose the training on labels of rows without users and items."""
    # Dropped pairs need many small steps, and keep rows short in place of a penalty.
    drops = model == "NeuralFM"
    size = power_of_two(facts.pairs / (2 * STEPS), 64, 128 if drops else 4096)
    deep = model in DEEP_FIELDS
    # The layers above the products of DLRM normalise what the penalty makes small.
    l2 = L2_OF_ROWS / max(1, facts.pairs) * (3 if model == "DLRM" else 1)
    l2 = min(MOST_L2, l2) * many_categories(facts) * (deep and not drops)
    if (
        model == "MLPEnsemble"
    ):  # its loss is the mean of as many losses, each with tables of its own
        l2 /= MEMBERS
    # Two streams are slower to fit, and to overfit.
    total = {"FinalMLP": 6000, "NeuralFM": 48_000}.get(model, 4000)
    products = facts.pairs * (500_000 if drops else 300_000)
    end = end_of(facts.pairs / size, total, products, most=MOST if drops else MOST_OF_TABLES)
    settings = {
        "batch_size": (size, f"{facts.pairs:,} rows"),
        "learning_rate": (
            0.001 if drops else 0.003 if deep else 0.01,
            "as on every table tried",
        ),
        "warmup_steps": (0, "not needed"),
        "unknown_share": (0.02, "unknown categories get trained scores"),
        **end,
    }
    if deep:
        # Rows shrink while the rate is high, and fit when it is low.
        settings |= {
            "decay": ("linear", "the last epochs are the best"),
            "decay_rate": (99.0, "a hundredth of the rate at the end"),
            "patience": (max(3, end["epochs"][0] // 2), "half of the epochs"),
        }
    if drops:
        settings["unknown_share"] = (0.0, "as on Frappe")
    if l2:
        why = f"{facts.categories:,} categories of {facts.pairs:,} rows"
        settings["table_l2"] = (float(f"{l2:.2g}"), why)
        # The penalty leaves rows of rare and unknown categories at 0, which says nothing.
        settings["unknown_share"] = (0.0, "the penalty on all rows does more")
    return settings
