"""The command ``zoo``. Exit codes: 0 ok, 1 failure, 2 usage, 3 constraint not met, 4 verification failed."""

from __future__ import annotations

import importlib
import os
import signal
import sys
import traceback
from collections.abc import Mapping, Sequence
from types import FrameType
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from search.first import is_first
from zoo.cli.console import harmless, told_after_interrupt
from zoo.errors import INTERRUPTED, OK, USAGE, exit_code, memory_error, one_line
from zoo.home import zoo_version

_HELP = "From a folder of unlabelled images, a device and a budget to a verified, measured, deployable network."

# Letters of an error: paths and names that are cut would be of no use, and nobody reads more.
_LONGEST = 1200

# Where each command is; those of a group come with a line of help.
COMMANDS = {
    "list": "models.list_command",
    "info": "models.info_command",
    "get": "models.get_command",
    "search": "search.search_command",
    "pretrain": "train.pretrain_command",
    "darts": "train.darts_command",
    "finetune": "finetune.finetune_command",
    "evaluate": "evaluate.evaluate_command",
    "predict": "evaluate.predict_command",
    "study": "evaluate.study_command",
    "export": "export.export_command",
    "benchmark": "export.benchmark_command",
    "report": "models.report_command",
    "push": "hub.push_command",
    "pull": "hub.pull_command",
    "env": "models.env_command",
}
GROUPS = {
    "devices": (
        "Latency tables: find one, check one, make one.",
        {
            "list": "devices.list_command",
            "show": "devices.show_command",
            "validate": "devices.validate_command",
            "measure": "devices_measure.measure_command",
            "kit": "devices_measure.kit_command",
            "import": "devices_measure.import_command",
            "sample": "devices_fit.sample_command",
            "fit": "devices_fit.fit_command",
            "adapt": "devices_fit.adapt_command",
            "fit-public": "devices_fit.fit_public_command",
        },
    ),
    "cache": (
        "What the caches hold, and how to make room.",
        {"list": "hub.list_command", "clean": "hub.clean_command"},
    ),
}


class OneLineErrors(TyperGroup):
    """A command group whose failures are one line on stderr and the right exit code."""

    def main(self, args: Sequence[str] | None = None, *more: Any, standalone_mode: bool = True, **kwargs: Any) -> Any:
        """As typer's, but every error goes through ``_report``, and ``~`` is the home wherever it begins a path."""
        words = [_at_home(word) for word in (sys.argv[1:] if args is None else args)]
        try:
            kwargs["standalone_mode"] = False
            code = super().main(words, *more, **kwargs) or OK
        except Exception as error:
            code = _report(error)
        if code == INTERRUPTED:
            _line(f"interrupted; {told_after_interrupt()}")
        if standalone_mode:
            sys.exit(code)
        return code


def _at_home(word: str) -> str:
    """``~/x`` and ``--out=~/x``, which a shell leaves as they are in quotes or behind ``=``."""
    option, equals, value = word.partition("=") if word.startswith("-") else ("", "", word)
    is_home = value == "~" or value.startswith("~/")
    return f"{option}{equals}{os.path.expanduser(value)}" if is_home else word  # noqa: PTH111


def program(only: str | None = None) -> typer.Typer:
    """The program; with the one command or group ``only``, if there is such, and else with all.

    One command needs neither the imports nor the parameters of the others, which take longer than ``zoo list``.
    """
    app = typer.Typer(
        cls=OneLineErrors, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=_HELP
    )
    app.callback()(_options)  # or typer would make a single command the program itself
    chosen = only in COMMANDS or only in GROUPS
    _add(app, {name: where for name, where in COMMANDS.items() if not chosen or name == only})
    for name, (help_line, commands) in GROUPS.items():
        if not chosen or name == only:
            group = typer.Typer(no_args_is_help=True, help=help_line)
            _add(group, commands)
            app.add_typer(group, name=name)
    return app


def _add(app: typer.Typer, commands: Mapping[str, str]) -> None:
    for name, where in commands.items():
        module, _, function = where.partition(".")
        app.command(name)(getattr(importlib.import_module(f"zoo.cli.{module}"), function))


def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None: ...


def _version(asked: bool) -> None:
    if asked:
        print(zoo_version())
        raise typer.Exit


def main() -> None:
    """Run the program; a polite kill cleans up as Ctrl-C does."""
    signal.signal(signal.SIGTERM, _terminated)
    program(only=sys.argv[1] if len(sys.argv) > 1 else None)()


def _report(error: Exception) -> int:
    error = memory_error(error) or error
    if os.environ.get("ZOO_DEBUG") == "1":
        traceback.print_exception(error, file=sys.stderr)
    if isinstance(error, typer.TyperException):  # usage; without a message the help has just been printed
        if message := " ".join(error.format_message().split()):
            _line(f"{message} (`zoo --help` lists all there is)")
        return USAGE
    code, text = exit_code(error), one_line(error)
    if _is_ours(error):
        if not is_first():
            return code  # the first process says it
    else:
        text = f"{type(error).__name__}: {text}; this is a fault of the zoo: ZOO_DEBUG=1 shows where"
    _line(text)
    return code


def _is_ours(error: Exception) -> bool:
    """Whether the error was written for the person at the keyboard."""
    packages = {"zoo", "search", "export", "hardware_profiles"}
    return isinstance(error, OSError) or type(error).__module__.partition(".")[0] in packages


def _line(text: str) -> None:
    """An error on one line; of a long one, which repeats what a file said, its begin and its end."""
    whole = harmless(text)
    short = whole if len(whole) <= _LONGEST else f"{whole[: _LONGEST // 2]} ... {whole[-_LONGEST // 2 :]}"
    print(f"zoo: {short}", file=sys.stderr)


def _terminated(signal_number: int, frame: FrameType | None) -> None:
    sys.exit(128 + signal_number)
