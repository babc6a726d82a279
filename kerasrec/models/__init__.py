"""Model zoo, one file per model."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "base": ["Recommender"],
        "embedding_mlp": ["EmbeddingMLP"],
        "gru4rec": ["GRU4Rec"],
        "matrix_factorization": ["MatrixFactorization"],
        "neu_mf": ["NeuMF"],
        "popularity": ["Popularity"],
        "sasrec": ["SASRec"],
        "stacked_lstm_classifier": ["StackedLSTMClassifier"],
    },
)
