"""Directory of an unfinished training, beside the future run directory.

While `kerasrec fit --output runs/mf` trains, `runs/.mf.training` holds

| file | holds |
|---|---|
| `config.yaml` | the flags, which `--resume` must repeat |
| `split.json` | the checksums of the rows |
| `choices.json` | all settings, with those that the rules or a search chose |
| `state.npz` | what `kerasrec.callbacks.ExactResume` writes after each epoch |
| `best-N.npz` | the weights after epoch N, the best on the validation rows |
| `refit.npz` | the state of the training on all rows, with `--refit` |

It is removed once the run directory has appeared, which happens in one rename.
"""

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from kerasrec._files import new_file
from kerasrec.runs.directory import changes, training_directory


def begin(output: str | os.PathLike[str], flags: Mapping[str, Any], *, resume: bool) -> Path:
    """Create the directory of a training and check that it can be written.

    Returns:
        The directory of the training.

    Raises:
        ValueError: if the run exists already, nothing can be written, an unfinished training exists
            without `--resume`, or it has other flags.
    """
    if Path(output).exists():
        raise ValueError(
            f"{output} exists already, and a run is never overwritten. Choose another --output, or "
            "remove it."
        )
    folder = training_directory(output)
    if folder.exists():
        if not resume:
            raise ValueError(
                f"{output}: an unfinished training of it lies in {folder}. Continue with --resume, "
                "or remove that folder."
            )
        _check_flags(folder, flags)
        return folder
    try:
        folder.mkdir(parents=True)
        text = yaml.safe_dump(dict(flags), sort_keys=False)
        with new_file(folder / "config.yaml") as path:
            path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ValueError(
            f"--output {output}: {folder} cannot be written ({error.strerror}). Choose another "
            "--output, or free some space."
        ) from error
    return folder


def remember_rows(folder: Path, fingerprint: Mapping[str, Any]) -> None:
    """Write the checksums of the rows, or compare them with the earlier training's.

    Raises:
        ValueError: if the rows differ.
    """
    file = folder / "split.json"
    if not file.is_file():
        with new_file(file) as path:
            path.write_text(json.dumps(fingerprint), encoding="utf-8")
        return
    if changed := changes(json.loads(file.read_text(encoding="utf-8")), fingerprint):
        raise ValueError(
            f"--resume: the rows are not those that the training began with: different "
            f"{', '.join(changed)}. Restore the data, or remove {folder} and train again."
        )


def give_up(folder: Path) -> None:
    """Remove the directory of a training in which no epoch ended."""
    if not list(folder.glob("*.npz")):
        shutil.rmtree(folder, ignore_errors=True)


def _check_flags(folder: Path, flags: Mapping[str, Any]) -> None:
    try:
        before = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))
        # As they come back from a file.
        now = yaml.safe_load(yaml.safe_dump(dict(flags)))
        other = [name for name in {**before, **now} if before.get(name) != now.get(name)]
    except (OSError, TypeError, AttributeError, yaml.YAMLError) as error:
        raise ValueError(
            f"--resume: {folder} is not an unfinished training ({type(error).__name__}). Remove it."
        ) from error
    if other:
        found = ", ".join(f"{n} {now.get(n)!r} (before {before.get(n)!r})" for n in other)
        raise ValueError(
            f"--resume: the unfinished training in {folder} has other flags: {found}. Repeat those "
            "of before, or remove that folder."
        )
