"""Interactions, readers, vocabularies, cleaning, splits, negatives, audit and batches."""

import lazy_loader

# These two have the same name as their module. Imported here, the name stays bound to the function.
# Otherwise a later import of the module would rebind it.
from kerasrec.data.audit import audit
from kerasrec.data.encode import encode

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "audit": ["Audit"],
        "batches": ["histories", "pointwise", "shared_negatives", "with_negatives"],
        "clean": [
            "MinMaxScaler",
            "StandardScaler",
            "deduplicate",
            "drop_missing",
            "drop_outliers",
            "k_core",
        ],
        "folds": ["repeated_k_fold", "time_folds"],
        "encode": ["fit_vocabularies", "make_schema"],
        "interactions": ["Interactions"],
        "negatives": ["NegativeSampler"],
        "next_items": ["next_items", "next_labels"],
        "positives": ["positives"],
        "prepared": ["PreparedData", "prepare"],
        "readers": ["read"],
        "recency": ["recency_weights"],
        "sequences": ["add_history", "time_gaps"],
        "splits": [
            "Split",
            "predefined_split",
            "k_fold",
            "leave_last_out",
            "random_split",
            "per_user_time_split",
            "global_time_split",
        ],
        "streaming": ["stream_parquet"],
        "tfrecords": ["stream_tfrecord", "write_tfrecord"],
        "vocabulary": ["Vocabulary", "load_vocabularies", "save_vocabularies"],
    },
)
__all__ = [*__all__, "audit", "encode"]
