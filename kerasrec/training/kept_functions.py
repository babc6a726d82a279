"""Compiled functions of a model, kept while it trains under other settings."""

from typing import Any

NAMES = ("train_function", "test_function", "predict_function")


class KeptFunctions:
    """The functions that a model has traced under each pair of settings of `fit`.

    Tracing a training step and compiling it with XLA takes seconds. A model that goes back to
    settings that it had before gets the functions of these settings back, if nothing has changed
    that they were traced from: the optimizer and its observer, the weights that are trained, and
    whether they run eagerly. `compile` begins with none.
    """

    def __init__(self) -> None:
        self._held: dict[tuple[int, bool], tuple[list[Any], list[Any]]] = {}

    def exchange(self, model: Any, steps_per_execution: int, jit_compile: bool) -> None:
        """Gives a model other settings and the functions that belong to them.

        Args:
            model: whose functions they are.
            steps_per_execution: see `keras.Model.compile`.
            jit_compile: see there.
        """
        functions = [getattr(model, name) for name in NAMES]
        self._held[_settings(model)] = traced_from(model), functions
        model.steps_per_execution, model.jit_compile = steps_per_execution, jit_compile
        origin, functions = self._held.get(_settings(model), ([], []))
        now = traced_from(model)
        same = len(origin) == len(now) and all(a is b for a, b in zip(origin, now, strict=True))
        for place, name in enumerate(NAMES):
            setattr(model, name, functions[place] if same else None)


def traced_from(model: Any) -> list[Any]:
    """List what a traced function of a model refers to and somebody may exchange.

    Args:
        model: a compiled model.
    """
    optimizer = model.optimizer
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    observer = getattr(inner, "__dict__", {}).get("_observer")
    return [model.run_eagerly, optimizer, observer, *model.trainable_variables]


def _settings(model: Any) -> tuple[int, bool]:
    return int(model.steps_per_execution), bool(model.jit_compile)
