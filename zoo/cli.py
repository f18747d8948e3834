"""The command ``zoo``. Exit codes: 0 ok, 1 failure, 2 usage, 3 constraint not met, 4 verification failed."""

from __future__ import annotations

import os
import signal
import sys
import traceback
from types import FrameType
from typing import Any

import typer
from typer.core import TyperGroup

from zoo import (
    cli_benchmark,
    cli_cache,
    cli_darts,
    cli_devices,
    cli_export,
    cli_hub,
    cli_kit,
    cli_measure,
    cli_models,
    cli_onboard,
    cli_search,
)
from zoo.errors import INTERRUPTED, OK, USAGE, exit_code, one_line


class OneLineErrors(TyperGroup):
    """A command group whose failures are one line on stderr and the right exit code."""

    def main(self, *args: Any, standalone_mode: bool = True, **kwargs: Any) -> Any:
        """As typer's, but every error goes through ``_report``."""
        try:
            kwargs["standalone_mode"] = False
            code = super().main(*args, **kwargs) or OK
        except Exception as error:
            code = _report(error)
        if code == INTERRUPTED:
            _line("interrupted; nothing half-written was left behind")
        if standalone_mode:
            sys.exit(code)
        return code


app = typer.Typer(
    cls=OneLineErrors,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="From a folder of unlabelled images, a device and a budget to a verified, measured, deployable network.",
)
app.command("list")(cli_models.list_command)
app.command("info")(cli_models.info_command)
app.command("get")(cli_models.get_command)
app.command("search")(cli_search.search_command)
app.command("pretrain")(cli_search.pretrain_command)
app.command("darts")(cli_darts.darts_command)
app.command("export")(cli_export.export_command)
app.command("benchmark")(cli_benchmark.benchmark_command)
app.command("push")(cli_hub.push_command)
app.command("pull")(cli_hub.pull_command)
app.add_typer(cli_devices.app, name="devices")
cli_devices.app.command("measure")(cli_measure.measure_command)
cli_devices.app.command("kit")(cli_kit.kit_command)
cli_devices.app.command("import")(cli_kit.import_command)
app.add_typer(cli_cache.app, name="cache")
cli_devices.app.command("sample")(cli_onboard.sample_command)
cli_devices.app.command("fit")(cli_onboard.fit_command)
cli_devices.app.command("adapt")(cli_onboard.adapt_command)
app.command("env")(cli_models.env_command)


def main() -> None:
    """Run the program; a polite kill cleans up as Ctrl-C does."""
    signal.signal(signal.SIGTERM, _terminated)
    app()


def _report(error: Exception) -> int:
    if os.environ.get("ZOO_DEBUG") == "1":
        traceback.print_exception(error, file=sys.stderr)
    if isinstance(error, typer.TyperException):  # usage; without a message the help has just been printed
        if message := " ".join(error.format_message().split()):
            _line(f"{message} (`zoo --help` lists all there is)")
        return USAGE
    code, text = exit_code(error), one_line(error)
    if not _is_ours(error):
        text = f"{type(error).__name__}: {text}; this is a fault of the zoo: ZOO_DEBUG=1 shows where"
    _line(text)
    return code


def _is_ours(error: Exception) -> bool:
    """Whether the error was written for the person at the keyboard."""
    packages = {"zoo", "search", "export", "hardware_profiles"}
    return isinstance(error, OSError) or type(error).__module__.partition(".")[0] in packages


def _line(text: str) -> None:
    print(f"zoo: {text}", file=sys.stderr)


def _terminated(signal_number: int, frame: FrameType | None) -> None:
    sys.exit(128 + signal_number)
