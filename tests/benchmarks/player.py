"""A process that takes part in a measurement, as long as it is wanted."""

from __future__ import annotations

import subprocess
from tempfile import TemporaryFile
from threading import Timer
from types import TracebackType
from typing import IO, Final, Self

from tests.benchmarks.peers.table import FailedError, last_line

PATIENCE_SECONDS: Final = 120.0


class Player:
    """A process that is told by lines, and tells by lines; killed when it takes too long."""

    def __init__(self, command: list[str], env: dict[str, str]) -> None:
        self._errors = TemporaryFile("w+")  # noqa: SIM115 - closed when the player leaves
        self._process = subprocess.Popen(
            command,
            text=True,
            env=env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
        )
        self._alarm = Timer(PATIENCE_SECONDS, self._process.kill)
        self._alarm.start()

    def __enter__(self) -> Self:
        """Return the player."""
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Let it leave, which it does when nothing more can be said to it."""
        self._pipe(self._process.stdin).close()
        self._process.wait()
        self._alarm.cancel()
        self._pipe(self._process.stdout).close()
        self._errors.close()

    def say(self, word: str) -> None:
        """Tell it a word."""
        pipe = self._pipe(self._process.stdin)
        pipe.write(f"{word}\n")
        pipe.flush()

    def hear(self, beginning: str) -> str:
        """Return its next line that begins like this. Raises `FailedError` when it has ended."""
        for line in self._pipe(self._process.stdout):
            if line.startswith(beginning):
                return line
        self._errors.seek(0)
        raise FailedError(last_line(self._errors.read()))

    @staticmethod
    def _pipe(pipe: IO[str] | None) -> IO[str]:
        assert pipe is not None
        return pipe
