import inspect
import subprocess
import sys

import pytest
from docstring_parser import parse

from kerasrec import models
from kerasrec.cli.app import COMMANDS, main
from kerasrec.cli.model_flags import MODELS, NAMES, entry_of
from kerasrec.cli.settings import Source, Splitting
from kerasrec.runs import Training


def source(summary, flags):
    """The entry as it is written there."""
    lines = [f"({summary!r}, ("]
    for name, kind, default, text in flags:
        kind = kind.__name__ if isinstance(kind, type) else f"{kind}".removeprefix("typing.")
        kind = kind.removeprefix("collections.abc.")
        known = f"Flag({name!r}, {kind}, {default!r}, {text!r}),"
        lines.append("    " + ("DTYPE," if name == "dtype" else known))
    return "\n".join([*lines, ")),"])


def test_the_table_holds_models_of_the_package():
    assert set(MODELS) <= set(NAMES) == {*models.__all__} - {"Recommender"}


@pytest.mark.parametrize("name", MODELS)
def test_an_entry_is_the_constructor(name):
    expected = entry_of(getattr(models, name))
    summary, flags = MODELS[name]
    wanted = f"kerasrec/cli/model_flags.py needs\n{name!r}: {source(*expected)}"
    assert (summary, flags) == expected, wanted


def test_a_model_without_an_entry_has_the_same_flags(monkeypatch, capsys):
    def text(model):
        with pytest.raises(SystemExit):
            main(["fit", *model, "--help"])
        return capsys.readouterr().out

    expected = text(["NeuMF"])
    assert "--hidden_units" in expected
    monkeypatch.delitem(MODELS, "NeuMF")
    assert text(["NeuMF"]) == expected
    assert "A model of this package." in text([])  # of those that are not asked for


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
