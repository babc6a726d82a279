"""Interactions, readers, vocabularies, cleaning, splits, negatives, audit and batches."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "batches.blocks": ["without_labels"],
        "batches.examples": ["histories", "pointwise", "shared_negatives", "with_negatives"],
        "batches.negatives": ["NegativeSampler"],
        "batches.next_items": ["next_items", "next_labels"],
        "encoding._encode": ["encode", "fit_vocabularies", "make_schema"],
        "encoding.positives": ["positives"],
        "encoding.prepared": ["PreparedData", "prepare"],
        "encoding.recency": ["recency_weights"],
        "encoding.scalers": ["MinMaxScaler", "StandardScaler"],
        "encoding.sequences": ["add_history", "time_gaps"],
        "encoding.buckets": ["Buckets", "HashBuckets"],
        "encoding.vocabulary": ["KeyedTable", "Vocabulary"],
        "encoding.vocabulary_file": ["load_vocabularies", "save_vocabularies"],
        "examples.examples": ["Examples"],
        "examples.prepared": ["PreparedExamples", "prepare_examples"],
        "examples.reading": ["read_examples"],
        "examples.splitting": ["ExampleSplit", "split_examples"],
        "examples.windows": ["windows"],
        "splits.folds": ["repeated_k_fold", "time_folds"],
        "splits.split": [
            "Split",
            "predefined_split",
            "k_fold",
            "leave_last_out",
            "random_split",
            "per_user_time_split",
            "global_time_split",
        ],
        "streams.parquet": ["stream_parquet"],
        "streams.tfrecords": ["stream_tfrecord", "write_tfrecord"],
        "tables._audit": ["audit"],
        "tables.clean": ["deduplicate", "drop_missing", "drop_outliers", "k_core"],
        "tables.interactions": ["Interactions"],
        "tables.readers": ["read"],
    },
)
