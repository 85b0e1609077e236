"""`signoff worker module:client`: serve until told to stop, and then end in good order (floor 9)."""

from __future__ import annotations

import argparse
import logging
import signal
from collections.abc import AsyncIterator
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Final

import anyio

from signoff.cli.finding import find_client

if TYPE_CHECKING:
    from signoff.client import Client

_log = logging.getLogger("signoff.cli")

GRACE_SECONDS: Final = 20.0
"""How long what runs may go on after a worker was told to stop; below the 30 s after which container schedulers kill."""

SUMMARY: Final = "serve a client until told to stop"

_DESCRIPTION: Final = """\
Serve a client: run what is ready, fire deadlines, send what is to be sent, read the inbox.
It goes on until SIGTERM or SIGINT. Then it begins nothing new, lets what runs come to its end for
--grace seconds, and gives the rest back, which another worker goes on with at once. A second
signal gives it back now. Start as many workers as you like over a store that they share.
"""

_EXAMPLES: Final = """\
examples:
  signoff worker shop.work:client
  signoff worker shop.work:make_client --grace 60
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Say what the command takes, and does."""
    parser.description, parser.epilog = _DESCRIPTION, _EXAMPLES
    parser.add_argument(
        "client",
        metavar="MODULE:ATTRIBUTE",
        help="a signoff.Client, or a function without arguments that returns one",
    )
    parser.add_argument(
        "--grace",
        metavar="SECONDS",
        type=_seconds,
        default=timedelta(seconds=GRACE_SECONDS),
        help=f"how long what runs may go on after a signal (default: {GRACE_SECONDS:g})",
    )
    parser.set_defaults(command=run)


def run(given: argparse.Namespace) -> None:
    """Serve the client that was named, until a signal."""
    client = find_client(given.client)
    anyio.run(partial(work, client, grace=given.grace))


async def work(client: Client, *, grace: timedelta) -> None:
    """
    Serve until SIGTERM or SIGINT, and return once what ran has ended.

    Args:
        client: Not open yet, or open.
        grace: How long what runs may go on after the first signal; a second one ends it at once.

    Raises:
        StoreError: The store cannot be opened.
        KeyringError: The keys are not those of the store.
    """
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async with client, anyio.create_task_group() as group:
            async with client.serving(grace=grace):
                _log.info("serving; SIGTERM or SIGINT stops it")
                told = await anext(signals)
                _log.info("%s: stopping, within %g s", told.name, grace.total_seconds())
                group.start_soon(_cut_short, signals, group.cancel_scope)
            group.cancel_scope.cancel()
    _log.info("stopped")


async def _cut_short(signals: AsyncIterator[signal.Signals], scope: anyio.CancelScope) -> None:
    told = await anext(signals)
    _log.warning("%s again: what runs is given back now", told.name)
    scope.cancel()


def _seconds(text: str) -> timedelta:
    seconds = float(text)
    if not 0 <= seconds <= timedelta.max.total_seconds():
        raise argparse.ArgumentTypeError(f"{text} is no number of seconds from 0 on")
    return timedelta(seconds=seconds)
