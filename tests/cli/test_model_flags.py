import inspect
import subprocess
import sys
from typing import Any, get_args

import pytest
from docstring_parser import parse

from kerasrec import models
from kerasrec.cli.app import COMMANDS
from kerasrec.cli.model_flags import MODELS, Flag
from kerasrec.cli.settings import Source, Splitting
from kerasrec.runs import Training

NAMES = [name for name in models.__all__ if name != "Recommender"]


def entry(model):
    """The entry that a model must have, from its constructor and its docstring."""
    text = parse(inspect.getdoc(model))
    helps = {one.arg_name: " ".join(one.description.split()) for one in text.params}
    return inspect.getdoc(model).partition("\n")[0], tuple(
        Flag(argument.name, argument.annotation, argument.default, helps.get(argument.name))
        for argument in inspect.signature(model.__init__).parameters.values()
        if argument.name not in ("self", "schema", "name")
    )


def source(summary, flags):
    """The entry as it is written there."""
    lines = [f"({summary!r}, ("]
    for name, kind, default, text in flags:
        kind = kind.__name__ if isinstance(kind, type) else f"{kind}".removeprefix("typing.")
        kind = kind.removeprefix("collections.abc.")
        known = f"Flag({name!r}, {kind}, {default!r}, {text!r}),"
        lines.append("    " + ("DTYPE," if name == "dtype" else known))
    return "\n".join([*lines, ")),"])


def plain(flag):
    """The flag with the type of the constructor: that of dtype is a way to write Any."""
    return flag._replace(type=Any) if Any in get_args(flag.type) else flag


def test_the_table_holds_the_models_of_the_package():
    assert list(MODELS) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_an_entry_is_the_constructor(name):
    expected = entry(getattr(models, name))
    summary, flags = MODELS.get(name, ("", ()))
    wanted = f"kerasrec/cli/model_flags.py needs\n{name!r}: {source(*expected)}"
    assert (summary, tuple(map(plain, flags))) == expected, wanted


@pytest.mark.parametrize("function", [*COMMANDS.values(), Source, Splitting, Training])
def test_every_flag_of_a_command_has_a_type_and_a_help_text(function):
    """jsonargparse takes both from the signature and the docstring."""
    helps = {one.arg_name for one in parse(inspect.getdoc(function)).params if one.description}
    for argument in inspect.signature(function).parameters.values():
        assert argument.annotation is not argument.empty, argument
        assert argument.name in helps, argument


def test_it_imports_neither_keras_nor_tensorflow():
    code = (
        "import sys, kerasrec.cli.model_flags;"
        "sys.exit(bool({'keras', 'tensorflow'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
