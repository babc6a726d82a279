"""In a fresh process that imported keras and kerasrec alone, everything saved loads again."""

import ast
import functools
import json
import subprocess
import sys
from pathlib import Path

import keras
import pytest

import kerasrec
from kerasrec import layers, losses, models, optimizers, retrieval, serving, training
from kerasrec._registration import registered
from kerasrec.layers.bipartite_graph import BipartiteGraph
from kerasrec.layers.fields.crossed_ids import CrossedIds
from kerasrec.layers.fields.field_embedding import FieldEmbedding
from kerasrec.layers.id_matrix import IdMatrix
from kerasrec.layers.id_rows import IdRows
from kerasrec.layers.id_weights import IdWeights
from kerasrec.layers.interest.activation_unit import ActivationUnit
from kerasrec.layers.interest.candidate_transformer import CandidateTransformer
from kerasrec.layers.interest.item_features import ItemFeatures
from kerasrec.layers.mlp import MLP
from kerasrec.schema import Categorical, IdSequence, Schema
from kerasrec.testing import tiny_schema

PACKAGE = Path(kerasrec.__file__).parent
DECORATOR = '@keras.saving.register_keras_serializable("kerasrec")'
USER, ITEM = Categorical("user", 9), Categorical("item", 12)
SEQUENCES = Schema(user=[USER, IdSequence("history", of="item", max_length=4)], item=ITEM)
PAIRS = Schema(user=USER, item=ITEM)
CLASSES = [name for names in registered().values() for name in names]

MAKE = {
    "ActivationUnit": lambda: ActivationUnit((4,)),
    "Adagrad": lambda: optimizers.Adagrad(0.1),
    "Adam": lambda: optimizers.Adam(optimizers.WarmUp(0.1, 10)),
    "AdamW": lambda: optimizers.AdamW(0.1, clipnorm=1.0),
    "AutoencoderTrainer": lambda: training.AutoencoderTrainer(MAKE["MultVAE"]()),
    "CausalAttention": lambda: layers.CausalAttention(2, 4),
    "BipartiteGraph": lambda: BipartiteGraph(3, 4),
    "Calibrated": lambda: retrieval.Calibrated(0.5),
    "CandidateTransformer": lambda: CandidateTransformer(2, 4),
    "ClipWeights": lambda: optimizers.ClipWeights(1.0),
    "ClippyAdagrad": lambda: optimizers.ClippyAdagrad(0.1),
    "CrossedIds": lambda: CrossedIds((5, 7), rows=8),
    "Dropout": lambda: layers.Dropout(0.5),
    "Embedding": lambda: layers.Embedding(5, 2),
    "FeatureEmbedding": lambda: layers.FeatureEmbedding(tiny_schema(), embedding_dim=4),
    "FieldEmbedding": lambda: FieldEmbedding(tiny_schema(), embedding_dim=4),
    "FocalCrossentropy": lambda: losses.FocalCrossentropy(2.0),
    "Ftrl": lambda: optimizers.Ftrl(0.1),
    "GraphCrossentropyTrainer": lambda: training.GraphCrossentropyTrainer(
        MAKE["MatrixFactorization"](), negatives=3
    ),
    "GraphSoftmaxTrainer": lambda: training.GraphSoftmaxTrainer(MAKE["LightGCN"](), negatives=3),
    "IdMatrix": lambda: IdMatrix(3, 4),
    "IdRows": lambda: IdRows(3),
    "IdWeights": lambda: IdWeights(4, 2),
    "ItemFeatures": lambda: ItemFeatures(SEQUENCES, []),
    "MLP": lambda: MLP((4,)),
    "MaximalMarginalRelevance": lambda: retrieval.MaximalMarginalRelevance(0.5),
    "NextItemTrainer": lambda: training.NextItemTrainer(MAKE["GRU4Rec"]()),
    "Pipeline": lambda: serving.Pipeline(
        MAKE["MatrixFactorization"](), MAKE["NeuMF"](), retrieve=4
    ),
    "PopularityBalance": lambda: retrieval.PopularityBalance(0.5),
    "Recurrent": lambda: layers.Recurrent(4, cell="gru"),
    "RowwiseAdagrad": lambda: optimizers.RowwiseAdagrad(0.1),
    "SGD": lambda: optimizers.SGD(0.1),
    "SampledSoftmaxTrainer": lambda: training.SampledSoftmaxTrainer(
        MAKE["MatrixFactorization"](), negatives=3
    ),
    "StepwiseTrainer": lambda: training.StepwiseTrainer(MAKE["StackedLSTMClassifier"]()),
    "WarmUp": lambda: optimizers.WarmUp(0.1, 10),
}
# A small model of each class, with its own defaults.
MAKE |= {
    name: functools.partial(getattr(models, name), SEQUENCES)
    for name in models.__all__
    if name != "Recommender"
}


def registered_in(source):
    """Names of the classes and functions of a file that are registered."""
    return [
        node.name
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.ClassDef | ast.FunctionDef)
        and any("register_keras_serializable" in ast.unparse(one) for one in node.decorator_list)
    ]


def test_every_registered_class_is_announced_and_made_here():
    found = {}
    for path in PACKAGE.rglob("*.py"):
        source = path.read_text("utf-8")
        if names := registered_in(source):
            module = ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
            found[module] = sorted(names)
            assert source.count(DECORATOR) == len(names), f"{path}: write {DECORATOR}"
    assert {module: sorted(names) for module, names in registered().items()} == found
    assert set(MAKE) == set(CLASSES)


# Prints where it found the classes. All of them are looked up before the first is loaded, so
# that none is found because another one imported it.
PROGRAM = """
import json, pathlib, sys
{imports}
ours = {{name for name in sys.modules if name.startswith("kerasrec.") and name[9] != "_"}}
assert ours <= {{"kerasrec.models"}}  # the list of its files
folder = pathlib.Path(sys.argv[1])
configs = json.loads((folder / "configs.json").read_text())
entries = {{name: keras.saving.get_registered_object("kerasrec>" + name) for name in configs}}
found = {{}}
for path in sorted(folder.glob("*.keras")):
    found[path.stem] = type(keras.models.load_model(path)).__module__
for name, config in configs.items():
    loaded = entries[name].from_config(config["config"])
    again = keras.saving.deserialize_keras_object(config)
    real = keras.saving.get_registered_object("kerasrec>" + name)
    assert type(loaded) is type(again) is real and real.__name__ == name, name
    found["config of " + name] = real.__module__
print(json.dumps(found))
"""


def run(imports, folder):
    program = PROGRAM.format(imports=imports)
    command = [sys.executable, "-c", program, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A folder with the configuration of one object of each class, and a file of each model."""
    folder = tmp_path_factory.mktemp("saved")
    objects = {name: make() for name, make in MAKE.items()}
    for name, made in objects.items():
        if isinstance(made, keras.Model):
            loss = "sparse_categorical_crossentropy" if name == "StackedLSTMClassifier" else "mse"
            own = isinstance(made, training.Trainer | serving.Pipeline)
            made.compile(optimizers.Adam(optimizers.WarmUp(0.1, 5)), None if own else loss)
            made.save(folder / f"{name}.keras")
    configs = {name: keras.saving.serialize_keras_object(made) for name, made in objects.items()}
    (folder / "configs.json").write_text(json.dumps(configs))
    return folder


@pytest.mark.parametrize(
    "imports",
    [
        "import keras, kerasrec",
        pytest.param("import kerasrec, keras", marks=pytest.mark.slow),
        pytest.param("import kerasrec, tensorflow, keras.models", marks=pytest.mark.slow),
    ],
)
def test_what_was_saved_loads_in_a_fresh_process(saved, imports):
    found = run(imports, saved)
    modules = registered()
    where = {name: f"kerasrec.{module}" for module in modules for name in modules[module]}
    assert len(list(saved.glob("*.keras"))) >= 9
    for name, module in found.items():
        assert module == where[name.removeprefix("config of ")]
    assert len(found) == len(CLASSES) + len(list(saved.glob("*.keras")))


def test_a_stand_in_makes_objects_and_is_replaced_by_its_class():
    """What a stand-in is asked for before its class was imported, by its metaclass."""
    from kerasrec._registration import _StandIn

    entry = _StandIn("SGD", (), {"_module": "kerasrec.optimizers.sgd"})
    made = entry(0.5, momentum=0.9)
    assert type(made) is optimizers.SGD and made.momentum == 0.9
    assert entry.from_config(made.get_config()).momentum == 0.9
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = entry.nothing
    assert keras.saving.get_registered_object("kerasrec>SGD") is optimizers.SGD


FAKE_KERAS = """
import os
if os.environ.pop("BROKEN", None):
    raise ImportError("broken")
class saving:
    objects = {}
    get_custom_objects = staticmethod(lambda: saving.objects)
"""


@pytest.mark.parametrize(
    "program",
    [
        "import kerasrec, keras",
        "import keras, kerasrec",
        # Looked for and not imported, as packages are that may be absent.
        "import kerasrec, importlib.util as u; u.find_spec('keras'); u.find_spec('keras')",
        "import kerasrec, keras, importlib; importlib.reload(kerasrec)",
        # An import that fails is tried again.
        "import os, kerasrec\nos.environ['BROKEN'] = '1'\n"
        "try:\n    import keras\nexcept ImportError as error:\n    assert str(error) == 'broken'",
    ],
)
def test_keras_is_left_as_it_is(program, tmp_path):
    """With a package in place of Keras, since only the import is looked at."""
    (tmp_path / "keras.py").write_text(FAKE_KERAS)
    program += (
        "\nimport keras, sys"
        "\nassert len(keras.saving.objects) == int(sys.argv[1])"
        "\nassert 'exec_module' not in vars(keras.__spec__.loader)"
        "\nassert not [one for one in sys.meta_path if type(one).__name__ == '_KerasFinder']"
        "\nassert not [name for name in sys.modules if name.startswith('kerasrec.models.')]"
    )
    environment = {"PYTHONPATH": f"{tmp_path}:{PACKAGE.parent}"}
    command = [sys.executable, "-c", program, str(len(CLASSES))]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_what_cannot_be_imported_is_said_by_python(tmp_path):
    (tmp_path / "keras.py").write_text(FAKE_KERAS)
    environment = {"PYTHONPATH": f"{tmp_path}:{PACKAGE.parent}", "BROKEN": "1"}
    command = [sys.executable, "-c", "import kerasrec, keras"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1 and done.stderr.strip().endswith("ImportError: broken")
