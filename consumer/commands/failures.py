"""What went wrong, in one paragraph and an exit code: 1 it failed, 2 usage or configuration."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import typer
from rich.text import Text

from consumer.client import ClientError
from consumer.commands.terminal import err
from consumer.settings.problems import ConfigurationError

FAILED, USAGE = 1, 2

logger = logging.getLogger(__name__)


class CommandError(Exception):
    """A command that cannot be done; the message is a whole paragraph."""

    def __init__(self, message: str, exit_code: int = FAILED) -> None:
        super().__init__(message)
        self.exit_code = exit_code


@contextmanager
def failures_shown(*expected: type[Exception]) -> Iterator[None]:
    """Turn what is wrong with the configuration, and the ``expected`` errors, into a paragraph and an exit code."""
    try:
        yield
    except ConfigurationError as error:
        _show_problems(error)
        raise typer.Exit(USAGE) from None
    except CommandError as error:
        _show(str(error))
        raise typer.Exit(error.exit_code) from None
    except Exception as error:
        if not isinstance(error, (ClientError, *expected)):
            raise
        _show(str(error))
        raise typer.Exit(FAILED) from None


def died(group: BaseExceptionGroup[BaseException], expected: tuple[type[Exception], ...]) -> CommandError:
    """Say what a group of tasks died of; of what nobody expects, the log has the trace."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if not isinstance(error, expected):
        logger.error("%s", error, exc_info=error)
    notes = "; ".join(getattr(error, "__notes__", ()))
    message = str(error) if isinstance(error, expected) else f"{type(error).__name__}: {error}"
    return CommandError(f"{message} ({notes})" if notes else message)


def _show(message: str) -> None:
    err.print(Text.assemble(("error ", "bold red"), message))


def _show_problems(error: ConfigurationError) -> None:
    count = len(error.problems)
    err.print(Text(f"The configuration has {count} problem{'s' if count > 1 else ''}:\n", style="bold red"))
    for problem in error.problems:
        where = problem.file if problem.line is None else f"{problem.file}, line {problem.line}"
        err.print(Text.assemble((where, "bold"), ": " if problem.path else "", (problem.path, "cyan")))
        err.print(Text.assemble("  ", problem.reason))
        err.print(Text.assemble(("  → ", "green"), problem.remedy, "\n"))
