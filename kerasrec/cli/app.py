"""The command line: flags from signatures, one YAML file of the same names, plain messages."""

import functools
import inspect
import sys
from argparse import SUPPRESS
from collections.abc import Callable, Sequence
from typing import Literal

from jsonargparse import ArgumentError, ArgumentParser

import kerasrec
from kerasrec.cli import commands, demo, fitting, reporting, serving
from kerasrec.cli.settings import Source, Splitting, Training, choose
from kerasrec.cli.signatures import constructor, model_names

COMMANDS: dict[str, Callable[..., None]] = {
    "audit": commands.audit,
    "fit": fitting.fit,
    "evaluate": commands.evaluate,
    "recommend": commands.recommend,
    "export": commands.export,
    "verify": commands.verify,
    "rollback": commands.rollback,
    "serve": serving.serve,
    "report": reporting.report,
    "demo": demo.demo,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command.

    Args:
        arguments: what follows `kerasrec` on the command line; `sys.argv` by default.

    Returns:
        Exit code: 0, or 2 with a message on stderr if the user's input is at fault.

    Raises:
        SystemExit: after `--help` and `--version`.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        parse(arguments)()
    except ArgumentError as error:
        message = " ".join(str(error).replace('"<unicode string>"', "the YAML file").split())
        print(f"kerasrec: {message}. {_command(arguments)} --help says what fits.", file=sys.stderr)
        return 2
    except (ValueError, OSError) as error:
        print(f"kerasrec: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("kerasrec: interrupted", file=sys.stderr)
        return 130
    return 0


def parse(arguments: Sequence[str]) -> Callable[[], None]:
    """The command that the arguments ask for, ready to run.

    Raises:
        ArgumentError: if a flag or the YAML file is wrong.
        SystemExit: after `--help` and `--version`.
    """
    if list(arguments[:1]) == ["fit"]:
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
                subparser.add_argument("runs", nargs="+", type=str, help=reporting.RUNS)
            subparser.add_function_arguments(
                function, as_positional=True, as_group=False, skip={"runs"}
            )
        subcommands.add_subcommand(name, subparser, help=_summary(function))
        subparser.prog = f"kerasrec {name}"
    values = parser.parse_args(list(arguments))
    flags = values[values.command].as_dict()
    del flags["config"]
    return functools.partial(COMMANDS[values.command], **flags)


def _parse_fit(arguments: Sequence[str]) -> Callable[[], None]:
    """A model's flags are its constructor's arguments, beside those of reading and training."""
    parser = _parser(_summary(fitting.fit))
    parser.prog = "kerasrec fit"
    subcommands = parser.add_subcommands(dest="model", metavar="model", help="")
    for name in model_names():
        subparser = _parser(_summary(constructor(name)))
        subparser.add_argument("--config", action="config", help="YAML file with these flags.")
        # So that the config.yaml of a run, which names its model, can be given as it is.
        subparser.add_argument("--model", type=Literal[name], default=name, help=SUPPRESS)
        subparser.add_argument("--output", type=str, required=True, help="Directory to write.")
        subparser.add_function_arguments(constructor(name))
        for settings in (Source, Splitting, Training):
            subparser.add_class_arguments(settings)
        subcommands.add_subcommand(name, subparser, help=_summary(constructor(name)))
        subparser.prog = f"kerasrec fit {name}"
    values = parser.parse_args(list(arguments))
    flags = values[values.model].as_dict()
    parameters = inspect.signature(constructor(values.model)).parameters
    return functools.partial(
        fitting.fit,
        values.model,
        {name: flags[name] for name in parameters},
        choose(Source, flags),
        choose(Splitting, flags),
        choose(Training, flags),
        output=flags["output"],
    )


def _parser(description: str) -> ArgumentParser:
    return ArgumentParser(description=description, exit_on_error=False, allow_abbrev=False)


def _command(arguments: Sequence[str]) -> str:
    """The part of the arguments that names a command, with its model."""
    words = ["kerasrec"]
    if arguments and arguments[0] in COMMANDS:
        words.append(arguments[0])
        if arguments[0] == "fit" and len(arguments) > 1 and arguments[1] in model_names():
            words.append(arguments[1])
    return " ".join(words)


def _summary(function: Callable[..., None]) -> str:
    return (inspect.getdoc(function) or "").partition("\n")[0]
