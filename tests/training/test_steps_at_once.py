"""Many steps run at once only where nobody counts batches."""

import keras
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kerasrec.callbacks import ExactResume, GradientMonitor, TrainingDiagnostics
from kerasrec.runs.epochs import Epochs
from kerasrec.training.steps_at_once import HOOKS, counts_batches, steps_at_once


def overriding(hook):
    return type("Own", (keras.callbacks.Callback,), {hook: lambda self, batch, logs=None: None})()


@pytest.mark.parametrize("hook", HOOKS)
def test_a_callback_with_a_batch_hook_counts_unless_it_says_otherwise(hook):
    callback = overriding(hook)
    assert counts_batches(callback)
    assert steps_at_once(32, [keras.callbacks.History(), callback], [None]) == 1
    callback.counts_batches = False
    assert not counts_batches(callback)


KERAS = keras.callbacks


@pytest.mark.parametrize(
    ("make", "counts"),
    [
        (lambda path: KERAS.ModelCheckpoint(path + "/a.keras"), False),
        (lambda path: KERAS.ModelCheckpoint(path + "/a.keras", save_freq=100), True),
        (lambda path: KERAS.BackupAndRestore(path), False),
        (lambda path: KERAS.BackupAndRestore(path, save_freq=100), True),
        (lambda path: KERAS.TensorBoard(path), False),
        (lambda path: KERAS.TensorBoard(path, update_freq=100), True),
        (lambda path: KERAS.TensorBoard(path, update_freq="batch"), True),
        (lambda path: KERAS.TensorBoard(path, profile_batch=(2, 4)), True),
        (lambda path: KERAS.EarlyStopping(), False),
        (lambda path: KERAS.CSVLogger(path + "/a.csv"), False),
        (lambda path: KERAS.ReduceLROnPlateau(), False),
        (lambda path: KERAS.LearningRateScheduler(lambda epoch: 0.1), False),
        (lambda path: KERAS.SwapEMAWeights(), False),
        (lambda path: KERAS.ProgbarLogger(), False),
        (lambda path: KERAS.TerminateOnNaN(), True),
        (lambda path: KERAS.LambdaCallback(on_epoch_end=lambda epoch, logs: None), False),
        (lambda path: KERAS.LambdaCallback(on_train_batch_end=lambda batch, logs: None), True),
        (lambda path: ExactResume(path + "/a.npz"), False),
        (lambda path: ExactResume(path + "/a.npz", save_freq=7), True),
        (lambda path: TrainingDiagnostics(), False),
        (lambda path: GradientMonitor(), False),
        (lambda path: Epochs(3), False),
        (lambda path: KERAS.CallbackList([KERAS.History()]), False),
    ],
)
def test_callbacks_of_keras_and_of_this_library(make, counts, tmp_path):
    callback = make(str(tmp_path))
    assert counts_batches(callback) is counts or isinstance(callback, KERAS.CallbackList)
    assert steps_at_once(32, callback, [None]) == (1 if counts else 32)


class WithAFrequency(keras.callbacks.ModelCheckpoint):
    """A user's own, whose hook does more than that of Keras."""

    def on_train_batch_end(self, batch, logs=None):
        self.seen = batch


def test_a_subclass_of_one_of_keras_counts_if_it_overrides_the_hook(tmp_path):
    assert counts_batches(WithAFrequency(tmp_path / "a.keras"))


@given(st.integers(1, 64), st.lists(st.none() | st.integers(1, 500), max_size=3))
def test_every_count_is_a_whole_number_of_calls(most, counts):
    found = steps_at_once(most, None, counts)
    given_counts = [count for count in counts if count]
    assert 1 <= found <= most
    assert all(count % found == 0 for count in given_counts)
    larger = range(found + 1, most + 1)
    assert not any(all(count % n == 0 for count in given_counts) for n in larger)
