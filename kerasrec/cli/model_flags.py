"""Flags of `kerasrec fit MODEL`: the constructor arguments of each model besides its schema.

Importing a model imports Keras and TensorFlow, which takes seconds, so that help texts and parsing
read this table instead. A test compares it with the constructors and their docstrings. The flags of
a model that has no entry yet are read from its class.
"""

import inspect
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple, Optional, Union

from docstring_parser import parse
from jsonargparse import ArgumentParser

import kerasrec.models
from kerasrec.runs.choosing.rules import chosen_arguments

AUTO = "auto"


class Flag(NamedTuple):
    """One argument of a constructor."""

    name: str
    type: Any
    default: Any
    help: str | None = None


HIDDEN = (
    Flag(
        "dropout",
        float,
        0.0,
        "fraction of the hidden units dropped in training, after each hidden layer.",
    ),
    Flag(
        "batch_normalization",
        bool,
        False,
        "whether each hidden layer is normalised before its activation.",
    ),
)
# Help texts show other words for `Any | None`.
DTYPE = Flag("dtype", Optional[Any], None)  # noqa: UP045
# The first line of the docstring, and the flags.
MODELS: dict[str, tuple[str, tuple[Flag, ...]]] = {
    "AutoInt": ("Multi-head self-attention over fields, beside hidden layers.", (
        Flag("embedding_dim", int, 16,
             "length of a row, in every table, and of a field after each attention."),
        Flag("num_layers", int, 3, "number of attention layers."),
        Flag("num_heads", int, 2,
             "number of heads of each attention, a divisor of `embedding_dim`."),
        Flag("hidden_units", Sequence[int], (128, 64),
             "widths of the hidden layers; with none, the model consists of the attention."),
        *HIDDEN,
        Flag("embedding_l2", float, 0.0, "weight of the penalty on looked-up rows."),
        DTYPE,
    )),
    "ConvolutionalInteraction": (
     "Convolutional network over the outer products of all pairs of features.", (
        Flag("embedding_dim", int, 16, "length of a row, in every table."),
        Flag("filters", int, 32, "number of channels after each convolution."),
        Flag("kernel_size", int, 2, "side of each convolution, and the steps it takes."),
        Flag("hidden_units", Sequence[int], (64,),
             "widths of the hidden layers above the convolutions."),
        *HIDDEN,
        Flag("embedding_l2", float, 0.0, "weight of the penalty on looked-up rows."),
        DTYPE,
    )),
    "DCNv2": (
     "Deep and cross network with full crosses, low-rank ones or a mixture of these.", (
        Flag("embedding_dim", int, 16, "length of a row, in every table."),
        Flag("num_layers", int, 3, "number of cross layers."),
        Flag("rank", int | None, None, "inner width of W; None for full matrices."),
        Flag("experts", int, 1,
             "number of low-rank matrices that a layer mixes; 1 for no mixture. More than one "
             "need a `rank`."),
        Flag("hidden_units", Sequence[int], (128, 64),
             "widths of the hidden layers; with none, the model consists of the crosses."),
        *HIDDEN,
        Flag("embedding_l2", float, 0.0, "weight of the penalty on looked-up rows."),
        DTYPE,
    )),
    "DIN": ("Deep interest network: a history read for each candidate, and hidden layers.", (
        Flag("embedding_dim", int, 16, "length of a row, in every table."),
        Flag("hidden_units", Sequence[int], (128, 64), "widths of the hidden layers."),
        Flag("attention_units", Sequence[int], (32, 16),
             "widths of the hidden layers of the weights."),
        Flag("interest", str, "attention",
             '"attention" for the weights above, "softmax" to let them add up to 1, or '
             '"transformer".'),
        Flag("num_heads", int, 2,
             "number of heads of the transformer, a divisor of the length of c."),
        Flag("history_features", Sequence[str], (),
             "names of features of the items that the history is read with."),
        Flag("dropout", float, 0.0,
             "fraction of the hidden units dropped in training, after each hidden layer."),
        Flag("embedding_l2", float, 0.0, "weight of the penalty on looked-up rows."),
        DTYPE,
    )),
    "DLRM": ("Deep learning recommendation model (Naumov et al., 2019).", (
        Flag("embedding_dim", int, 16, "length of a row, in every table, and of n."),
        Flag("bottom_units", Sequence[int], (64,), "widths of the hidden layers below n."),
        Flag("hidden_units", Sequence[int], (128, 64),
             "widths of the hidden layers above the dot products."),
        *HIDDEN,
        Flag("embedding_l2", float, 0.0, "weight of the penalty on looked-up rows."),
        DTYPE,
    )),
    "DeepFM": ("Factorization machine beside hidden layers that read the same vectors.", (
        Flag("embedding_dim", int, 16, "length of a row, in every table."),
        Flag("hidden_units", Sequence[int], (128, 64), "widths of the hidden layers."),
        *HIDDEN,
        Flag("embedding_l2", float, 0.0, "weight of the penalty on looked-up rows."),
        DTYPE,
    )),
    "EASE": ("Linear model that predicts each item from the other items of the user.", (
        Flag("l2", float | None, None,
             "weight of the penalty, in units of users: an item with fewer users than this "
             "predicts little. None for 4 times the mean number of items of a user."),
        DTYPE,
    )),
    "EmbeddingMLP": ("Multi-layer perceptron over the concatenated embeddings of all features.", (
        Flag("embedding_dim", int, 64, "length of a row, in every table."),
        Flag("hidden_units", Sequence[int], (128, 64), "widths of the hidden layers."),
        Flag("dropout", float, 0.0,
             "fraction of the hidden units dropped in training, after each hidden layer."),
        Flag("initial_bias", float, 0.0,
             "initial value of b; the mean training rating is a good choice."),
        Flag("stddev", float, 0.1, "standard deviation of the initial rows."),
        Flag("l2", float, 0.0, "weight of the penalty on looked-up rows."),
        DTYPE,
    )),
    "FactorizationMachine": (
     'Factorization machine of the second order (Rendle, 2010, "Factorization Machines").', (
        Flag("embedding_dim", int, 16, "length of v."),
        Flag("embedding_l2", float, 0.0, "weight of the penalty on looked-up rows."),
        DTYPE,
    )),
    "FeatureMLP": ("Multi-layer perceptron over the columns of a table, with or without ids.", (
        Flag("embedding_dim", int, 16, "length of a row, in every table."),
        Flag("hidden_units", Sequence[int], (128, 64), "widths of the hidden layers."),
        Flag("activation", str, "relu", "name of a Keras activation."),
        *HIDDEN,
        Flag("l1", float, 0.0, "weight of the penalty on the absolute values of W and w."),
        Flag("l2", float, 0.0, "weight of the penalty on the squares of W and w."),
        Flag("embedding_l2", float, 0.0, "weight of the penalty on looked-up rows."),
        DTYPE,
    )),
    "FieldAwareFM": ("Field-aware factorization machine.", (
        Flag("embedding_dim", int, 4, "length of each of the vectors of a row."),
        Flag("embedding_l2", float, 0.0, "weight of the penalty on looked-up rows."),
        DTYPE,
    )),
    "FinalMLP": ("Two-stream MLP with gated fields and bilinear fusion.", (
        Flag("embedding_dim", int, 16, "length of a row, in every table."),
        Flag("hidden_units", Sequence[int], (128, 64), "widths of the first stream."),
        Flag("second_hidden_units", Sequence[int], (128, 64), "widths of the second stream."),
        Flag("num_heads", int, 1, "number of heads, a divisor of the last width of both streams."),
        Flag("gate_units", Sequence[int] | None, None,
             "widths of the hidden layers of both gates; None for no gates."),
        *HIDDEN,
        Flag("embedding_l2", float, 0.0, "weight of the penalty on looked-up rows."),
        DTYPE,
    )),
    "FinalNet": ("Factorised interaction layers, with two blocks that learn from their mean.", (
        Flag("embedding_dim", int, 16, "length of a row, in every table."),
        Flag("hidden_units", Sequence[int], (128, 64), "widths of the first block."),
        Flag("second_hidden_units", Sequence[int], (),
             "widths of the second block; with none, there is one block."),
        Flag("distillation", float, 1.0, "weight of the self-distillation, 0 for none."),
        Flag("field_gate", bool, False, "whether the blocks also read gated fields."),
        Flag("dropout", float, 0.0,
             "fraction of the hidden units dropped in training, after each layer."),
        Flag("batch_normalization", bool, False,
             "whether each layer is normalised before its activation."),
        Flag("embedding_l2", float, 0.0, "weight of the penalty on looked-up rows."),
        DTYPE,
    )),
    "GRU4Rec": ("Recurrent sequential recommender.", (
        Flag("embedding_dim", int, 64, "length of q_i."),
        Flag("hidden_units", Sequence[int], (128,),
             "widths of the recurrent layers, one after the other."),
        Flag("cell", str, "gru", '"gru" or "lstm".'),
        Flag("dropout", float, 0.2,
             "fraction of the inputs and of each layer's outputs dropped in training."),
        Flag("stddev", float, 0.05, "standard deviation of the initial q_i."),
        DTYPE,
    )),
    "GraphFilter": (
     "Low-pass filter of the items of a user over the graph of all users and items.", (
        Flag("filter", str, "chebyshev",
             '"chebyshev", "linear", or "none" for the ideal filter alone.'),
        Flag("order", int, 8,
             'degree of the polynomial of "chebyshev", and number of products with P.'),
        Flag("flatness", float, 10.0,
             "exponent of its response; larger values make both bands flat."),
        Flag("rank", int, 256,
             "number of eigenvectors of the ideal filter, 0 for none. Of smaller matrices, all "
             "are used."),
        Flag("rank_weight", float, 0.3, "weight of the ideal filter."),
        Flag("exponent", float, 0.5,
             "b, the power of the degrees of items around the ideal filter."),
        DTYPE,
    )),
    "ImplicitALS": (
     "Matrix factorisation that solves for the vector of a user from the items of the user.", (
        Flag("embedding_dim", int, 64, "length of p_u and q_i."),
        Flag("iterations", int, 16,
             "number of times that `adapt` solves for all items and all users."),
        Flag("l2", float, 0.006, "weight of the penalty."),
        Flag("unobserved_weight", float, 0.2,
             "weight of a pair that is no positive, towards a score of 0."),
        Flag("exponent", float, 1.0,
             "how much more frequent users and items are penalised: 0 for all alike, 1 for a "
             "penalty in proportion to n."),
        DTYPE,
    )),
    "ItemKNN": (
     "Neighbourhood model that adds up similarities between an item and the items of the user.", (
        Flag("similarity", str, "cosine", '"cosine" or "jaccard".'),
        Flag("neighbours", int, 100, "number of similar items that count, for each item."),
        Flag("shrinkage", float, 0.0, "number in the denominator, above."),
        DTYPE,
    )),
    "LightGCN": (
     "Matrix factorisation with vectors smoothed over the graph of the training rows.", (
        Flag("embedding_dim", int, 64, "length of a vector."),
        Flag("num_layers", int, 3, "K, the number of steps over the graph."),
        Flag("stddev", float, 0.1, "standard deviation of the initial e^(0)."),
        Flag("l2", float, 0.0, "weight of the penalty on the looked-up rows of e^(0)."),
        Flag("temperature", float | None, None,
             "divisor of the cosine, 0.05 to 0.2 for a softmax; None for the dot product."),
        DTYPE,
    )),
    "LogisticRegression": ("Linear model of the log-odds of a label.", (
        Flag("l2", float, 0.0, "weight of the penalty on looked-up weights."),
        DTYPE,
    )),
    "MLPEnsemble": (
        "Networks of their own, trained side by side on one loss each; the score is their mean.", (
        Flag("embedding_dim", int, 16, "length of a row, in every table."),
        Flag("hidden_units", Sequence[int], (256, 128), "widths of the hidden layers of a member."),
        Flag("members", int, 4, "number of networks, which multiplies the cost."),
        *HIDDEN,
        Flag("embedding_l2", float, 0.0,
             "weight of the penalty on looked-up rows, of which the loss has the mean over the "
             "members."),
        DTYPE,
    )),
    "MatrixFactorization": ("Biased matrix factorisation.", (
        Flag("embedding_dim", int, 64, "length of p_u and q_i."),
        Flag("use_bias", bool, True, "whether to learn mu, b_u and b_i."),
        Flag("initial_bias", float, 0.0,
             "initial value of mu; the mean training rating is a good choice."),
        Flag("stddev", float, 0.1, "standard deviation of the initial p_u and q_i."),
        Flag("l2", float, 0.0, "weight of the penalty on p_u and q_i."),
        Flag("bias_l2", float, 0.0, "weight of the penalty on b_u and b_i."),
        Flag("temperature", float | None, None,
             "divisor of the cosine, 0.05 to 0.2 for a softmax; None for the dot product."),
        DTYPE,
    )),
    "MultDAE": (
     "Denoising autoencoder over the items of a user, with a multinomial likelihood.", (
        Flag("embedding_dim", int, 200, "length of z_u."),
        Flag("hidden_units", Sequence[int], (),
             "widths of the layers before z_u; those after it are the same in reverse."),
        Flag("dropout", float, 0.5,
             "fraction of the items of a user that are dropped in training."),
        Flag("l2", float, 2e-5, "weight of the squares of all weights but the biases."),
        DTYPE,
    )),
    "MultVAE": (
     "Variational autoencoder over the items of a user, with a multinomial likelihood.", (
        Flag("embedding_dim", int, 200, "length of z_u."),
        Flag("hidden_units", Sequence[int], (600,),
             "widths of the hidden layers of the encoder; those of the decoder are the same in "
             "reverse."),
        Flag("dropout", float, 0.5,
             "fraction of the items of a user that are dropped in training."),
        Flag("beta", float, 0.2, "weight of the KL divergence."),
        Flag("l2", float, 0.0, "weight of the squares of all weights but the biases."),
        DTYPE,
    )),
    "NeuMF": ('Neural matrix factorisation (He et al., 2017, "Neural Collaborative Filtering").', (
        Flag("embedding_dim", int, 64, "length of a row, in every table of both parts."),
        Flag("hidden_units", Sequence[int], (128, 64), "widths of the hidden layers."),
        Flag("dropout", float, 0.0,
             "fraction of the hidden units dropped in training, after each hidden layer."),
        Flag("initial_bias", float, 0.0, "initial value of b."),
        Flag("stddev", float, 0.1, "standard deviation of the initial rows."),
        Flag("l2", float, 0.0, "weight of the penalty on looked-up rows."),
        DTYPE,
    )),
    "NeuralFM": ("Neural factorization machine (He and Chua, 2017).", (
        Flag("embedding_dim", int, 64, "length of v."),
        Flag("hidden_units", Sequence[int], (64,),
             "widths of the hidden layers; with none, the model weighs the elements of p."),
        Flag("dropout", float, 0.0,
             "fraction of the hidden units dropped in training, after each hidden layer."),
        Flag("pair_dropout", float, 0.0, "fraction of the elements of p dropped in training."),
        Flag("batch_normalization", bool, False,
             "whether p and each hidden layer are normalised, the latter before its activation."),
        Flag("embedding_l2", float, 0.0, "weight of the penalty on looked-up rows."),
        DTYPE,
    )),
    "Popularity": (
     "Non-personalised baseline that scores items by their number of training rows.", (
        DTYPE,
    )),
    "RecVAE": (
     "Variational autoencoder over the items of a user, with a composite prior.", (
        Flag("embedding_dim", int, 200, "length of z_u and q_i."),
        Flag("hidden_units", int, 600, "width of the layers of the encoder."),
        Flag("dropout", float, 0.5,
             "fraction of the items of a user that are dropped where the encoder is updated."),
        Flag("gamma", float, 0.005, "weight of the divergence for each item of the user."),
        Flag("prior_weights", Sequence[float], (0.15, 0.75, 0.1),
             "weights of the three parts of the prior, which add up to 1."),
        DTYPE,
    )),
    "SASRec": ("Self-attentive sequential recommender.", (
        Flag("embedding_dim", int, 64, "length of q_i and of every state."),
        Flag("num_layers", int, 2, "number of blocks of attention and feed-forward layer."),
        Flag("num_heads", int, 1,
             "number of heads of each attention, a divisor of `embedding_dim`."),
        Flag("hidden_units", int | None, None,
             "width inside the feed-forward layers; None for `embedding_dim`, as in the "
             "paper. Four times as much did better on MovieLens 1M."),
        Flag("dropout", float, 0.2, "fraction of the units dropped in training."),
        Flag("stddev", float, 0.02, "standard deviation of the initial q_i and p_t."),
        Flag("distance_bias", bool | None, None,
             "add a distance bias to each attention; None means `not paper`."),
        Flag("paper", bool, False, "build the model of the paper, see above."),
        DTYPE,
    )),
    "SLIM": ("Sparse linear model that predicts each item from a few other items of the user.", (
        Flag("l1", float, 1.0,
             "weight of the sum of the weights; larger values give fewer of them."),
        Flag("l2", float, 50.0, "weight of the squares of the weights."),
        Flag("neighbours", int, 200,
             "number of other items that may have a weight, for each item."),
        DTYPE,
    )),
    "SparseEASE": (
     "Linear model that predicts each item from the items most like it, in closed form.", (
        Flag("l2", float, 100.0,
             "weight of the penalty, in units of users: an item with fewer users than this "
             "predicts little."),
        Flag("neighbours", int, 200,
             "number of other items that have a weight, for each item."),
        DTYPE,
    )),
    "StackedLSTMClassifier": (
     "Stacked LSTM or GRU layers over a history, followed by one logit or several.", (
        Flag("embedding_dim", int, 64, "length of a row, in every table."),
        Flag("hidden_units", Sequence[int], (128, 64),
             "widths of the recurrent layers, one after the other."),
        Flag("cell", str, "lstm", '"lstm" or "gru".'),
        Flag("num_classes", int | None, None,
             "None for one logit, of label 1; else the number of logits. Such a model cannot "
             "rank, and `kerasrec.serving.export` takes it without items alone."),
        Flag("target_aware", bool, True,
             "whether to use the item's features; if not, all candidates score alike."),
        Flag("dropout", float, 0.2,
             "fraction of the inputs and of each layer's outputs dropped in training."),
        Flag("stddev", float, 0.05, "standard deviation of the initial rows."),
        DTYPE,
    )),
    "UserKNN": (
     "Neighbourhood model that adds up the similarities of the users who have an item.", (
        Flag("similarity", str, "cosine", '"cosine" or "jaccard".'),
        Flag("neighbours", int, 100, "number of similar users that count, for each user."),
        Flag("shrinkage", float, 0.0, "number in the denominator, above."),
        DTYPE,
    )),
    "WideAndDeep": ("Linear model and hidden layers, trained together.", (
        Flag("embedding_dim", int, 16, "length of a row, in every table."),
        Flag("hidden_units", Sequence[int], (128, 64), "widths of the hidden layers."),
        *HIDDEN,
        Flag("embedding_l2", float, 0.0, "weight of the penalty on looked-up rows."),
        Flag("crosses", Sequence[Sequence[str]], (),
             "the combinations, each by the names of two or more categorical features, as in "
             '`[["user", "app"]]`.'),
        Flag("cross_rows", int, 2**20,
             "largest number of rows in the table of a cross. More combinations share rows."),
        Flag("cross_l2", float, 0.0,
             "weight of the penalty on the squares of all weights of crosses, in each step."),
        DTYPE,
    )),
}  # fmt: skip


NAMES = tuple(name for name in kerasrec.models.__all__ if name != "Recommender")


def entry_of(model: type) -> tuple[str, tuple[Flag, ...]]:
    """Return the entry of a model, from its constructor and its docstring."""
    text = inspect.getdoc(model) or ""
    helps = {one.arg_name: " ".join((one.description or "").split()) for one in parse(text).params}
    return text.partition("\n")[0], tuple(
        DTYPE
        if name == "dtype"
        else Flag(name, argument.annotation, argument.default, helps.get(name))
        for name, argument in inspect.signature(model).parameters.items()
        if name not in ("schema", "name")
    )


def find_entry(model: str) -> tuple[str, tuple[Flag, ...]]:
    """Return summary and flags of a model by its name."""
    return MODELS.get(model) or entry_of(getattr(kerasrec.models, model))


def add_model_flags(parser: ArgumentParser, model: str) -> None:
    """Add the flags of a model to a parser, as a group of their own."""
    summary, flags = find_entry(model)
    group = parser.add_argument_group(summary.rstrip("."))
    chosen = chosen_arguments(model)
    for flag in flags:
        kind, default, text = flag.type, flag.default, flag.help
        if flag.name in chosen:
            kind, default = Union[kind, Literal[AUTO]], AUTO  # noqa: UP007
            text = f"{(text or '').rstrip('.')}; {AUTO} for the choice of the rules."
        group.add_argument(f"--{flag.name}", type=kind, default=default, help=text)


def given_arguments(model: str, flags: Mapping[str, Any]) -> dict[str, Any]:
    """Return the constructor's arguments that differ from the defaults, for which rules may stand.

    Args:
        model: name of a model.
        flags: values of all flags by name.
    """
    return {
        flag.name: flags[flag.name]
        for flag in find_entry(model)[1]
        if flags[flag.name] not in (AUTO, flag.default)
        or (flag.name in chosen_arguments(model) and flags[flag.name] != AUTO)
    }


def default_arguments(model: str) -> dict[str, Any]:
    """Return the defaults of the constructor's arguments of a model."""
    return {flag.name: flag.default for flag in find_entry(model)[1]}
