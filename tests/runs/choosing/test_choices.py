"""What is given stays, the rules choose the rest, each with a reason, as text that reads back."""

import dataclasses

import pytest
import yaml

from kerasrec import data, models
from kerasrec.cli.app import parse
from kerasrec.runs import Training, choose
from kerasrec.runs.choosing.choices import Choices, loss_of
from kerasrec.types import is_computed

# Fields that no rule chooses: they have a default, or None has a meaning of its own.
LEFT = {"valid_negatives", "gradient_interval", "unknown_share", "negatives"}
LEFT |= {"clipvalue", "global_clipnorm", "clip_weights", "max_norm", "table_l2"}
# Without effect but for log_loss.
LEFT |= {"calibration", "positive_weight", "negative_share", "focal_gamma"}
LEFT |= {"gradient_accumulation_steps"}


@pytest.mark.parametrize("name", [name for name in models.__all__ if name != "Recommender"])
def test_everything_is_chosen_and_has_a_reason(name, ready):
    chosen = choose(name, ready)
    assert chosen.describe().count("\n") == 0
    assert choose(name, ready) == chosen
    assert set(chosen.reasons) <= set(chosen.settings)
    if is_computed(getattr(models, name)):
        assert chosen.training == Training()
        return
    options = dataclasses.asdict(chosen.training)
    assert {option for option, value in options.items() if value is None} <= LEFT
    assert {"loss", "batch_size", "learning_rate", "epochs"} <= set(chosen.reasons)
    assert "given" not in chosen.reasons.values()
    assert chosen.training.loss == loss_of(name) == loss_of(getattr(models, name))
    assert (chosen.max_length is None) == (
        name not in ("DIN", "SASRec", "GRU4Rec", "StackedLSTMClassifier")
    )
    rows = chosen.prepared(ready)
    model = chosen.make(rows)
    assert model.get_config().items() >= chosen.arguments.items()


def test_what_is_given_stays_whatever_it_is(ready):
    given = Training(epochs=3, batch_size=7, clipnorm=0.0, warmup_steps=5)
    chosen = choose(
        "SASRec", ready, given, max_length=4, arguments={"dropout": 0.0}, learning_rate=0.5
    )
    wanted = {"epochs": 3, "batch_size": 7, "clipnorm": 0.0, "warmup_steps": 5, "max_length": 4}
    wanted |= {"dropout": 0.0, "learning_rate": 0.5}
    assert chosen.settings.items() >= wanted.items()
    assert {name for name, why in chosen.reasons.items() if why == "given"} == set(wanted)
    shown = chosen.describe()
    assert "dropout" not in shown and "embedding_dim" in shown and "4 positive" not in shown


@pytest.mark.parametrize(
    ("given", "dim", "heads"),
    [
        ({"embedding_dim": 5}, 5, 1),
        ({"embedding_dim": 6}, 6, 2),
        ({"num_heads": 3}, 129, 3),
        ({"num_heads": 4}, 128, 4),
    ],
)
def test_a_chosen_number_of_heads_divides_the_dimension(given, dim, heads, ready):
    chosen = choose("SASRec", ready, arguments=given)
    assert (chosen.arguments["embedding_dim"], chosen.arguments["num_heads"]) == (dim, heads)
    chosen.make(chosen.prepared(ready))


def test_what_is_given_and_cannot_be_is_left_to_the_model(ready):
    chosen = choose("SASRec", ready, arguments={"embedding_dim": 5, "num_heads": 2})
    with pytest.raises(ValueError, match="embedding_dim must be a multiple of num_heads=2"):
        chosen.make(chosen.prepared(ready))


def test_arguments_of_a_model_that_is_there_are_not_chosen(ready):
    model = models.MatrixFactorization(ready.schema, embedding_dim=2)
    chosen = choose(model, ready)
    assert (
        chosen.arguments == {} and chosen.training == choose("MatrixFactorization", ready).training
    )


def test_histories_that_are_there_decide_their_length(with_history):
    chosen = choose("SASRec", with_history)
    assert chosen.max_length == 4 and chosen.prepared(with_history) is with_history


def test_stock_optimizers_are_not_told_to_clip(ready):
    assert choose("NeuMF", ready).training.clipnorm == 1.0
    assert choose("NeuMF", ready, optimizer="nadam").training.clipnorm == 0.0
    assert choose("NeuMF", ready, clipvalue=0.5).training.clipnorm == 0.0


def test_options_that_do_not_exist_are_refused(ready):
    with pytest.raises(ValueError, match=r"no options \['epoch'\]"):
        choose("NeuMF", ready, epoch=3)
    with pytest.raises(ValueError, match="'adem': there is no such optimizer"):
        choose("NeuMF", ready, optimizer="adem")
    for name in ("SASrec", "Recommender", "base"):
        with pytest.raises(ValueError, match=f"model='{name}': there is no such model; .*SASRec"):
            choose(name, ready)


@pytest.mark.parametrize("name", ["SASRec", "MatrixFactorization", "Popularity", "EmbeddingMLP"])
def test_json_reads_back(name, ready):
    chosen = choose(name, ready, arguments={"dtype": "bfloat16"})
    assert Choices.load(chosen.dump()) == chosen


@pytest.mark.parametrize("name", ["SASRec", "MatrixFactorization", "Popularity", "EmbeddingMLP"])
def test_yaml_is_read_as_flags_and_leaves_nothing_to_choose(name, ready, tmp_path):
    length = {"max_length": 4} if name == "SASRec" else {}
    hidden = {"hidden_units": (8, 4)} if name == "EmbeddingMLP" else {}
    epochs = {} if name == "Popularity" else {"epochs": 3}
    chosen = choose(name, ready, arguments=hidden, **epochs, **length)
    text = chosen.to_yaml(data="rows: of #1.csv", positive=">=4", max_length=None)
    assert text.startswith("# Chosen for 81 positive rows, 30 users, 20 items.\n")
    held = yaml.safe_load(text)
    assert held["data"] == "rows: of #1.csv" and held["model"] == name
    assert "clipvalue" not in held and ("temperature" in held) == (name == "MatrixFactorization")
    for setting, why in chosen.reasons.items():
        assert f"  # {why}\n" in text, setting
    file = tmp_path / "recipe.yaml"
    file.write_text(text)
    command, _ = parse(["fit", name, "--config", str(file), "--output", "out"])
    _, arguments, source, _, training = command.args
    again = choose(name, ready, training, max_length=source.max_length, arguments=arguments)
    assert again.training == chosen.training and again.max_length == chosen.max_length
    assert {n: str(v) for n, v in again.arguments.items()} == {
        n: str(list(v) if isinstance(v, tuple) else v) for n, v in chosen.arguments.items()
    }
    if name != "Popularity":
        assert set(again.reasons.values()) == {"given"}
        assert "nothing was left to choose" in again.describe()


@pytest.mark.parametrize("loss", [None, "log_loss"])
def test_examples_whose_labels_are_all_positives_are_refused(loss):
    rows = data.Examples.from_table({"x": [1.5, 2.5, 3.5], "label": [2, 2, 2]})
    with pytest.raises(ValueError, match="all of 3 training rows"):
        choose("FeatureMLP", data.prepare_examples(rows), loss=loss)


@pytest.mark.parametrize(
    ("model", "given", "message"),
    [
        ("EASE", {"loss": "mse"}, "loss='mse': EASE is computed from the rows"),
        ("ItemKNN", {"loss": "softmax", "epochs": 3}, "loss='softmax': ItemKNN is computed"),
        ("EASE", {"max_length": 20}, "max_length=20: EASE reads no history by itself"),
        ("MatrixFactorization", {"max_length": 20}, "MatrixFactorization reads no history"),
    ],
)
def test_options_without_effect_are_refused(model, given, message, ready):
    with pytest.raises(ValueError, match=message):
        choose(model, ready, **given)
    assert choose(model, ready, seed=3).training.seed == 3


def test_another_length_than_that_of_the_histories_is_refused(with_history):
    assert choose("SASRec", with_history, max_length=4).max_length == 4
    with pytest.raises(ValueError, match="max_length=20: the histories of the rows have up to 4"):
        choose("SASRec", with_history, max_length=20)
