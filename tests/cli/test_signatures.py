import inspect
import subprocess
import sys

import pytest

from kerasrec import models
from kerasrec.cli.signatures import constructor, model_names


@pytest.mark.parametrize("name", model_names())
def test_the_signature_is_the_constructors(name):
    real = inspect.signature(getattr(models, name).__init__)
    expected = [p for p in real.parameters.values() if p.name not in ("self", "schema", "name")]
    assert list(inspect.signature(constructor(name)).parameters.values()) == expected


@pytest.mark.parametrize("name", model_names())
def test_the_docstring_is_the_models(name):
    assert inspect.getdoc(constructor(name)) == inspect.getdoc(getattr(models, name))


def test_the_base_class_is_no_model():
    assert "Recommender" not in model_names()
    assert {"Popularity", "MatrixFactorization", "EmbeddingMLP"} <= set(model_names())


def test_an_unknown_name_lists_the_models():
    with pytest.raises(ValueError, match="no model 'SVD'; expected one of .*MatrixFactorization"):
        constructor("SVD")


def test_reading_imports_neither_keras_nor_tensorflow():
    code = (
        "import sys; from kerasrec.cli.signatures import constructor, model_names;"
        "[constructor(name) for name in model_names()];"
        "sys.exit(bool({'keras', 'tensorflow'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
