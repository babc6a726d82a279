"""Base class of all models: schema, named inputs, weights before data, exact config."""

import json
from collections.abc import Mapping
from typing import Any, ClassVar

import keras
import numpy as np
from keras import ops

from kerasrec.calibration import Calibration
from kerasrec.schema import Schema
from kerasrec.training.fit_model import FitModel
from kerasrec.types import Features, Tensor

# Stored beside the weights in a Keras file: the vocabularies of the ids that index the tables.
_FINGERPRINTS = "vocabularies"


class Recommender(FitModel):
    """Base class of the models. A subclass creates its layers, calls `build()` and defines `call`.

    A model keeps the part of the schema that it reads, see `narrow`, and asks for no other inputs.

    Args:
        schema: the features, see `kerasrec.schema.Schema`.
        name: name of the model.
        dtype: dtype or dtype policy, such as `"mixed_bfloat16"`.

    Raises:
        ValueError: if `schema` is not a Schema (or the dict made from one), or has no user or item
            side where the model needs one.
    """

    output_kind: str = "score"
    sides: ClassVar[tuple[str, ...]] = ("user", "item")  # that a schema must have
    needs_history: ClassVar[bool] = False  # whether it needs a sequence of the item id
    built: bool

    def __init__(
        self,
        schema: Schema | Mapping[str, Any],
        *,
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(name=name, dtype=dtype)
        if not isinstance(schema, Schema):
            schema = Schema.from_dict(schema)
        for side in self.sides:
            if not getattr(schema, side):
                raise ValueError(
                    f"{type(self).__name__} needs a schema with {side} features; received only "
                    f"{[feature.name for feature in schema.features]}. Add the {side} id."
                )
        self.schema = self.narrow(schema)
        self._refused: ValueError | None = None
        self._of_numbers = False
        self.calibration: Calibration | None = None
        # Ids and floats share one dict, so each layer casts its own inputs.
        self.autocast = False

    @classmethod
    def narrow(cls, schema: Schema) -> Schema:
        """Return the part of a schema that the model reads, all of it unless a subclass says less.

        Args:
            schema: the features that there are.
        """
        return schema

    def build(self, input_shape: Any = None) -> None:
        """Create all weights from the schema, without data."""
        if self.built:
            return
        inputs = {
            feature.name: keras.KerasTensor((None, *feature.shape), feature.dtype)
            for feature in self.schema.features
        }
        self.compute_output_spec(inputs)
        self.built = True

    def __call__(self, inputs: Features, *args: Any, **kwargs: Any) -> Tensor:
        """Check the names of the inputs and return the scores."""
        if not isinstance(inputs, Mapping):
            raise ValueError(
                f"{type(self).__name__} takes one dict of named tensors; received "
                f"{type(inputs).__name__}. The schema names {self._wanted()}."
            )
        missing = [name for name in self._wanted() if name not in inputs]
        if missing:
            raise ValueError(
                f"{type(self).__name__}: missing input {missing}; received {sorted(inputs)}, the "
                f"schema needs {self._wanted()}. Add the column, or leave it out of the schema."
            )
        inputs = {name: inputs[name] for name in self._wanted()}
        item = inputs[self.schema.item_id.name] if self.schema.item else None
        if getattr(getattr(item, "shape", None), "rank", 0) is None:
            # Keras reuses one compiled function, and TensorFlow then generalises its shapes.
            raise ValueError(
                f"{type(self).__name__}: one compiled function was given item features "
                f"(batch,) and (batch, candidates) in turn. Call model.compile(...) again when "
                f"you change between them in fit, or model.make_predict_function(force=True) in "
                f"predict."
            )
        return super().__call__(inputs, *args, **kwargs)

    def _wanted(self) -> list[str]:
        return [feature.name for feature in self.schema.features]

    def compute_loss(
        self,
        x: Any = None,
        y: Tensor = None,
        y_pred: Tensor = None,
        sample_weight: Tensor = None,
        training: bool = True,
    ) -> Tensor:
        """Return the compiled loss, with scores `(batch,)` taken as `(batch, 1)`.

        Keras 3 first averages a loss over the last axis. For rank-1 scores this gives a scalar,
        which cannot be weighted by `sample_weight` and is not divided by the replicas.
        """
        y, y_pred = _as_columns(y, y_pred)
        return super().compute_loss(x, y, y_pred, sample_weight, training)

    def compute_metrics(
        self, x: Any, y: Tensor, y_pred: Tensor, sample_weight: Tensor = None
    ) -> dict[str, Any]:
        """Update the compiled metrics, with scores `(batch,)` taken as `(batch, 1)`."""
        y, y_pred = _as_columns(y, y_pred)
        return super().compute_metrics(x, y, y_pred, sample_weight)

    def save_own_variables(self, store: Any) -> None:
        """Save the weights and the fingerprints of the vocabularies."""
        super().save_own_variables(store)
        if fingerprints := self.schema.fingerprints:
            text = json.dumps(fingerprints, sort_keys=True).encode()
            store[_FINGERPRINTS] = np.frombuffer(text, np.uint8)

    def load_own_variables(self, store: Any) -> None:
        """Load weights that were trained with the vocabularies of the schema.

        Raises:
            ValueError: if they were trained with other vocabularies, where the ids have other
                meanings.
        """
        names = set(store.keys())
        if _FINGERPRINTS in names:
            received = json.loads(np.asarray(store[_FINGERPRINTS]).tobytes())
            self._refused = None
            try:
                self.schema.check_fingerprints(received, owner=f"{type(self).__name__}: weights of")
            except ValueError as error:
                self._refused = error
                raise
        elif not names and self._refused is not None:
            # Keras retries a failed load where a wrapper lists its layers. Nothing is stored there,
            # and a model without weights of its own would pass.
            raise self._refused
        super().load_own_variables({name: store[name] for name in names - {_FINGERPRINTS}})

    def get_build_config(self) -> None:
        """Return nothing: the constructor builds the model."""

    def predict_numbers(self) -> None:
        """Take the output for a number from here on, as after training on its squared error.

        What would be log odds is then served as it is. Saved models keep it.
        """
        self.output_kind = "rating"
        self._of_numbers = True

    def calibrate(self, calibration: Calibration) -> None:
        """Take the output for a logit of the label from here on, whose probability is calibrated.

        Scores stay as they are. Evaluation and exports take the probability from the calibration,
        and saved models keep it.

        Args:
            calibration: fitted to held-out rows, see `kerasrec.calibration`; the default one if
                the logits are log odds as they are.

        Raises:
            ValueError: if the output is a number, or logits of several classes.
        """
        if not isinstance(calibration, Calibration) or self.output_kind in ("rating", "logits"):
            kinds = {"rating": "a predicted number", "logits": "logits of several classes"}
            raise ValueError(
                f"{type(self).__name__}: calibrate expects a Calibration, of a model whose output "
                f"is a logit of one label; received {type(calibration).__name__}, and the output "
                f"is {kinds.get(self.output_kind, 'such a logit')}. Fit one by "
                "kerasrec.calibration, after training by log_loss."
            )
        self.output_kind = "logit"
        self.calibration = calibration

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments. Subclasses add their own."""
        kind: dict[str, Any] = {"output_kind": self.output_kind} if self._of_numbers else {}
        if self.calibration is not None:
            kind["calibration"] = self.calibration.to_dict()
        return {**super().get_config(), "schema": self.schema.to_dict(), **kind}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> "Recommender":
        """Create a model with the architecture of the config and fresh weights."""
        config = dict(config)
        trainable = config.pop("trainable", True)
        numbers = config.pop("output_kind", None) == "rating"
        calibration = config.pop("calibration", None)
        model = cls(**config)
        if numbers:
            model.predict_numbers()
        if calibration is not None:
            model.calibrate(Calibration.from_dict(calibration))
        if not trainable:
            model.trainable = False
        return model


def _as_columns(y: Tensor, y_pred: Tensor) -> tuple[Tensor, Tensor]:
    if y is not None and len(y_pred.shape) == 1 and len(y.shape) == 1:
        return ops.expand_dims(y, -1), ops.expand_dims(y_pred, -1)
    return y, y_pred


def dot(query: Tensor, items: Tensor) -> Tensor:
    """Return the dot products of queries `(batch, dim)` and items `(batch[, candidates], dim)`.

    This is a matrix product and not a sum over elementwise products, because XLA sums the last axis
    sequentially.
    """
    if len(items.shape) == len(query.shape) + 1:
        return ops.einsum("bd,bcd->bc", query, items)
    return ops.einsum("bd,bd->b", query, items)


def align(query: Tensor, items: Tensor) -> Tensor:
    """Add a candidate axis to query vectors `(batch, dim)` if `items` have one."""
    if len(items.shape) == len(query.shape) + 1:
        return ops.expand_dims(query, 1)  # (batch, 1, dim)
    return query
