"""Rules: whatever the rows, what they choose is within the range of its argument."""

import dataclasses
import inspect

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kerasrec import models
from kerasrec.runs import Training
from kerasrec.runs.choosing import durations, rules, table_rules
from kerasrec.runs.choosing.facts import Facts
from kerasrec.runs.settings import DECAYS

LOSSES = ("softmax", "graph_crossentropy", "binary_crossentropy", "log_loss", "mse")
NAMES = [name for name in models.__all__ if name != "Recommender"]
TRAININGS = {
    "sequence": lambda facts: rules.sequence(facts, length=rules.max_length(facts)[0]),
    "retrieval": rules.retrieval,
    "graph": rules.graph,
    "graph constraint": rules.graph_constraint,
    "profiles": rules.profiles,
    "pairs": rules.pairs,
    "shared pairs": lambda facts: rules.pairs(facts, shared=True),
    "ratings": rules.ratings,
    "labels": rules.labels,
    "examples": lambda facts: table_rules.examples(facts, model="FeatureMLP"),
    "examples of a linear model": lambda facts: table_rules.examples(
        facts, model="LogisticRegression"
    ),
    "labels of histories": lambda facts: rules.labels(facts, length=rules.LONGEST),
}


def facts_of(rows=1, users=1, items=1, history=1, **others):
    kept = {"labels": "ratings", "mean_label": 3.5, "pairs": rows, "validation": 0, **others}
    return Facts(rows=rows, users=users, items=items, history=history, **kept)


sizes = st.integers(1, 10**9)
any_facts = st.builds(
    facts_of,
    rows=st.integers(0, 10**9),
    users=st.integers(0, 10**9),
    items=st.integers(0, 10**9),
    history=st.integers(0, 10**6),
    pairs=sizes,
    effective_items=st.floats(1.0, 1e9),
    features=st.integers(0, 100),
    categories=st.integers(0, 10**7),
    cross=st.sampled_from([(), ("user", "app")]),
)
INTEGERS = {
    "batch_size": (1, 16384),
    "negatives": (0, 8192),
    "warmup_steps": (0, 1000),
    "epochs": (durations.FEWEST, rules.MOST_PROFILES),
    "patience": (3, rules.MOST_PROFILES),
}
NUMBERS = {
    "learning_rate": (1e-4, 0.1),
    "decay_rate": (0.0, 100.0),
    "unknown_share": (0.0, 0.1),
    "clipnorm": (0.0, 10.0),
    "table_l2": (0.0, table_rules.MOST_L2),
}


@pytest.mark.parametrize("rule", TRAININGS)
@given(facts=any_facts)
def test_training_options_are_in_range_for_any_rows(rule, facts):
    settings_ = TRAININGS[rule](facts)
    assert set(settings_) <= {field.name for field in dataclasses.fields(Training)}
    assert {"batch_size", "epochs", "patience", "learning_rate", "clipnorm"} <= set(settings_)
    for name, (value, why) in settings_.items():
        assert why and "\n" not in why
        if name == "decay":
            assert value in DECAYS
            continue
        if name in INTEGERS:
            assert type(value) is int
        least, most = {**INTEGERS, **NUMBERS}[name]
        assert least <= value <= most, name


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("loss", LOSSES)
@given(facts=any_facts)
def test_arguments_are_those_of_the_constructor_and_in_range(name, loss, facts):
    known = inspect.signature(getattr(models, name)).parameters
    for argument, (value, why) in rules.arguments(name, loss, facts).items():
        assert argument in known and argument in rules.chosen_arguments(name)
        assert why and "\n" not in why
        if name == "FinalMLP" and argument in ("hidden_units", "second_hidden_units"):
            assert facts.features and all(1 <= units <= 512 for units in value)
        elif name == "NeuralFM" and argument == "hidden_units":
            assert value == (128,)
        elif argument in ("embedding_dim", "hidden_units", "num_heads"):
            assert type(value) is int and 1 <= value <= 512
        elif argument in ("dropout", "pair_dropout"):
            assert 0 <= value < 1
        elif argument == "temperature":
            assert value is None or 0.05 <= value <= 0.5
        elif argument == "initial_bias":
            assert loss == "mse" and value == pytest.approx(facts.mean_label, rel=1e-3)
        elif argument == "batch_normalization":
            assert value is (facts.categories > 0) and facts.features
        elif argument == "crosses":
            assert value == [list(facts.cross)] * bool(facts.cross)
        else:
            assert (
                argument in ("l2", "cross_l2", "bias_l2", "stddev", "embedding_l2")
                and 0 <= value <= 3
            )
    for changed in rules.alternatives(name, loss, facts):
        options = {field.name for field in dataclasses.fields(Training)}
        assert changed and set(changed) <= {*known, *options}
        assert 0 <= changed.get("dropout", 0.0) < 1


@pytest.mark.parametrize(
    ("categories", "l2", "embedding_l2"),
    [(0, None, 0.0), (300, None, 0.0), (949, 0.025, 0.0), (5382, 0.05, 0.0), (10**6, None, 3.0)],
)
def test_all_rows_of_many_categories_are_penalised_and_those_of_a_batch_in_large_tables(
    categories, l2, embedding_l2
):
    facts = facts_of(pairs=20_000, features=9, categories=categories)
    chosen = table_rules.examples(facts, model="DeepFM")
    assert chosen.get("table_l2", (None,))[0] == l2
    assert chosen["decay"][0] == "linear"
    assert rules.arguments("DeepFM", "", facts)["embedding_l2"][0] == embedding_l2
    assert "table_l2" not in table_rules.examples(facts, model="FactorizationMachine")
    dim = rules.arguments("DLRM", "", facts).get("embedding_dim", (16,))[0]
    assert dim == {300: 16, 949: 64, 5382: 128}.get(categories, 16)


@pytest.mark.parametrize(
    ("pairs", "categories", "dims"),
    [(200_000, 5382, (128, 16, 256)), (5000, 5382, (16, 4, 32)), (200_000, 200, (16, 4, 32))],
)
def test_vectors_of_factorization_machines_are_long_for_many_categories_and_rows(
    pairs, categories, dims
):
    facts = facts_of(pairs=pairs, features=9, categories=categories)
    names = ("FactorizationMachine", "FieldAwareFM", "NeuralFM")
    assert tuple(rules.arguments(name, "", facts)["embedding_dim"][0] for name in names) == dims


def test_dropped_pairs_are_learned_in_many_small_steps():
    facts = facts_of(pairs=200_000, features=9, categories=5382)
    chosen = table_rules.examples(facts, model="NeuralFM")
    found = {name: chosen[name][0] for name in ("batch_size", "epochs", "learning_rate")}
    assert found == {"batch_size": 128, "epochs": 31, "learning_rate": 0.001}
    assert "table_l2" not in chosen
    assert rules.arguments("NeuralFM", "", facts)["pair_dropout"][0] == 0.6


def test_the_networks_of_an_ensemble_share_the_penalty():
    facts = facts_of(pairs=5000, features=9, categories=5382)
    default = inspect.signature(models.MLPEnsemble).parameters["members"].default
    assert default == table_rules.MEMBERS
    one, several = (
        table_rules.examples(facts, model=name)["table_l2"][0] for name in ("DeepFM", "MLPEnsemble")
    )
    assert several == pytest.approx(one / table_rules.MEMBERS)


def test_pairs_that_repeat_are_crossed():
    facts = facts_of(pairs=200_000, features=9, categories=5382, cross=["app", "user"])
    chosen = rules.arguments("WideAndDeep", "", facts)
    assert chosen["crosses"][0] == [["app", "user"]]
    assert chosen["cross_l2"][0] == 1e-7
    none = rules.arguments("WideAndDeep", "", dataclasses.replace(facts, cross=()))
    assert none["crosses"][0] == []


@given(facts=any_facts)
def test_a_history_is_read_as_far_as_most_users_have_one(facts):
    length, why = rules.max_length(facts)
    assert 10 <= length <= rules.LONGEST and why
    if 10 <= facts.history <= rules.LONGEST:
        assert length == facts.history


@given(rows=sizes, items=st.integers(1, 10**6), more=st.integers(2, 1000))
def test_denser_rows_ask_for_less_dropout_and_not_for_smaller_batches(rows, items, more):
    few, many = (facts_of(rows=n, users=1000, items=items) for n in (rows, rows * more))
    assert rules.density_of(few) <= rules.density_of(many)
    for name in ("SASRec", "GRU4Rec"):
        fewer, higher = (rules.arguments(name, "softmax", one)["dropout"][0] for one in (few, many))
        assert fewer >= higher
    for rule in TRAININGS.values():
        assert rule(few)["batch_size"][0] <= rule(many)["batch_size"][0]
        # Batch sizes are powers of two, so that the steps of an epoch do not only rise.
        assert 2 * rule(few)["epochs"][0] >= rule(many)["epochs"][0]


@given(
    value=st.floats(-10, 1e12),
    bounds=st.tuples(st.integers(0, 12), st.integers(0, 12)).map(sorted),
)
def test_powers_of_two_are_within_their_bounds(value, bounds):
    least, most = (2**one for one in bounds)
    power = durations.power_of_two(value, least, most)
    assert least <= power <= most and power & (power - 1) == 0
    if least < power < most:
        assert power / 2 < value < power * 2


def test_between_a_sparse_and_a_dense_set_values_go_with_the_logarithm():
    def at(per_item):
        return rules.between(facts_of(rows=int(per_item * 1000), items=1000), 0.5, 0.1)

    assert at(1) == at(rules.SPARSE) == 0.5
    assert at(rules.DENSE) == at(10 * rules.DENSE) == 0.1
    assert at((rules.SPARSE * rules.DENSE) ** 0.5) == pytest.approx(0.3, abs=0.01)


def test_the_temperature_falls_with_the_number_of_items_that_compete():
    def at(effective):
        facts = facts_of(rows=10**6, users=1000, items=10**5, effective_items=effective)
        return rules.arguments("MatrixFactorization", "softmax", facts)["temperature"]

    assert at(1.0)[0] == at(rules.FEW)[0] == 0.2 and at(rules.MANY)[0] == at(1e9)[0] == 0.1
    assert at(2000.0) == (0.15, "as many as 2,000 equally popular items")


def test_a_training_that_would_take_hours_has_fewer_epochs_and_says_so():
    facts = facts_of(rows=10**6, users=10**5, items=10**5)
    epochs, why = rules.sequence(facts, length=50)["epochs"]
    assert epochs <= durations.MOST and "CPU seconds" in why
    assert "steps" in rules.ratings(facts_of(rows=10**5, items=1000))["epochs"][1]


def test_the_rate_falls_linearly_where_time_ends_the_training_of_histories():
    short = rules.sequence(facts_of(rows=100_000, items=2_000), length=50)
    long = rules.sequence(facts_of(rows=1_000_000, items=3_500), length=200)
    assert (short["decay"][0], short["decay_rate"][0]) == ("inverse_time", 9.0)
    assert (long["decay"][0], long["decay_rate"][0]) == ("linear", 99.0)
    assert "CPU seconds" in long["epochs"][1] and "steps" in short["epochs"][1]
