"""Model zoo, one file per model."""

import lazy_loader

# Keras and the command line find the models here, too.
FILES = {
    "adapted.ease": ["EASE"],
    "adapted.graph_filter": ["GraphFilter"],
    "adapted.implicit_als": ["ImplicitALS"],
    "adapted.item_knn": ["ItemKNN"],
    "adapted.slim": ["SLIM"],
    "adapted.sparse_ease": ["SparseEASE"],
    "adapted.user_knn": ["UserKNN"],
    "autoencoders.mult_dae": ["MultDAE"],
    "autoencoders.mult_vae": ["MultVAE"],
    "autoencoders.rec_vae": ["RecVAE"],
    "base": ["Recommender"],
    "clicks.auto_int": ["AutoInt"],
    "clicks.convolutional_interaction": ["ConvolutionalInteraction"],
    "clicks.dcn_v2": ["DCNv2"],
    "clicks.machines.deep_fm": ["DeepFM"],
    "clicks.din": ["DIN"],
    "clicks.dlrm": ["DLRM"],
    "clicks.machines.factorization_machine": ["FactorizationMachine"],
    "clicks.feature_mlp": ["FeatureMLP"],
    "clicks.machines.field_aware_fm": ["FieldAwareFM"],
    "clicks.final_mlp": ["FinalMLP"],
    "clicks.final_net": ["FinalNet"],
    "clicks.logistic_regression": ["LogisticRegression"],
    "clicks.mlp_ensemble": ["MLPEnsemble"],
    "clicks.machines.neural_fm": ["NeuralFM"],
    "clicks.wide_and_deep": ["WideAndDeep"],
    "embedding_mlp": ["EmbeddingMLP"],
    "gru4rec": ["GRU4Rec"],
    "light_gcn": ["LightGCN"],
    "matrix_factorization": ["MatrixFactorization"],
    "neu_mf": ["NeuMF"],
    "popularity": ["Popularity"],
    "sasrec": ["SASRec"],
    "stacked_lstm_classifier": ["StackedLSTMClassifier"],
}

__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, submod_attrs=FILES)
