"""Search within a budget: who goes on, who wins, and what stays as it is given."""

import keras
import pytest

from kerasrec.runs import Training, choose, search
from kerasrec.runs.choosing import rules, successive_halving
from kerasrec.runs.choosing.choices import Choices
from kerasrec.runs.choosing.successive_halving import with_changes
from kerasrec.runs.settings import seconds_of

EPOCHS = Training(epochs=32, jit_compile=False)


@pytest.mark.parametrize(
    ("budget", "seconds"),
    [("90", 90), ("90s", 90), (" 5m ", 300), ("1.5h", 5400), (0.5, 0.5), (3, 3)],
)
def test_budgets(budget, seconds):
    assert seconds_of(budget) == seconds


@pytest.mark.parametrize("budget", ["0", "5x", "", "-3", "m", 0, "nan", "1e3", float("inf"), None])
def test_what_is_no_budget(budget, ready):
    for call in (seconds_of, lambda given: search("NeuMF", ready, budget=given)):
        with pytest.raises(ValueError, match="expected a time above 0, such as '90s'"):
            call(budget)


@pytest.fixture
def planted(monkeypatch):
    """Trains without a model: figures by learning rate and epoch, seconds an epoch, on a clock."""

    class Clock:
        now, seconds, trained = 0.0, 1.0, []  # noqa: RUF012

    def install(figures, *, higher=True, seconds=1.0):
        clock = Clock()
        clock.seconds, clock.trained = seconds, []

        def train(self, first, last, end):
            if clock.now + (last - first) * clock.seconds > end:
                clock.now = end
                return False
            clock.now += (last - first) * clock.seconds
            rate = self.changed.get("learning_rate")
            clock.trained.append((rate, first, last))
            self.monitor, self.higher = "val_figure", higher
            self.figure = figures[rate][last] if isinstance(figures[rate], dict) else figures[rate]
            return True

        monkeypatch.setattr(successive_halving._Candidate, "train", train)
        monkeypatch.setattr(successive_halving.time, "perf_counter", lambda: clock.now)
        others = [{"learning_rate": rate} for rate in figures if rate is not None]
        monkeypatch.setattr(rules, "alternatives", lambda *_: others)
        return clock

    return install


def found(ready, **options):
    return search("NeuMF", ready, EPOCHS, **{"budget": 1000, "verbose": 0, **options})


def test_half_of_them_go_on_for_twice_as_long(planted, ready):
    clock = planted({None: 0.1, 0.1: 0.2, 0.2: 0.4, 0.3: 0.3})
    chosen = found(ready)
    first = [(rate, 0, 4) for rate in (None, 0.1, 0.2, 0.3)]
    assert clock.trained == [*first, (0.2, 4, 8), (0.3, 4, 8)]
    assert chosen.training.learning_rate == 0.2
    assert chosen.reasons["learning_rate"] == "best of the short trainings: val_figure 0.4000"
    base = choose("NeuMF", ready, EPOCHS)
    assert with_changes(base, {"learning_rate": 0.2}, chosen.reasons["learning_rate"]) == chosen


def test_lower_errors_win_and_ties_go_to_the_rules(planted, ready):
    planted({None: 0.4, 0.1: 0.3, 0.2: 0.5}, higher=False)
    assert found(ready).training.learning_rate == 0.1
    planted({None: 0.3, 0.1: 0.3})
    assert found(ready) == choose("NeuMF", ready, EPOCHS)


def test_a_setting_that_learns_late_may_win(planted, ready):
    planted({None: {4: 0.4, 8: 0.41}, 0.1: {4: 0.3, 8: 0.5}, 0.2: {4: 0.1}})
    assert found(ready).training.learning_rate == 0.1


@pytest.mark.parametrize(
    ("budget", "rate", "trained"),
    [
        (11.5, 0.2, 2),  # the third does not fit: the best of two
        (16.5, 0.3, 4),  # one whole round
        (21, 0.3, 5),  # a second round that is not whole does not count
        (24.5, 0.2, 6),
    ],
)
def test_a_budget_that_ends(budget, rate, trained, planted, ready):
    clock = planted({None: 0.1, 0.2: {4: 0.2, 8: 0.9}, 0.3: {4: 0.3, 8: 0.4}, 0.4: 0.15})
    assert found(ready, budget=budget).training.learning_rate == rate
    assert len(clock.trained) == trained and clock.now <= budget


def test_a_budget_for_less_than_two_settings_leaves_it_to_the_rules(planted, ready, capsys):
    planted({None: 0.1, 0.2: 0.2})
    for budget in (3, 7):
        assert found(ready, budget=budget) == choose("NeuMF", ready, EPOCHS)
        assert "The budget ended before two settings" in capsys.readouterr().err


def test_settings_that_diverge_lose(planted, ready, capsys):
    nan = float("nan")
    planted({None: nan, 0.1: 0.01, 0.2: nan})
    assert found(ready).training.learning_rate == 0.1
    planted({None: nan, 0.1: nan})
    assert found(ready) == choose("NeuMF", ready, EPOCHS)
    assert "None of the settings had a finite loss" in capsys.readouterr().err


def test_what_is_given_is_the_same_in_all_of_them(ready, monkeypatch):
    others = [{"l2": 0.5}, {"l2": 0.5, "learning_rate": 0.1}, {"dropout": 0.3}]
    monkeypatch.setattr(rules, "alternatives", lambda *_: others)
    base = choose("NeuMF", ready, arguments={"l2": 0.25, "dropout": 0.0}, epochs=7)
    candidates = successive_halving._Candidate.all_of(base, ready)
    assert [one.changed for one in candidates] == [{}, {"learning_rate": 0.1}]
    for one in candidates:
        settings = one.choices.settings
        assert (settings["l2"], settings["dropout"], settings["epochs"]) == (0.25, 0.0, 7)


@pytest.mark.parametrize("name", ["SASRec", "GRU4Rec", "MatrixFactorization", "NeuMF"])
def test_every_alternative_of_the_rules_makes_a_model(name, ready):
    for loss in ("softmax", "mse") if name == "MatrixFactorization" else (None,):
        base = choose(name, ready, loss=loss)
        candidates = successive_halving._Candidate.all_of(base, ready)
        assert 2 <= len(candidates) <= 4
        for one in candidates:
            one.choices.make(one.ready)
            assert all(one.choices.settings[n] == v for n, v in one.changed.items())


@pytest.mark.parametrize("name", ["Popularity", "EASE"])
def test_a_model_without_epochs_has_nothing_to_compare(name, ready, capsys):
    assert search(name, ready, budget=9, verbose=1) == choose(name, ready)
    assert f"{name} has no settings to compare" in capsys.readouterr().err


def test_without_validation_rows_nothing_can_be_compared(rated):
    from kerasrec import data

    with pytest.raises(ValueError, match="budget='1m': there are no positive validation rows"):
        search("NeuMF", data.prepare(rated, positive=">=4"), budget="1m")


@pytest.mark.slow
def test_a_better_setting_wins_in_real_trainings(ready, monkeypatch, capsys):
    """A rate at which nothing is learned against one at which even items are found."""
    others = [{"learning_rate": 0.05}, {"learning_rate": 1e30}]
    monkeypatch.setattr(rules, "alternatives", lambda *_: others)
    monkeypatch.setattr(
        rules, "retrieval", lambda facts: {"learning_rate": (1e-9, "planted"), "epochs": (16, "so"),
                                           "batch_size": (32, "so")}
    )  # fmt: skip
    given = Training(jit_compile=False)
    sizes = {"embedding_dim": 4, "use_bias": True, "temperature": None}
    keras.utils.set_random_seed(0)
    chosen = search("MatrixFactorization", ready, given, budget="2m", arguments=sizes)
    assert chosen.training.learning_rate == 0.05 and chosen.training.epochs == 16
    said = capsys.readouterr().err
    assert said.startswith("Comparing 3 settings in 120 seconds at most.\n")
    assert "  what the rules chose: val_ndcg@10 0." in said and "after epoch 2\n" in said
    assert "Best of them: learning_rate 0.05." in said
    keras.utils.set_random_seed(0)
    again = search("MatrixFactorization", ready, given, budget="2m", arguments=sizes, verbose=0)
    assert again == chosen and capsys.readouterr().err == ""


def test_the_first_training_too_ends_with_the_budget(ready, capsys):
    given = Training(jit_compile=False, epochs=1000, batch_size=8, loss="softmax")
    sizes = {"embedding_dim": 4}
    base = choose("MatrixFactorization", ready, given, arguments=sizes)
    found = search("MatrixFactorization", ready, given, budget=0.5, arguments=sizes, verbose=0)
    assert found == base
    assert "The budget ended before two settings" in capsys.readouterr().err


def test_a_setting_that_the_model_refuses_is_left_out(ready, capsys, monkeypatch):
    monkeypatch.setattr(rules, "alternatives", lambda *_: [{"l2": 0.125}, {"l2": 0.5}])
    make = Choices.make

    def refuse(self, rows):
        if self.arguments.get("l2") == 0.125:
            raise ValueError("l2 is refused")
        return make(self, rows)

    monkeypatch.setattr(Choices, "make", refuse)
    found = search("EmbeddingMLP", ready, Training(epochs=2, jit_compile=False), budget=1000)
    assert found.arguments.get("l2") != 0.125
    assert "l2 0.125: left out. l2 is refused" in capsys.readouterr().err
