"""The command `signoff`: what an operator needs of the library without writing Python (floor 9)."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import version
from typing import Final, cast

from signoff.cli import moving, worker
from signoff.cli.finding import UsageError
from signoff.errors import SignoffError

__all__ = ["main"]

FAILED: Final = 1
"""What it exits with when what was asked for could not be done; 2 when it was asked for wrongly."""

_LEVELS: Final = ("debug", "info", "warning", "error")

_EPILOG: Final = """\
exit codes:
  0  it was done; for a worker: it was told to stop, and stopped
  1  it could not be done: the store, the keys or the server; the message says why
  2  it was asked for wrongly: a module, an attribute or an option that is not there

SIGNOFF_KEY holds the keys of a store that is no file of this machine.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """
    Do what the command line says.

    Args:
        argv: The arguments; those of the process without it.

    Returns:
        What to exit with: 0 when it was done, 1 when it could not be done, 2 when it was asked
        for wrongly (argparse exits with 2 by itself).
    """
    given = _parser().parse_args(argv)
    logging.basicConfig(
        level=given.log_level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    command = cast("Callable[[argparse.Namespace], None]", given.command)
    try:
        command(given)
    except UsageError as error:
        return _complain(error, code=2)
    except SignoffError as error:
        return _complain(error, code=FAILED)
    return 0


def _complain(error: Exception, *, code: int) -> int:
    sys.stderr.write(f"signoff: {error}\n")
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="signoff",
        description="Code that stops and waits for a human's yes, durably.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"signoff {version('signoff')}")
    parser.add_argument(
        "--log-level",
        choices=_LEVELS,
        default="info",
        help="what is written to stderr, from this level on (default: %(default)s)",
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name, module in {"worker": worker, "move": moving}.items():
        command = commands.add_parser(
            name, help=module.SUMMARY, formatter_class=argparse.RawDescriptionHelpFormatter
        )
        module.configure(command)
    return parser
