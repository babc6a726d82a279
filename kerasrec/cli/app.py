"""Command line entry point: flags from signatures, YAML files, error messages."""

import contextlib
import functools
import inspect
import os
import sys
from argparse import SUPPRESS
from collections.abc import Callable, Sequence
from typing import Any, Literal

from jsonargparse import ArgumentError, ArgumentParser

import kerasrec
from kerasrec.cli import _fit, commands, demo, doctor, examples, recommend
from kerasrec.cli.flags import in_flags, suggestion, with_lists, with_marks
from kerasrec.cli.model_flags import MODELS, NAMES, add_model_flags, find_entry, given_arguments
from kerasrec.cli.output import Report
from kerasrec.cli.settings import Source, Splitting, choose
from kerasrec.cli.terminal import say_error
from kerasrec.runs.settings import Training

COMMANDS: dict[str, Callable[..., Report | None]] = {
    "audit": commands.audit,
    "fit": _fit.fit,
    "choose": examples.choose_model,
    "evaluate": commands.evaluate,
    "recommend": recommend.recommend,
    "export": commands.export,
    "verify": commands.verify,
    "rollback": commands.rollback,
    "serve": commands.serve,
    "report": commands.report,
    "doctor": doctor.doctor,
    "demo": demo.demo,
}
RESUME = "Continue an unfinished training of this output, if there is one."
REFIT = (
    "Train again on all rows for the epochs found, so that the served model knows the newest rows."
)
REPLICAS = (
    "Devices that share each batch, for the same weights as one: GPUs, or parts of the CPU where "
    "there is none, which are for tests and no faster."
)
BUDGET = (
    "Time for short trainings that compare some settings first, such as 5m; without it the rules "
    "choose."
)
RECIPE = (
    "Print the settings that would be used as YAML, and stop. Edit them, and pass them back with "
    "--config."
)
CHOSEN = "models of rows without users and items; the first of equals is chosen"
WITHOUT_REPORT = ("serve", "demo")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: what follows `kerasrec` on the command line; `sys.argv` by default.

    Returns:
        Exit code: 0 on success, 2 with a message on stderr if the input is invalid, and 1 if a
        requested check failed or an unexpected error occurred.

    Raises:
        SystemExit: after `--help` and `--version`.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        code = _run(arguments or ["--help"])
        sys.stdout.flush()
    except ArgumentError as error:
        message = str(error).replace('"<unicode string>"', "the YAML file")
        hint = suggestion(message, _flags(arguments))
        say_error(f"{message}.{hint} See {_command(arguments)} --help.")
        return 2
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except (ValueError, OSError) as error:
        say_error(in_flags(str(error), _flags(arguments)))
        return 2
    except KeyboardInterrupt:
        say_error("interrupted")
        return 130
    except Exception as error:
        if os.environ.get("KERASREC_TRACEBACK"):
            raise
        say_error(
            f"{type(error).__name__}: {error}. Unexpected error. Set KERASREC_TRACEBACK=1 and run "
            "it again to see the traceback. Check the environment with kerasrec doctor."
        )
        return 1
    return code


def _run(arguments: Sequence[str]) -> int:
    """Run a command and print its report. With `--json` nothing else goes to stdout."""
    command, as_json = parse(arguments)
    with contextlib.redirect_stdout(sys.stderr) if as_json else contextlib.nullcontext():
        found = command()
    if found is None:
        return 0
    print(found.json() if as_json else found.text)
    return found.code


def parse(arguments: Sequence[str]) -> tuple[Callable[[], Report | None], bool]:
    """Return the requested command, ready to run, and whether to print JSON.

    Raises:
        ArgumentError: if a flag or the YAML file is wrong.
        SystemExit: after `--help` and `--version`.
    """
    arguments = with_lists(with_marks(arguments), _flags(arguments))
    if arguments[:1] == ["fit"]:
        return _parse_fit(arguments[1:])
    parser = _parser("Recommender models for Keras: from ratings to a served model.")
    parser.prog = "kerasrec"
    parser.add_argument("--version", action="version", version=f"kerasrec {kerasrec.__version__}")
    subcommands = parser.add_subcommands(dest="command", metavar="command", help="")
    for name, function in COMMANDS.items():
        subparser = _parser(_summary(function))
        if name != "fit":  # its flags depend on the model
            subparser.add_argument("--config", action="config", help="YAML file with these flags.")
            if name == "report":
                subparser.add_argument("runs", nargs="+", type=str, help=commands.RUNS)
            if name == "choose":
                subparser.add_argument("models", nargs="+", type=str, help=CHOSEN)
                subparser.add_class_arguments(Source)
            subparser.add_function_arguments(
                function, as_positional=True, as_group=False, skip={"runs", "models", "source"}
            )
            if name not in WITHOUT_REPORT:
                _add_json(subparser)
        subcommands.add_subcommand(name, subparser, help=_summary(function))
        subparser.prog = f"kerasrec {name}"
    values = parser.parse_args(list(arguments))
    flags = values[values.command].as_dict()
    del flags["config"]
    as_json = flags.pop("json", False)
    if values.command == "choose":
        source = choose(Source, flags)
        own = {name: value for name, value in flags.items() if not hasattr(source, name)}
        flags = {**own, "source": source}
    return functools.partial(COMMANDS[values.command], **flags), as_json


def _parse_fit(arguments: Sequence[str]) -> tuple[Callable[[], Report | None], bool]:
    """Parse `fit`, whose flags are a model's constructor arguments besides the common ones."""
    parser = _parser(_summary(_fit.fit))
    parser.prog = "kerasrec fit"
    subcommands = parser.add_subcommands(dest="model", metavar="model", help="")
    for name in NAMES:
        # Without an entry, the class is imported, but only where it is asked for.
        known = name in MODELS or name in arguments
        summary = find_entry(name)[0] if known else "A model of this package."
        subparser = _parser(summary)
        subparser.add_argument("--config", action="config", help="YAML file with these flags.")
        # The config.yaml of a run names its model, and must be accepted as it is.
        subparser.add_argument("--model", type=Literal[name], default=name, help=SUPPRESS)
        subparser.add_argument("--output", type=str | None, help="Directory to write.")
        subparser.add_argument("--budget", type=str | float | None, help=BUDGET)
        subparser.add_argument("--recipe", action="store_true", help=RECIPE)
        subparser.add_argument("--resume", action="store_true", help=RESUME)
        subparser.add_argument("--refit", action="store_true", help=REFIT)
        subparser.add_argument("--replicas", type=int | None, default=None, help=REPLICAS)
        if known:
            add_model_flags(subparser, name)
        for settings in (Source, Splitting, Training):
            subparser.add_class_arguments(settings)
        _add_json(subparser)
        subcommands.add_subcommand(name, subparser, help=summary)
        subparser.prog = f"kerasrec fit {name}"
    values = parser.parse_args(list(arguments))
    flags = values[values.model].as_dict()
    command = functools.partial(
        _fit.fit,
        values.model,
        given_arguments(values.model, flags),
        choose(Source, flags),
        choose(Splitting, flags),
        choose(Training, flags),
        output=flags["output"],
        budget=flags["budget"],
        recipe=flags["recipe"],
        resume=flags["resume"],
        refit=flags["refit"],
        replicas=flags["replicas"],
    )
    return command, flags["json"]


def _add_json(parser: ArgumentParser) -> None:
    text = "Print one JSON document to stdout, and everything else to stderr."
    parser.add_argument("--json", action="store_true", help=text)


def _parser(description: str) -> ArgumentParser:
    return ArgumentParser(description=description, exit_on_error=False, allow_abbrev=False)


def _command(arguments: Sequence[str]) -> str:
    """Return the part of the arguments that names a command, with its model."""
    words = ["kerasrec"]
    if arguments and arguments[0] in COMMANDS:
        words.append(arguments[0])
        if arguments[0] == "fit" and len(arguments) > 1 and arguments[1] in NAMES:
            words.append(arguments[1])
    return " ".join(words)


def _flags(arguments: Sequence[str]) -> dict[str, str]:
    """Return the types of the command's flags, by name."""
    _, *command = _command(arguments).split()
    functions: list[Callable[..., Any]] = [COMMANDS[name] for name in command[:1]]
    if command[:1] == ["fit"]:
        functions = [Source, Splitting, Training]
    if command[:1] == ["choose"]:
        functions.append(Source)
    found = {
        name: str(parameter.annotation)
        for function in functions
        for name, parameter in inspect.signature(function).parameters.items()
    }
    found |= {flag.name: str(flag.type) for model in command[1:] for flag in find_entry(model)[1]}
    own = {"json": "bool", "output": "str", "budget": "str", "replicas": "int"}
    return {**found, "config": "str", **own}


def _summary(function: Callable[..., Any]) -> str:
    return (inspect.getdoc(function) or "").partition("\n")[0]
