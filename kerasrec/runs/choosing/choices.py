"""Choice of all settings of a training: what a person gives, and the rules for the rest."""

import dataclasses
import functools
import json
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml

import kerasrec
from kerasrec.runs.choosing import rules, table_rules
from kerasrec.runs.choosing.facts import Facts, check_ready
from kerasrec.runs.clicks.calibrate import calibration_rule
from kerasrec.runs.optimizer import OURS, class_name
from kerasrec.runs.settings import Training, choices_of
from kerasrec.schema import ANY_POSITIVE_LABEL
from kerasrec.types import (
    Autoencoder,
    GraphModel,
    SequenceModel,
    StepClassifier,
    TwoVectors,
    is_computed,
    output_kind,
)

if TYPE_CHECKING:
    from kerasrec.data import PreparedExamples

GIVEN = "given"
EXAMPLE_LOSSES = ("log_loss", "mse")
"""Losses of tables without users and items."""


@dataclasses.dataclass(frozen=True)
class Choices:
    """All settings of a model and of its training, each with its reason. See `choose`.

    Args:
        model: name of the model.
        arguments: arguments of its constructor besides the schema. Those that are neither given nor
            chosen by a rule are left out, and keep their defaults.
        training: options of the training, none of them None but those without effect.
        max_length: number of newest items of a user that it reads; None if it reads no histories.
        reasons: reason for each setting that was given or chosen.
        facts: what the rules read.
    """

    model: str
    arguments: dict[str, Any]
    training: Training
    max_length: int | None
    reasons: dict[str, str]
    facts: Facts

    @property
    def settings(self) -> dict[str, Any]:
        """Return all settings by the names of their flags, without those of no effect."""
        length = {} if self.max_length is None else {"max_length": self.max_length}
        trained = {} if self.training.loss is None else dataclasses.asdict(self.training)
        return {**self.arguments, **length, **trained}

    def prepared(self, ready: Any) -> Any:
        """Return the rows as the model reads them, with histories of the chosen length."""
        has = bool(ready.schema.item_histories)
        return ready if self.max_length is None or has else ready.with_history(self.max_length)

    def make(self, ready: Any) -> Any:
        """Return a fresh model of the schema of prepared rows."""
        return getattr(kerasrec.models, self.model)(ready.schema, **self.arguments)

    def describe(self) -> str:
        """Describe in one line what the rules chose."""
        chosen = {n: v for n, v in self.settings.items() if self.reasons.get(n, GIVEN) != GIVEN}
        if not chosen:
            return f"{self.model}: nothing was left to choose."
        listed = ", ".join(f"{name} {_shown(value)}" for name, value in chosen.items())
        return f"Chosen for {self.facts.describe()}: {listed}."

    def to_yaml(self, **others: Any) -> str:
        """Return the settings as YAML that `kerasrec fit --config` reads, with the reasons.

        Options of the training that are None are left out, as they have no effect.

        Args:
            **others: further flags, such as those of the data.
        """
        lines = [f"# Chosen for {self.facts.describe()}.", f"model: {self.model}"]
        for name, value in {**others, **self.settings}.items():
            if value is None and name not in self.arguments:
                continue
            why = self.reasons.get(name)
            lines.append(f"{name}: {_in_yaml(value)}" + (f"  # {why}" if why else ""))
        return "\n".join(lines) + "\n"

    @classmethod
    def load(cls, text: str) -> "Choices":
        """Read choices from the result of `dump`."""
        held = json.loads(text)
        held["training"] = Training(**held["training"])
        held["facts"] = Facts(**held["facts"])
        return cls(**held)

    def dump(self) -> str:
        """Return the choices as JSON."""
        return json.dumps(dataclasses.asdict(self))


def choose(
    model: Any,
    ready: Any,
    training: Training | None = None,
    *,
    max_length: int | None = None,
    arguments: Mapping[str, Any] | None = None,
    **choices: Any,
) -> Choices:
    """Choose what is not given: arguments of the model, length of histories, training options.

    The same rows always lead to the same choices.

    Args:
        model: name or class of a model, or a model, whose arguments are then not chosen.
        ready: the rows, from `kerasrec.data.prepare` or `prepare_examples`.
        training: training options that are given; None for none.
        max_length: length of histories, if it is given.
        arguments: arguments of the constructor that are given.
        **choices: single fields of `Training`.

    Raises:
        ValueError: if there is no such model, or a choice is invalid.

    Example:

    >>> from kerasrec import data, datasets
    >>> ready = data.prepare(data.leave_last_out(datasets.load("synthetic").interactions))
    >>> chosen = choose("MatrixFactorization", ready, epochs=3)
    >>> chosen.training.epochs, chosen.training.loss, chosen.arguments["embedding_dim"]
    (3, 'softmax', 128)
    """
    check_ready("choose", ready)
    given = choices_of(training, choices)
    kind = class_of(model)
    facts = Facts.of(ready)
    if facts.features and (lacking := getattr(kind, "sides", ())):
        raise ValueError(
            f"{kind.__name__} needs columns of {'s and '.join(lacking)}s; the rows have only the "
            f"features {[f.name for f in ready.schema.features]}. Choose a model of features "
            "alone, such as FeatureMLP, or read the rows by kerasrec.data.read."
        )
    reads_history = not facts.features and (
        issubclass(kind, SequenceModel | StepClassifier) or getattr(kind, "needs_history", False)
    )
    if max_length is not None and not (reads_history or ready.schema.item_histories):
        raise ValueError(
            f"max_length={max_length}: {kind.__name__} reads no history by itself. Leave it out, "
            "or prepare the rows with history=."
        )
    made, reasons = dict(arguments or {}), dict.fromkeys(arguments or {}, GIVEN)
    if is_computed(kind):
        if given.loss is not None:
            raise ValueError(
                f"loss={given.loss!r}: {kind.__name__} is computed from the rows, without a loss. "
                "Leave it out."
            )
        for name, (value, why) in rules.arguments(kind.__name__, "", facts).items():
            if name not in made:
                made[name], reasons[name] = value, why
        return Choices(kind.__name__, made, given, None, reasons, facts)
    loss = given.loss or (loss_of_examples(ready) if facts.features else loss_of(model))
    classes = getattr(ready, "classes", ())
    if classes:
        _choose_classes(model, made, reasons, loss, classes)
    elif facts.features and loss == "log_loss":
        ready.check_positives()
    length = max_length
    if facts.features and loss not in EXAMPLE_LOSSES:
        raise ValueError(
            f"loss={loss!r}: rows without users and items have no items to draw or to rank; choose "
            f"one of {', '.join(EXAMPLE_LOSSES)}."
        )
    if ready.schema.item_histories:
        length = ready.schema.item_histories[0].max_length
        if max_length not in (None, length):
            raise ValueError(
                f"max_length={max_length}: the histories of the rows have up to {length} items. "
                "Leave one of the two out."
            )
    elif reads_history and length is None:
        of_pairs = bool(getattr(kind, "needs_history", False))
        length, reasons["max_length"] = rules.max_length(facts, of_pairs=of_pairs)
    elif reads_history:
        reasons["max_length"] = GIVEN
    if isinstance(model, str | type):
        for name, (value, why) in rules.arguments(kind.__name__, loss, facts).items():
            if name not in made:
                made[name], reasons[name] = value, why
        _divide(made, reasons)
    settings = _training_rule(kind, loss, length, facts.features > 0)(facts)
    if loss == "log_loss":
        classes = output_kind(model) == "logits" or made.get("num_classes") is not None
        settings["calibration"] = calibration_rule(ready, classes=classes)
    if class_name(given.optimizer) not in OURS:
        settings["clipnorm"] = (0.0, f"{given.optimizer} of Keras clips before it sums")
    for other in ("clipvalue", "global_clipnorm"):
        if getattr(given, other):
            settings["clipnorm"] = (0.0, f"{other} clips")
    fields: dict[str, Any] = {"loss": loss}
    reasons["loss"] = GIVEN if given.loss else "what such a model learns best from"
    for field in dataclasses.fields(Training):
        name, value = field.name, getattr(given, field.name)
        if value is not None and value != field.default:
            reasons[name] = GIVEN
        elif value is None and name in settings:
            fields[name], reasons[name] = settings[name]
    chosen = dataclasses.replace(given, **fields)
    return Choices(kind.__name__, made, chosen, length if reads_history else None, reasons, facts)


def class_of(model: Any) -> type:
    """Return the class of a model, or of this name.

    Raises:
        ValueError: if there is no model of this name.
    """
    if not isinstance(model, str):
        return model if isinstance(model, type) else type(model)
    names = [name for name in kerasrec.models.__all__ if name != "Recommender"]
    if model not in names:
        raise ValueError(
            f"model={model!r}: there is no such model; expected one of {', '.join(names)}."
        )
    kind: type = getattr(kerasrec.models, model)
    return kind


def loss_of(model: Any) -> Any:
    """Return the loss that a model is trained with unless another one is given.

    Args:
        model: name or class of a model, or a model.
    """
    kind = class_of(model)
    if issubclass(kind, StepClassifier):
        return "log_loss"
    return "softmax" if issubclass(kind, SequenceModel | TwoVectors) else "binary_crossentropy"


def loss_of_examples(ready: "PreparedExamples") -> Any:
    """Return the loss of rows without users and items: log_loss where labels are two kinds of rows.

    Args:
        ready: the rows.

    Raises:
        ValueError: if labels are numbers of which nobody said which are positives.
    """
    schema = ready.schema
    labels = np.unique(ready.train[schema.label])
    if not ready.classes and len(labels) > 2 and schema.positive == ANY_POSITIVE_LABEL:
        raise ValueError(
            f"the label {schema.label!r} has {len(labels):,} values, from {labels[0]:g} to "
            f"{labels[-1]:g}, so it is not clear what to predict. Pass positive= with the labels "
            f"that are a yes, such as positive='>={labels[len(labels) // 2]:g}', or loss='mse' to "
            "predict the number."
        )
    return "log_loss"


def _choose_classes(
    model: Any, made: dict[str, Any], reasons: dict[str, str], loss: str, classes: tuple[str, ...]
) -> None:
    """Choose the number of logits of a model of several classes, in place."""
    kind, count = class_of(model), len(classes)
    if not issubclass(kind, StepClassifier):
        raise ValueError(
            f"{kind.__name__} predicts whether a label is a yes; the label has {count} classes. "
            "Choose StackedLSTMClassifier, or read the rows with classes=False and say which "
            "labels are a yes by positive=."
        )
    if loss != "log_loss":
        raise ValueError(
            f"loss={loss!r}: the label names {count} classes, which log_loss predicts. Leave it "
            "out, or read the rows with classes=False."
        )
    there = made.get("num_classes", count)
    if not isinstance(model, str | type):
        there = getattr(model, "num_classes", None)
    if there != count:
        raise ValueError(
            f"num_classes={there}: the training rows have {count} classes. Leave it out, so that "
            "it is chosen."
        )
    if "num_classes" not in made:
        made["num_classes"], reasons["num_classes"] = count, "classes of the training rows"


def _training_rule(kind: type, loss: str, length: int | None, examples: bool) -> Any:
    """Return the rule for the training options of a kind of model with a loss."""
    if examples:
        return functools.partial(table_rules.examples, model=kind.__name__)
    if issubclass(kind, StepClassifier):
        return functools.partial(rules.labels, length=length or rules.LONGEST)
    if issubclass(kind, Autoencoder):
        return rules.profiles
    if issubclass(kind, SequenceModel):
        pairwise = loss == "binary_crossentropy"
        return functools.partial(rules.sequence, length=length or rules.LONGEST, pairwise=pairwise)
    if issubclass(kind, GraphModel):
        return rules.graph
    if loss == "graph_crossentropy":
        return rules.graph_constraint
    if loss == "mse":
        return rules.ratings
    if loss == "log_loss":
        return rules.labels
    if loss == "softmax" and issubclass(kind, TwoVectors):
        return rules.retrieval
    history = length or rules.LONGEST if getattr(kind, "needs_history", False) else 0
    return functools.partial(rules.pairs, shared=loss == "softmax", history=history)


def _divide(arguments: dict[str, Any], reasons: dict[str, str]) -> None:
    """Let a chosen number of heads divide a given dimension, and the reverse."""
    dim, heads = arguments.get("embedding_dim"), arguments.get("num_heads")
    if not (isinstance(dim, int) and isinstance(heads, int) and dim > 0 and heads > 0):
        return
    if dim % heads and reasons["num_heads"] != GIVEN:
        arguments["num_heads"] = math.gcd(dim, heads)
        reasons["num_heads"] = f"divides embedding_dim {dim}"
    elif dim % heads and reasons["embedding_dim"] != GIVEN:
        arguments["embedding_dim"] = math.ceil(dim / heads) * heads
        reasons["embedding_dim"] = f"a multiple of num_heads {heads}"


def _in_yaml(value: Any) -> str:
    """Return a value as YAML in one line."""
    value = list(value) if isinstance(value, tuple) else value
    text = yaml.safe_dump(value, default_flow_style=True, width=math.inf, allow_unicode=True)
    return text.removesuffix("...\n").strip()


def _shown(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
