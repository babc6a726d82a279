"""Base class of wrappers that are fitted in place of a model and train its weights."""

from typing import Any, Self

import keras

from kerasrec.training.long_fits import FitModel


class Wrapper(FitModel):
    """Base class of wrappers that share the weights of the model inside.

    Args:
        model: the model to train.
        **kwargs: as for `keras.Model`.
    """

    def __init__(self, model: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.model: Any = model
        # Ids and floats share one dict, so each layer casts its own inputs.
        self.autocast = False
        self.built = True

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments. Subclasses add their own."""
        return {
            **super().get_config(),
            "model": keras.saving.serialize_keras_object(self.model),
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Self:
        """Create a wrapper around a new model."""
        config = dict(config)
        config.pop("trainable", None)
        model = keras.saving.deserialize_keras_object(config.pop("model"), custom_objects)
        return cls(model, **config)
