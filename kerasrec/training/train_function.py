"""Single owner of a model's train function, shared by all callbacks that extend it."""

import functools
from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

from kerasrec._keras import STEP_HOOK, need

# Attribute that holds the owner, and the method that it replaces meanwhile.
POSITION, MAKER = "_kerasrec_train_function", "make_train_function"

Step = Callable[[Any], Any]


@runtime_checkable
class WrapsStep(Protocol):
    """Part that sees every step with its batch, outside of XLA."""

    def wrap_step(self, step: Step) -> Step:
        """Return the step with actions before and after it."""


@runtime_checkable
class WrapsFunction(Protocol):
    """Part that sees every call of the train function with its iterator."""

    def wrap_function(self, function: Step) -> Step:
        """Return the function with actions before and after it."""


class TrainFunction:
    """Train function of a model, built from the parts of callbacks.

    A callback adds its parts in `on_train_begin` and removes them in `on_train_end`. The function
    is rebuilt with all parts each time, whatever the order of the calls. Once the last part is
    removed, the model has its previous function and `make_train_function` again, even if the user
    has overridden it. Parts of callbacks left over from an interrupted `fit` are dropped by the
    next one.

    A part has any of `wrap_step(step)`, `wrap_function(function)` and `close()`, which is called on
    removal.

    Args:
        model: any compiled Keras model.
    """

    def __init__(self, model: Any) -> None:
        self._model = model
        self.parts: list[Any] = []
        # `History` of the `fit` that the parts belong to. Keras creates one for each `fit`.
        self._fit: Any = None
        self._own_maker: Any = None
        self._before: Any = None
        self._made: Any = None

    def add(self, part: Any) -> None:
        """Add a part from the next step on.

        Args:
            part: a part, see the class.

        Raises:
            ValueError: if it wraps steps and this version of Keras does not support that.
        """
        model = self._model
        if isinstance(part, WrapsStep):
            need(model, STEP_HOOK)
        if not self.parts:
            self._fit = getattr(model, "history", None)
            self._own_maker = model.__dict__.get(MAKER)
            self._before = model.train_function
            model.__dict__[MAKER] = self._asked_to_make
        self.parts.append(part)
        self.make()

    def remove(self, part: Any) -> None:
        """Remove a part.

        Args:
            part: the part to remove. A missing part is not an error.
        """
        if not any(part is other for other in self.parts):
            return
        self.parts = [other for other in self.parts if other is not part]
        _close(part)
        if self.parts:
            self.make()
        else:
            self._give_back()

    def clear(self) -> None:
        """Remove all parts."""
        if self.parts:
            for part in self.parts:
                _close(part)
            self.parts = []
            self._give_back()

    def is_over(self) -> bool:
        """Return whether the `fit` of the parts has ended or was interrupted."""
        return bool(self.parts) and getattr(self._model, "history", None) is not self._fit

    def make(self) -> None:
        """Rebuild the function with all parts."""
        model = self._model
        wrapping = [part for part in self.parts if isinstance(part, WrapsStep)]
        before, original = model.__dict__.get(STEP_HOOK), getattr(model, STEP_HOOK, None)

        def convert(step: Step) -> Step:
            for part in wrapping:
                step = part.wrap_step(step)
            return original(step)  # type: ignore[misc]

        if wrapping:
            model.__dict__[STEP_HOOK] = convert
        try:
            self._plain_maker()(force=True)
        finally:
            _put(model, STEP_HOOK, before)
        function = model.train_function
        for part in self.parts:
            if isinstance(part, WrapsFunction):
                function = part.wrap_function(function)
        model.train_function = self._made = function

    def _plain_maker(self) -> Callable[..., Any]:
        return self._own_maker or functools.partial(getattr(type(self._model), MAKER), self._model)

    def _asked_to_make(self, force: bool = False) -> Any:
        """Replace `make_train_function`, which Keras calls at the beginning of each `fit`."""
        if self.is_over():
            self.clear()
            return getattr(self._model, MAKER)(force=force)
        if force or self._model.train_function is None:
            self.make()
        return self._model.train_function

    def _give_back(self) -> None:
        model = self._model
        _put(model, MAKER, self._own_maker)
        if model.train_function is self._made:
            model.train_function = self._before
        elif model.train_function is not None:
            # The function was wrapped or rebuilt elsewhere meanwhile.
            getattr(model, MAKER)(force=True)
        self._fit = self._own_maker = self._before = self._made = None


def train_function_of(model: Any) -> TrainFunction:
    """Return the owner of a model's train function, without parts of an interrupted `fit`.

    Args:
        model: any compiled Keras model.
    """
    # Set without Keras tracking and saving it.
    owner: TrainFunction = model.__dict__.setdefault(POSITION, TrainFunction(model))
    if owner.is_over():
        owner.clear()
    return owner


def _put(model: Any, name: str, value: Any) -> None:
    """Set an attribute on the model instance, or remove it."""
    if value is None:
        model.__dict__.pop(name, None)
    else:
        model.__dict__[name] = value


def _close(part: Any) -> None:
    close = getattr(part, "close", None)
    if close is not None:
        close()
