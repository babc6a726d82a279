"""Signatures of the models' constructors, read from their source.

Importing a model imports Keras and TensorFlow, which takes seconds. Flags and help texts need only
the signature and the docstring, and the contract puts both in one place: one file per model, plain
keyword arguments with annotations and defaults.
"""

import ast
from collections.abc import Callable
from pathlib import Path
from typing import Any

from kerasrec import models


def model_names() -> list[str]:
    """Return the names of the models, without their base class.

    >>> "MatrixFactorization" in model_names()
    True
    """
    return [name for name in models.__all__ if name != "Recommender"]


def constructor(name: str) -> Callable[..., None]:
    """Return a stub with the hyper-parameters and docstring of a model's constructor.

    Args:
        name: one of `model_names()`.

    Returns:
        A function that does nothing. It takes the constructor's arguments without `self`, `schema`
        and `name`.

    Raises:
        ValueError: if there is no such model.

    Example:

    >>> import inspect
    >>> inspect.signature(constructor("MatrixFactorization")).parameters["embedding_dim"].default
    64
    """
    if name not in model_names():
        raise ValueError(f"There is no model {name!r}; expected one of {model_names()}.")
    directory = Path(models.__file__).parent
    # The file has the class's name in snake case.
    path = next(p for p in directory.glob("*.py") if p.stem.replace("_", "") == name.lower())
    tree = ast.parse(path.read_text(encoding="utf-8"))
    model = next(n for n in tree.body if isinstance(n, ast.ClassDef) and n.name == name)
    init = next(n for n in model.body if isinstance(n, ast.FunctionDef) and n.name == "__init__")

    init.name = name
    init.args.args = []
    keyword_only = zip(init.args.kwonlyargs, init.args.kw_defaults, strict=True)
    kept = [(a, default) for a, default in keyword_only if a.arg != "name"]
    init.args.kwonlyargs = [argument for argument, _ in kept]
    init.args.kw_defaults = [default for _, default in kept]
    init.body = [ast.Expr(ast.Constant(ast.get_docstring(model)))]
    # Annotations and defaults may only use names from these two modules.
    typing = [
        n
        for n in tree.body
        if isinstance(n, ast.ImportFrom) and n.module in ("collections.abc", "typing")
    ]
    module = ast.fix_missing_locations(ast.Module([*typing, init], type_ignores=[]))
    namespace: dict[str, Any] = {"__name__": __name__}
    exec(compile(module, str(path), "exec"), namespace)
    stub: Callable[..., None] = namespace[name]
    return stub
