"""The line that parts an answer from the mail it answers, for both directions (floor 3)."""

from __future__ import annotations

from typing import Final

REPLY_LINE: Final = "##- Write your reply above this line -##"
"""The first line of every mail; whatever stands below it in an answer is quoted from that mail."""
