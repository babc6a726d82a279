"""The directory of a training: made first, refused where it must be, gone in the end."""

import pytest

from kerasrec.runs.unfinished import begin, give_up, remember_rows

FLAGS = {"model": "SASRec", "epochs": 3, "context": ()}


def test_the_directory_is_there_before_anything_is_read(tmp_path):
    folder = begin(tmp_path / "runs" / "mf", FLAGS, resume=False)
    assert folder == tmp_path / "runs" / ".mf.training"
    assert [file.name for file in folder.iterdir()] == ["config.yaml"]
    give_up(folder)
    assert not folder.exists()


def test_what_cannot_be_written_is_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match="--output .*file/mf: .* cannot be written"):
        begin(tmp_path / "file" / "mf", FLAGS, resume=False)
    (tmp_path / "mf").mkdir()
    with pytest.raises(ValueError, match="mf exists already.*Choose another --output"):
        begin(tmp_path / "mf", FLAGS, resume=True)


def test_an_unfinished_training_is_neither_overwritten_nor_mixed(tmp_path):
    folder = begin(tmp_path / "mf", FLAGS, resume=True)  # there is none yet
    with pytest.raises(ValueError, match="an unfinished training of it lies in .*--resume"):
        begin(tmp_path / "mf", FLAGS, resume=False)
    assert begin(tmp_path / "mf", FLAGS, resume=True) == folder
    with pytest.raises(ValueError, match=r"other flags: epochs 4 \(before 3\)"):
        begin(tmp_path / "mf", {**FLAGS, "epochs": 4}, resume=True)
    (folder / "config.yaml").write_text("- 1")
    with pytest.raises(ValueError, match="is not an unfinished training"):
        begin(tmp_path / "mf", FLAGS, resume=True)


def test_other_rows_are_refused(tmp_path):
    rows = {"train": {"rows": 3, "sha256": {"rating": "a"}}}
    remember_rows(tmp_path, rows)
    remember_rows(tmp_path, rows)
    other = {"train": {"rows": 3, "sha256": {"rating": "b"}}}
    with pytest.raises(ValueError, match="--resume: the rows are not.*rating of the train rows"):
        remember_rows(tmp_path, other)


def test_what_was_learned_is_not_removed(tmp_path):
    folder = begin(tmp_path / "mf", FLAGS, resume=False)
    (folder / "state.npz").touch()
    give_up(folder)
    assert folder.exists()
