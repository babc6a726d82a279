"""What is fitted in place of a model, whose weights it trains."""

from typing import Any, Self

import keras

from kerasrec.training.long_fits import LongFits


class Wrapper(LongFits):
    """Base of a wrapper around a model: its weights are those of the model inside.

    Args:
        model: what is trained.
        **kwargs: as for `keras.Model`.
    """

    def __init__(self, model: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.model: Any = model
        # Ids and floats travel in one dict: each layer casts what it uses.
        self.autocast = False
        self.built = True

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments; a subclass adds its own."""
        return {
            **super().get_config(),
            "model": keras.saving.serialize_keras_object(self.model),
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Self:
        """A new wrapper around a new model."""
        config = dict(config)
        config.pop("trainable", None)
        model = keras.saving.deserialize_keras_object(config.pop("model"), custom_objects)
        return cls(model, **config)
