"""Every private name of Keras and TensorFlow that the library uses, touched one by one."""

import ast
import configparser
import functools
import importlib
import inspect
import re
import textwrap
from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf

import kerasrec
from kerasrec import _keras

PACKAGE = Path(kerasrec.__file__).parent
OWNER = PACKAGE / "_keras.py"
# It runs in a process that may hold nothing of ours. The names that it uses are touched, too.
APART = PACKAGE / "serving" / "verification" / "fresh_process.py"
HIDDEN = ("keras.src", "tensorflow.core", "tensorflow.python", "tf_keras.src")
FILES = [path for path in sorted(PACKAGE.rglob("*.py")) if path.name != "__main__.py"]


def is_private(name):
    return bool(re.fullmatch(r"_[a-z]\w*[a-z]", name))


@functools.cache
def parsed(path):
    return ast.parse(path.read_text("utf-8"))


def dotted(node):
    """The name of an attribute of a module, such as tf.__internal__.distribute."""
    return f"{dotted(node.value)}.{node.attr}" if isinstance(node, ast.Attribute) else node.id


def defined(tree):
    """Names of functions and classes, and of whatever is assigned to."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Name | ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.id if isinstance(node, ast.Name) else node.attr


def of_bases(cls):
    """Private names of the classes of Keras and TensorFlow among the bases."""
    foreign = [b for b in cls.__mro__ if b.__module__.split(".")[0] in ("keras", "tensorflow")]
    return {name for base in foreign for name in of_class(base) if is_private(name)}


@functools.cache
def of_class(base):
    return set(vars(base)) | set(defined(ast.parse(textwrap.dedent(inspect.getsource(base)))))


# What a text may name: `getattr` and `__dict__` take it.
KNOWN = {
    name
    for cls in (
        keras.Model,
        keras.layers.Embedding,
        keras.callbacks.TensorBoard,
        keras.optimizers.Adam,
        keras.optimizers.Adagrad,
        keras.optimizers.Ftrl,
    )
    for name in of_bases(cls)
}


def used(tree, every_text=False):
    """(name, line) of every attribute, text and hidden module that may be a private name.

    A text stands in quotes: other texts than the names of Keras are of no interest.
    """
    inner = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and is_private(node.attr):
            yield node.attr, node.lineno
        elif isinstance(node, ast.Attribute) and id(node) not in inner:
            if "__internal__" in ast.dump(node):
                yield dotted(node), node.lineno
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            if node.value in KNOWN or (every_text and is_private(node.value)):
                yield node.value, node.lineno
        elif isinstance(node, ast.ImportFrom) and str(node.module).startswith(HIDDEN):
            yield from ((f"{node.module}.{alias.name}", node.lineno) for alias in node.names)
        elif isinstance(node, ast.Import):
            hidden = [alias.name for alias in node.names if alias.name.startswith(HIDDEN)]
            yield from ((name, node.lineno) for name in hidden)


# What the one module uses, beside what it overrides.
NAMES = {name for name, _ in used(parsed(OWNER), every_text=True)} | {
    n for n in defined(parsed(OWNER)) if n[0] == "_"
}
NAMES = {name for name in NAMES if not name.startswith("__")}
APART_NAMES = {name for name, _ in used(parsed(APART)) if name.startswith(HIDDEN)}


def spying(base, names, called):
    """A subclass that writes down which of its methods Keras calls."""

    def spy(name):
        def method(self, *args, **kwargs):
            called.setdefault(name, {**dict(enumerate(args)), **kwargs})
            return getattr(super(cls, self), name)(*args, **kwargs)

        return method

    cls = type(base.__name__, (base,), {n: spy(n) for n in names if hasattr(base, n)})
    return cls


def optimizer(cls=keras.optimizers.Adam, **options):
    made = cls(0.1, **options)
    made.build([keras.Variable([1.0, 2.0])])
    return made


@pytest.fixture(scope="module")
def trained():
    """A stock model that was trained for one epoch, and what Keras called meanwhile."""
    called = {}
    hooks = ("_maybe_symbolic_build", "_get_metrics_result_or_logs", _keras.STEP_HOOK)
    model = spying(keras.Sequential, hooks, called)([keras.layers.Dense(1)])
    updates = ("_backend_apply_gradients", *_keras.UPDATE_HOOKS)
    adam = spying(keras.optimizers.Adam, updates, called)(0.1, weight_decay=0.1)
    # Without a graph, whose tracing would rewrite the methods above.
    model.compile(adam, "mse", weighted_metrics=["mae"], run_eagerly=True)
    model._initial_epoch = 1
    history = model.fit(np.ones((2, 1)), np.ones((2, 1)), epochs=2, verbose=0)
    return SimpleNamespace(model=model, called=called, epochs=history.epoch, adam=adam)


def was_called(name):
    return lambda trained: name in trained.called


def state(name, cls, **options):
    return lambda trained: len(getattr(optimizer(cls, **options), name)) == 1


def imported(module, name):
    return lambda trained: hasattr(importlib.import_module(module), name)


def iterator(trained):
    return trained.called["_maybe_symbolic_build"]["iterator"]


def counts_steps(trained):
    steps = iterator(trained)
    plain, calls = steps._enumerate_iterator, []
    steps._enumerate_iterator = lambda: calls.append(1) or plain()
    return [numbers for *numbers, _ in steps] == [[0, 0]] and calls == [1]


def part_of_a_replica(trained):
    dataset = tf.data.Dataset.range(4).batch(2)
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    shared = strategy.experimental_distribute_dataset(dataset)
    return len(shared.element_spec._value_specs) == 2


def number_of_batches(trained):
    dataset = tf.data.Dataset.range(4)
    made = tf.distribute.MirroredStrategy(["CPU:0"]).distribute_datasets_from_function(
        lambda context: dataset
    )
    made._cardinality = 7
    return int(made.cardinality) == 7


def table_of_a_layer(trained):
    layer = keras.layers.Embedding(3, 2)
    layer.build()
    return layer.embeddings is layer._embeddings


def replaced_weight(trained):
    layer = keras.layers.Dense(2)
    layer.build((None, 3))
    del layer.bias
    layer._tracker.unlock()
    layer.bias = layer.add_weight(shape=(5,), name="bias")
    layer._tracker.lock()
    return [tuple(weight.shape) for weight in layer.weights] == [(3, 2), (5,)]


def moves_averages(name):
    def touch(trained):
        made = optimizer(use_ema=True)
        getattr(made, name)(made._trainable_variables)
        return True

    return touch


def first_variable(trained):
    return trained.model.trainable_variables[0]


TOUCH = {
    **{
        name: was_called(name)
        for name in (
            "_autoconvert_optionals",
            "_maybe_symbolic_build",
            "_get_metrics_result_or_logs",
            "_backend_apply_gradients",
            "_clip_gradients",
            "_apply_weight_decay",
            "_backend_update_step",
        )
    },
    "_distribute_strategy": lambda trained: trained.model._distribute_strategy is None,
    "_distributed_dataset": lambda trained: iterator(trained)._distributed_dataset.element_spec,
    "_enumerate_iterator": counts_steps,
    "_value_specs": part_of_a_replica,
    "_cardinality": number_of_batches,
    "_initial_epoch": lambda trained: trained.epochs == [1],
    "_aggregate_additional_loss": lambda trained: (
        float(trained.model._aggregate_additional_loss(tf.constant(2.0))) == 2.0
    ),
    "_compile_metrics": lambda trained: trained.model._compile_metrics is not None,
    "_user_weighted_metrics": lambda trained: (
        trained.model._compile_metrics._user_weighted_metrics == ["mae"]
    ),
    "_flatten_layers": lambda trained: (
        trained.model.layers[-1]
        in trained.model._flatten_layers(include_self=False, recursive=True)
    ),
    "_should_trace": lambda trained: (
        keras.callbacks.TensorBoard(profile_batch=2)._should_trace
        and not keras.callbacks.TensorBoard()._should_trace
    ),
    "_embeddings": table_of_a_layer,
    "_tracker": replaced_weight,
    "_all_reduce_sum_gradients": lambda trained: (
        trained.adam._all_reduce_sum_gradients([(1.0, first_variable(trained))])[0][0] == 1
    ),
    "_distributed_tf_update_step": lambda trained: (
        [*inspect.signature(trained.adam._distributed_tf_update_step).parameters]
        == ["distribution", "grads_and_vars", "learning_rate"]
    ),
    "_distribution_strategy": lambda trained: trained.adam._distribution_strategy.extended,
    "_get_variable_index": lambda trained: (
        trained.adam._get_variable_index(first_variable(trained)) == 0
    ),
    "_trainable_variables": lambda trained: (
        trained.adam._trainable_variables[0] is first_variable(trained)
    ),
    "_use_weight_decay": lambda trained: trained.adam._use_weight_decay(first_variable(trained)),
    "_iterations": lambda trained: int(trained.adam._iterations) == 1,
    "_momentums": state("_momentums", keras.optimizers.Adam),
    "_velocities": state("_velocities", keras.optimizers.Adam),
    "_velocity_hats": state("_velocity_hats", keras.optimizers.Adam, amsgrad=True),
    "_accumulators": lambda trained: all(
        state("_accumulators", cls)(trained)
        for cls in (keras.optimizers.Adagrad, keras.optimizers.Ftrl)
    ),
    "_linears": state("_linears", keras.optimizers.Ftrl),
    "_accumulated_gradients": state(
        "_accumulated_gradients", keras.optimizers.SGD, gradient_accumulation_steps=2
    ),
    **{
        name: moves_averages(name)
        for name in (
            "_update_model_variables_moving_average",
            "_overwrite_model_variables_with_average_value",
        )
    },
    "_shared_name": lambda trained: isinstance(
        tf.lookup.TextFileInitializer._shared_name, property
    ),
    "tf.__internal__.get_enclosing_xla_context": lambda trained: (
        tf.__internal__.get_enclosing_xla_context() is None
    ),
    "tf.__internal__.distribute.interim.maybe_merge_call": lambda trained: (
        tf.__internal__.distribute.interim.maybe_merge_call(
            lambda strategy, one: one + 1, tf.distribute.get_strategy(), 1
        )
        == 2
    ),
    "tensorflow.core.protobuf.saved_model_pb2": imported(
        "tensorflow.core.protobuf.saved_model_pb2", "SavedModel"
    ),
    "tensorflow.python.saved_model.fingerprinting_utils": imported(
        "tensorflow.python.saved_model.fingerprinting_utils", "write_fingerprint"
    ),
    "tensorflow.python.framework.op_def_registry": imported(
        "tensorflow.python.framework.op_def_registry", "get"
    ),
}


@pytest.mark.parametrize("name", sorted(NAMES | APART_NAMES))
def test_a_private_name_is_what_it_was(name, trained):
    try:
        assert TOUCH[name](trained)
    except Exception as error:
        pytest.fail(
            f"{name} is not what it was in Keras {keras.__version__} with TensorFlow "
            f"{tf.__version__}: {error!r}. kerasrec._keras says what it is for; setup.cfg has "
            f"{_keras.SUPPORTED}."
        )


def test_nothing_is_touched_that_is_not_used():
    assert set(TOUCH) == NAMES | APART_NAMES


def test_the_versions_are_those_of_the_package():
    setup = configparser.ConfigParser()
    setup.read(PACKAGE.parent / "setup.cfg")
    assert _keras.SUPPORTED in setup["options"]["install_requires"].split("\n")


def test_a_version_without_the_name_is_refused():
    message = rf"Keras {keras.__version__} has no _gone, .*'{_keras.SUPPORTED}'"
    with pytest.raises(ValueError, match=message):
        _keras.need(keras.layers.Dense(1), "_gone")
    with pytest.raises(ValueError, match="has no _maybe_symbolic_build"):
        type("Model", (_keras.FitHooks,), {})
    with pytest.raises(ValueError, match="has no _backend_apply_gradients"):
        type("Optimizer", (_keras.OptimizerHooks,), {})


OURS = {name for path in FILES if path != OWNER for name in defined(parsed(path))}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_other_file_uses_a_private_name(path):
    """A private attribute is one that we define, and no class redefines one of its Keras base."""
    if path == OWNER:
        return
    for name, line in used(parsed(path)):
        allowed = name in OURS and name not in NAMES
        apart = path == APART and name in APART_NAMES
        assert allowed or apart or name == "_replace", f"{path}:{line} uses {name}"
    module = importlib.import_module(
        ".".join(["kerasrec", *path.relative_to(PACKAGE).with_suffix("").parts])
    )
    for node in parsed(path).body:
        if isinstance(node, ast.ClassDef):
            shared = set(defined(node)) & of_bases(getattr(module, node.name))
            assert not shared, f"{path}:{node.lineno} {node.name} redefines {shared} of Keras"
