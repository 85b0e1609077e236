"""Where in the user's own code something is (floor 6)."""

from __future__ import annotations

import os
import traceback
from pathlib import Path
from typing import Final

_PACKAGE: Final = str(Path(__file__).resolve().parent.parent) + os.sep


def calling_place() -> str:
    """Return where the step's own code is, as file and line."""
    *_, last = _own(traceback.extract_stack())
    return f"{last.filename}:{last.lineno}"


def way_of(error: BaseException) -> str:
    """Return the lines of the user's code that an exception came through, without its words."""
    return "".join(traceback.format_list(_own(traceback.extract_tb(error.__traceback__)))).rstrip()


def _own(frames: traceback.StackSummary) -> list[traceback.FrameSummary]:
    return [frame for frame in frames if not frame.filename.startswith(_PACKAGE)]
