import re

import keras
import numpy as np

from kerasrec.runs.epochs import Epochs


def test_a_line_an_epoch_and_the_best_one(capsys):
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(0.1), "mse")
    x = np.ones((8, 1), "float32")
    shown = Epochs(3)
    model.fit(x, 2 * x, validation_data=(x, 2 * x), epochs=3, verbose=0, callbacks=[shown])
    *lines, best = capsys.readouterr().err.splitlines()
    for number, line in enumerate(lines, 1):
        pattern = rf"epoch {number}/3  loss \d\.\d{{4}}  val_loss \d\.\d{{4}}  \d+\.\d s"
        assert re.fullmatch(pattern, line), line
    assert re.fullmatch(r"val_loss was best after epoch 3: 0\.\d{4}", best)


def test_figures_of_single_variables_are_left_out(capsys):
    shown = Epochs(1)
    shown.set_params({"steps": 1})
    shown.on_epoch_begin(0)
    shown.on_epoch_end(0, {"loss": 0.5, "grad_norm/user/embeddings": 3.0})
    assert "grad_norm" not in capsys.readouterr().err


def test_the_best_epoch_is_that_of_the_figure_that_is_watched(capsys):
    shown = Epochs(2, "val_auc", higher=True)
    shown.set_params({"steps": 1})
    for epoch, auc in enumerate((0.8, 0.7)):
        shown.on_epoch_begin(epoch)
        shown.on_epoch_end(epoch, {"loss": 0.5 - epoch / 10, "val_auc": auc, "val_log_loss": 0.1})
    shown.on_train_end()
    first, second, best = capsys.readouterr().err.splitlines()
    assert "loss 0.5000  val_auc 0.8000  " in first and "loss 0.4000  val_auc 0.7000  " in second
    assert best == "val_auc was best after epoch 1: 0.8000" and "log_loss" not in first


def test_without_a_figure_no_epoch_is_the_best(capsys):
    shown = Epochs(1, "")
    shown.set_params({"steps": 1})
    shown.on_epoch_begin(0)
    shown.on_epoch_end(0, {"loss": 0.5})
    shown.on_train_end()
    assert len(capsys.readouterr().err.splitlines()) == 1
