import pytest

from kerasrec.models import (
    EASE,
    EmbeddingMLP,
    GraphFilter,
    GRU4Rec,
    LightGCN,
    MatrixFactorization,
    MultVAE,
    NeuMF,
    Popularity,
    SASRec,
    SparseEASE,
    StackedLSTMClassifier,
)
from kerasrec.schema import Categorical, IdSequence, NumericSequence, Schema
from kerasrec.types import (
    Autoencoder,
    Biased,
    Counted,
    GraphModel,
    OneItemRanker,
    PartsRanker,
    Predictor,
    Ranker,
    Retriever,
    SequenceModel,
    StepClassifier,
    TwoVectors,
    is_computed,
    known_by,
    output_kind,
)

SCHEMA = Schema(
    user=[Categorical("user", 9), IdSequence("history", of="item", max_length=3)],
    item=Categorical("item", 12),
)


@pytest.mark.parametrize(
    ("kind", "more"),
    [
        (MatrixFactorization, {Retriever}),
        (NeuMF, {PartsRanker}),
        (EmbeddingMLP, {PartsRanker}),
        (Popularity, {Retriever, Counted}),
        (EASE, {Retriever, Counted}),
        (SparseEASE, {PartsRanker, Counted, OneItemRanker}),
        (GraphFilter, {PartsRanker, Counted, OneItemRanker}),
        (LightGCN, {Retriever, Counted, GraphModel}),
        (MultVAE, {Retriever, Autoencoder}),
        (SASRec, {Retriever, SequenceModel}),
        (GRU4Rec, {Retriever, SequenceModel}),
        (StackedLSTMClassifier, {PartsRanker, StepClassifier}),
    ],
)
def test_models_can_what_they_can(kind, more):
    every = {Ranker, Retriever, PartsRanker, SequenceModel, StepClassifier, Counted, Predictor}
    every |= {Autoencoder, GraphModel, OneItemRanker}
    assert {can for can in every if isinstance(kind(SCHEMA), can)} == {Ranker, Predictor} | more
    for can in (SequenceModel, StepClassifier, Counted, Autoencoder, GraphModel):  # of the class
        assert issubclass(kind, can) == (can in more)
    assert issubclass(kind, TwoVectors) == (Retriever in more)
    assert is_computed(kind) == (Counted in more and GraphModel not in more)
    assert issubclass(kind, Biased) == (kind is MatrixFactorization)


def test_the_output_of_a_model_that_does_not_say_is_a_score():
    assert output_kind(lambda inputs: inputs) == "score"
    assert output_kind(MatrixFactorization(SCHEMA)) == MatrixFactorization(SCHEMA).output_kind


def test_what_a_query_is_known_by():
    steps = NumericSequence("steps", of="x", max_length=3)
    ids = {"item": Categorical("item", 12)}
    both = StackedLSTMClassifier(
        Schema(user=(Categorical("user", 9), steps, SCHEMA.user[1]), **ids)
    )
    numbers = StackedLSTMClassifier(Schema(user=(Categorical("user", 9), steps), **ids))
    models = both, numbers, SASRec(SCHEMA), EmbeddingMLP(SCHEMA), MultVAE(SCHEMA)
    assert [known_by(model) for model in models] == [
        *(("history",), ("steps",), ("history",), ("user", "history"), ("history",)),
    ]
