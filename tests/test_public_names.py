"""The public names, all of them. Everything else is private, wherever it stands."""

import importlib

import pytest

import kerasrec

PUBLIC = {
    "calibration": """
        Calibration fit_isotonic fit_platt
    """,
    "callbacks": """
        ExactResume GradientMonitor LabelValidation RankingValidation TrainingDiagnostics
    """,
    "data": """
        Buckets ExampleSplit Examples HashBuckets Interactions KeyedTable MinMaxScaler
        NegativeSampler PreparedData PreparedExamples Split StandardScaler Vocabulary add_history
        audit deduplicate drop_missing drop_outliers encode fit_vocabularies global_time_split
        histories k_core k_fold leave_last_out load_vocabularies make_schema next_items next_labels
        per_user_time_split pointwise positives predefined_split prepare prepare_examples
        random_split read read_examples recency_weights repeated_k_fold save_vocabularies
        shared_negatives split_examples stream_parquet stream_tfrecord time_folds time_gaps windows
        with_negatives without_labels write_tfrecord
    """,
    "datasets": """
        Dataset cache_dir load names synthetic tfds_files
    """,
    "distribute": """
        batches shard strategy
    """,
    "evaluation": """
        Candidates ClickPredictions ProtocolWarning RankingResult RankingTask Recommendations auc
        average_precision beyond_accuracy bootstrap_intervals check_features check_ranking
        check_split class_metrics click_intervals click_metrics click_segments compare
        compare_clicks cross_validate evaluate example_folds format_table gain_curve holm
        item_popularity log_loss nested_cross_validate paired_comparison predict_clicks rank
        rating_errors recommend row_counts sample_candidates segment_rows spread threshold_table
        user_activity
    """,
    "interop": """
        fill_tfrs_index from_tfrs import_tfrs
    """,
    "layers": """
        CausalAttention Dropout Embedding FeatureEmbedding Recurrent
    """,
    "losses": """
        FocalCrossentropy full_softmax_crossentropy gbce_loss sampled_softmax
    """,
    "optimizers": """
        Adagrad Adam AdamW ClipWeights ClippyAdagrad Ftrl RowwiseAdagrad SGD WarmUp
        inverse_time_decay
    """,
    "reports": """
        numbers page read_recorded
    """,
    "retrieval": """
        Calibrated ExactTopK Index MaximalMarginalRelevance PopularityBalance RecommendedItems
        Reranker Shortlist recommend similar_items
    """,
    "runs": """
        Training choose cross_validate_choice fit read_run recipe search train
    """,
    "serving": """
        Pipeline QuantizationBudget VerificationError curl_command export list_versions load
        rollback serve_command server verify
    """,
    "testing": """
        CHECKS ModelCase check_model random_inputs tiny_schema
    """,
    "training": """
        AlternatingLeastSquares AutoencoderTrainer GraphCrossentropyTrainer GraphSoftmaxTrainer
        NextItemTrainer SampledSoftmaxTrainer StepwiseTrainer Trainer keep_freed_memory
    """,
    "serving.server": """
        Settings background measure_load serve
    """,
}
# Modules whose classes and constants are public as they stand, and the models, a line each there.
WHOLE = {"schema", "types", "models"}
MOST = 180


@pytest.mark.parametrize("package", PUBLIC)
def test_a_package_exports_these_names(package):
    module = importlib.import_module(f"kerasrec.{package}")
    assert sorted(module.__all__) == PUBLIC[package].split()


def test_the_packages_are_listed_and_the_surface_stays_small():
    assert {package.partition(".")[0] for package in PUBLIC} | WHOLE == set(kerasrec.__all__)
    assert sum(len(names.split()) for names in PUBLIC.values()) <= MOST
