"""Cache of a model's compiled functions for different `fit` settings."""

from typing import Any

NAMES = ("train_function", "test_function", "predict_function")


class KeptFunctions:
    """Traced functions of a model, by settings of `fit`.

    Tracing a training step and compiling it with XLA takes seconds. A model that returns to earlier
    settings gets back the functions traced for them, unless something they were traced from has
    changed: the optimizer and its observer, the trainable weights, or eager mode. `compile` clears
    the cache.
    """

    def __init__(self) -> None:
        self._held: dict[tuple[int, bool], tuple[list[Any], list[Any]]] = {}

    def exchange(self, model: Any, steps_per_execution: int, jit_compile: bool) -> None:
        """Change the settings of a model, together with the functions that belong to them.

        Args:
            model: the model that owns the functions.
            steps_per_execution: see `keras.Model.compile`.
            jit_compile: see there.
        """
        functions = [getattr(model, name) for name in NAMES]
        self._held[_settings(model)] = traced_from(model), functions
        model.steps_per_execution, model.jit_compile = steps_per_execution, jit_compile
        origin, functions = self._held.get(_settings(model), ([], []))
        now = traced_from(model)
        same = len(origin) == len(now) and all(a is b for a, b in zip(origin, now, strict=True))
        for position, name in enumerate(NAMES):
            setattr(model, name, functions[position] if same else None)


def traced_from(model: Any) -> list[Any]:
    """Return the replaceable objects that a traced function of a model refers to.

    Args:
        model: a compiled model.
    """
    optimizer = model.optimizer
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    observer = getattr(inner, "__dict__", {}).get("_observer")
    return [model.run_eagerly, optimizer, observer, *model.trainable_variables]


def _settings(model: Any) -> tuple[int, bool]:
    return int(model.steps_per_execution), bool(model.jit_compile)
