"""Reads the source, and holds it to docs/architecture.md."""

import ast
import functools
import re
import subprocess
import sys
from pathlib import Path

import pytest

import kerasrec

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "kerasrec"
FILES = sorted(PACKAGE.rglob("*.py"))
FOLDERS = sorted({path.parent for path in FILES})
# Files of a room, `__init__.py` not counted.
LARGEST_ROOM = 14
# Folders of a room, each of which may import those before it.
ORDER = {"data": ("tables", "splits", "encoding", "examples", "batches", "streams")}

# What imports nothing of ours, and everything may import.
GROUND = {"_checks", "_files", "_keras", "_progress", "_repeats"}
BASE = {"calibration", "schema", "types"}
MAY_IMPORT = {
    "_registration": set(),
    "_checks": set(),
    "_files": set(),
    "_keras": set(),
    "_progress": set(),
    "_repeats": set(),
    "calibration": set(),
    "schema": set(),
    "types": {"schema"},
    "training": BASE | {"data", "losses"},
    "data": BASE,
    "layers": BASE,
    "models": BASE | {"data", "layers", "training"},
    "datasets": BASE | {"data"},
    "optimizers": BASE,
    "callbacks": BASE | {"optimizers", "evaluation", "training"},
    "reports": {"evaluation"},
    "distribute": BASE | {"training"},
    "losses": BASE,
    "retrieval": BASE | {"data"},
    "evaluation": BASE | {"data"},
    "serving": BASE | {"data", "retrieval"},
    "interop": BASE | {"data", "models"},
    "testing": BASE | {"models"},
    "runs": BASE
    | {"callbacks", "data", "datasets", "evaluation", "losses", "models", "optimizers"}
    | {"training"},
    "cli": BASE
    | {"callbacks", "data", "datasets", "distribute", "evaluation", "models", "optimizers"}
    | {"reports", "retrieval", "runs", "serving", "training"},
    "__main__": {"cli"},
}
TENSORFLOW = {
    "_keras.py",
    "callbacks/",
    "cli/",
    "data/batches/blocks.py",
    "data/batches/examples.py",
    "data/batches/next_items.py",
    "data/batches/user_profiles.py",
    "data/streams/parquet.py",
    "data/streams/row_stream.py",
    "data/streams/tfrecords.py",
    "distribute/",
    "evaluation/ranking/item_parts.py",
    "interop/",
    "layers/bipartite_graph.py",
    "layers/dropout.py",
    "layers/embedding.py",
    "layers/id_bag.py",
    "layers/id_matrix.py",
    "layers/recurrent.py",
    "losses/chunked_softmax.py",
    "optimizers/",
    "retrieval/",
    "serving/",
    "testing/",
    "training/multi_worker.py",
    "training/replicas.py",
}
BASES = (
    *("__init__", "all_items", "base", "field_model", "interactions", "item_weights"),
    *("neighbour_weights", "perceptron", "profiles", "sequential", "spectral", "target_aware"),
)
MODELS = sorted(p for p in (PACKAGE / "models").rglob("*.py") if p.stem not in BASES)


@functools.cache
def parsed(path):
    """The tree of a file, which several tests walk through."""
    return ast.parse(path.read_text("utf-8"))


@functools.cache
def imports(path):
    """(module, line) of every import, lazy ones too, and of every `kerasrec.x` that is read."""
    return list(_imports(path))


def _imports(path):
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                raise AssertionError(f"{path}:{node.lineno}: relative import; write the full name")
            yield node.module, node.lineno
            if node.module.split(".")[0] == "kerasrec":
                yield from ((f"{node.module}.{alias.name}", node.lineno) for alias in node.names)
        elif (
            isinstance(node, ast.Attribute)
            and isinstance(node.value, ast.Name)
            and node.value.id == "kerasrec"
            and not node.attr.startswith("__")
        ):
            # Packages load when their attribute is read.
            yield f"kerasrec.{node.attr}", node.lineno


def room(path):
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_go_one_way(path):
    for module, line in imports(path):
        parts = module.split(".")
        if parts[0] in ("tests", "notebooks", "benchmarks", "export"):
            raise AssertionError(f"{path}:{line} imports {module}")
        if parts[0] != "kerasrec" or len(parts) == 1:
            continue
        if path == PACKAGE / "__init__.py" or parts[1] == room(path):
            continue
        allowed = MAY_IMPORT[room(path)] | (set() if room(path) in GROUND else GROUND)
        assert parts[1] in allowed, f"{path}:{line} imports {module}"


@pytest.mark.parametrize("name", ORDER)
def test_folders_of_a_room_import_one_way(name):
    order = ORDER[name]
    assert {path.name for path in FOLDERS if path.parent == PACKAGE / name} == set(order)
    for place, folder in enumerate(order):
        below = order[: place + 1]
        for path in (PACKAGE / name / folder).glob("*.py"):
            for module, line in imports(path):
                parts = module.split(".")
                if parts[:2] == ["kerasrec", name]:
                    # The room itself would load any of its folders.
                    assert len(parts) > 2, f"{path}:{line} imports {module}"
                    assert parts[2] in below, f"{path}:{line} imports {module}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_tensorflow_only_where_it_is_named(path):
    name = str(path.relative_to(PACKAGE))
    if any(name.startswith(place) for place in TENSORFLOW):
        return
    wrong = [line for module, line in imports(path) if module.split(".")[0] == "tensorflow"]
    assert not wrong, f"{path}:{wrong} imports tensorflow"


def test_no_files_import_each_other_in_a_circle():
    """Imports inside functions and those for types count too."""
    paths = {
        ".".join(("kerasrec", *p.relative_to(PACKAGE).with_suffix("").parts)): p for p in FILES
    }
    reached = {}

    def follow(name, trail):
        assert name not in trail, " -> ".join([*trail[trail.index(name) :], name])
        if name not in reached:
            reached[name] = None
            for module in sorted({module for module, _ in imports(paths[name])} & set(paths)):
                follow(module, [*trail, name])

    for name in paths:
        follow(name, [])


def test_serving_reads_of_data_the_encoders_alone():
    """But for the page of the server, which reads tables of titles and histories."""
    serving = PACKAGE / "serving"
    for path in set(serving.rglob("*.py")) - {serving / "server" / "api" / "page.py"}:
        for module, line in imports(path):
            if module.startswith("kerasrec.data"):
                stem = module.removeprefix("kerasrec.data.encoding.").partition(".")[0]
                assert stem in ("buckets", "vocabulary", "vocabulary_file"), (
                    f"{path}:{line} imports {module}"
                )


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: str(folder.relative_to(PACKAGE)))
def test_rooms_are_small(folder):
    files = [path.name for path in folder.glob("*.py") if path.stem != "__init__"]
    assert len(files) <= LARGEST_ROOM, f"{folder} holds {len(files)} files"


def test_every_package_is_in_the_table():
    rooms = {room(path) for path in FILES} - {"__init__"}
    assert rooms == set(MAY_IMPORT)
    text = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    for name in rooms:
        assert re.search(rf"`{name}(\.py|/)`", text), f"{name} is missing from the table"


def test_every_package_is_an_attribute():
    rooms = {room(path) for path in FILES} - {
        "__init__",
        "__main__",
        "_registration",
        "cli",
        *GROUND,
    }
    assert set(kerasrec.__all__) == rooms


def run(program):
    return subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize(
    "statement",
    [
        "import kerasrec",
        "import kerasrec.data",
        "import kerasrec.models",
        "import kerasrec.runs",
        "import kerasrec.cli",
    ],
)
def test_importing_does_not_import_tensorflow(statement):
    done = run(f"{statement}; import sys; sys.exit('tensorflow' in sys.modules)")
    assert done.returncode == 0, done.stderr


def test_every_public_name_can_be_imported():
    done = run(
        "import importlib, kerasrec\n"
        "for package in kerasrec.__all__:\n"
        "    module = importlib.import_module(f'kerasrec.{package}')\n"
        "    for name in getattr(module, '__all__', []):\n"
        "        getattr(module, name)\n"
    )
    assert done.returncode == 0, done.stderr


def class_of(path):
    return (
        "".join(word.capitalize() for word in path.stem.split("_"))
        .replace("Ease", "EASE")
        .replace("Als", "ALS")
        .replace("Slim", "SLIM")
        .replace("Knn", "KNN")
        .replace("Gcn", "GCN")
        .replace("Mlp", "MLP")
        .replace("NeuMf", "NeuMF")
        .replace("Sasrec", "SASRec")
        .replace("Gru4rec", "GRU4Rec")
        .replace("Lstm", "LSTM")
        .replace("Vae", "VAE")
        .replace("Dae", "DAE")
        .replace("DeepFm", "DeepFM")
        .replace("NeuralFm", "NeuralFM")
        .replace("AwareFm", "AwareFM")
        .replace("DcnV2", "DCNv2")
        .replace("Dlrm", "DLRM")
        .replace("Din", "DIN")
    )


@pytest.mark.parametrize("path", MODELS, ids=lambda path: path.stem)
def test_a_model_is_one_file_one_test_one_import_and_one_row(path):
    name = class_of(path)
    source = path.read_text("utf-8")
    lines = source.splitlines()
    assert len(lines) <= 200, f"{path} has {len(lines)} lines"
    classes = [node for node in ast.parse(source).body if isinstance(node, ast.ClassDef)]
    assert [node.name for node in classes] == [name]
    doc = ast.get_docstring(classes[0])
    for part in ("Args:", "Input shape:", "Output shape:", "Raises:", "Example:"):
        assert part in doc, f"the docstring of {name} has no {part}"
    assert '@keras.saving.register_keras_serializable("kerasrec")' in source
    module = ".".join(path.relative_to(PACKAGE / "models").with_suffix("").parts)
    assert f'"{module}": ["{name}"]' in (PACKAGE / "models/__init__.py").read_text("utf-8")
    test = (ROOT / "tests" / "models" / f"test_{path.stem}.py").read_text("utf-8")
    assert re.search(rf"ModelCase\(\s*{name}\b", test)
    assert 'parametrize("check", CHECKS' in test
    assert f"`{name}`" in (ROOT / "README.md").read_text("utf-8"), f"{name} has no row in README"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_public_things_have_docstrings_and_files_stay_readable(path):
    source = path.read_text("utf-8")
    tree = parsed(path)
    assert ast.get_docstring(tree), f"{path} has no docstring"
    assert len(source.splitlines()) <= 450, f"{path} is too long"
    for node in public(tree):
        assert ast.get_docstring(node), f"{path}:{node.lineno} {node.name} has no docstring"


def public(tree):
    """Public functions and classes of a module, and the public methods of those classes."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            yield node
            if isinstance(node, ast.ClassDef):
                yield from public(node)


def test_tests_mirror_the_package():
    for path in (ROOT / "tests").rglob("test_*.py"):
        parts = path.relative_to(ROOT / "tests").parts
        if len(parts) > 1 and parts[0] in MAY_IMPORT:
            assert PACKAGE.joinpath(*parts[:-1]).is_dir(), f"{path} mirrors nothing"
