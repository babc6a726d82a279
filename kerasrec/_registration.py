"""Register the classes of kerasrec with Keras, so that saved models load after `import kerasrec`.

Keras finds a class of a saved file by its registered name, which exists only after the module of
the class has been imported. Importing every module in `import kerasrec` would import TensorFlow.
Each registered name therefore gets a placeholder that imports the class when it is used. The
placeholders are registered as soon as Keras is imported, before or after kerasrec.
"""

import importlib
import sys
from types import ModuleType
from typing import Any

# Maps each module to its registered classes, besides the models, which `kerasrec.models` lists. A
# test compares both with the sources.
REGISTERED = {
    "layers.bipartite_graph": ["BipartiteGraph"],
    "layers.causal_attention": ["CausalAttention"],
    "layers.fields.crossed_ids": ["CrossedIds"],
    "layers.dropout": ["Dropout"],
    "layers.embedding": ["Embedding"],
    "layers.feature_embedding": ["FeatureEmbedding"],
    "layers.fields.field_embedding": ["FieldEmbedding"],
    "layers.id_matrix": ["IdMatrix"],
    "layers.id_rows": ["IdRows"],
    "layers.id_weights": ["IdWeights"],
    "layers.interest.activation_unit": ["ActivationUnit"],
    "layers.interest.candidate_transformer": ["CandidateTransformer"],
    "layers.interest.item_features": ["ItemFeatures"],
    "layers.mlp": ["MLP"],
    "layers.recurrent": ["Recurrent"],
    "losses.focal": ["FocalCrossentropy"],
    "optimizers.adagrad": ["Adagrad", "RowwiseAdagrad"],
    "optimizers.adam": ["Adam", "AdamW"],
    "optimizers.clippy": ["ClippyAdagrad"],
    "optimizers.constraints": ["ClipWeights"],
    "optimizers.ftrl": ["Ftrl"],
    "optimizers.schedules": ["WarmUp"],
    "optimizers.sgd": ["SGD"],
    "retrieval.reranking": ["Calibrated", "MaximalMarginalRelevance", "PopularityBalance"],
    "serving.pipeline": ["Pipeline"],
    "training.graphs.graph_crossentropy": ["GraphCrossentropyTrainer"],
    "training.graphs.graph_softmax": ["GraphSoftmaxTrainer"],
    "training.autoencoders.trainer": ["AutoencoderTrainer"],
    "training.next_item": ["NextItemTrainer"],
    "training.sampled_softmax": ["SampledSoftmaxTrainer"],
    "training.stepwise": ["StepwiseTrainer"],
}


class _StandIn(type):
    """Metaclass of placeholders for classes that are imported on first use."""

    _module: str

    def _load(cls) -> type:
        return getattr(importlib.import_module(cls._module), cls.__name__)

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        return cls._load()(*args, **kwargs)

    # Called for attributes that a placeholder lacks, all but its name: mostly `from_config`.
    def __getattr__(cls, name: str) -> Any:
        return getattr(cls._load(), name)


class _KerasFinder:
    """Import finder that registers the placeholders once Keras is imported."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        """Return the spec found by the other finders, for `keras` only."""
        if name != "keras":
            return None
        for finder in sys.meta_path:
            spec = None if finder is self else finder.find_spec(name, path, target)
            if spec is not None:
                self._enter_afterwards(spec.loader)
                return spec
        return None

    def _enter_afterwards(self, loader: Any) -> None:
        # Only this loader is wrapped, and only until it runs. Keras itself stays unchanged.
        def exec_module(module: ModuleType) -> None:
            del loader.exec_module
            loader.exec_module(module)
            enter()
            sys.meta_path.remove(self)

        loader.exec_module = exec_module


def registered() -> dict[str, list[str]]:
    """Return the registered classes by module."""
    files = importlib.import_module("kerasrec.models").FILES
    return REGISTERED | {f"models.{file}": files[file] for file in files if file != "base"}


def enter() -> None:
    """Register a placeholder for every registered class that is not imported yet."""
    keras = sys.modules["keras"]
    objects = keras.saving.get_custom_objects()
    for module, names in registered().items():
        for name in names:
            where = {"_module": f"kerasrec.{module}", "__module__": f"kerasrec.{module}"}
            objects.setdefault(f"kerasrec>{name}", _StandIn(name, (), where))


def enter_with_keras() -> None:
    """Register the placeholders now, or when Keras is imported."""
    if "keras" in sys.modules:
        enter()
    else:
        sys.meta_path.insert(0, _KerasFinder())
