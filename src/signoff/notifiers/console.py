"""Requests for a person at a terminal: printed, or asked there and then (floor 4)."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TextIO

from anyio import to_thread
from typing_extensions import override

from signoff.errors import NotifyError
from signoff.mail.answering import choice_line
from signoff.mail.content import page_of, whole_request
from signoff.mail.page import Page, Part, Said, shown
from signoff.mail.render_text import attachment_of, text_of
from signoff.model.request import Request
from signoff.ports import Notifier, Outgoing
from signoff.rules.outcomes import read_answer


class ConsoleNotifier(Notifier):
    """
    Prints each delivery for whoever sits at the terminal.

    Control characters are shown as marks, so that no payload can move the cursor or change
    colours. It takes no answers: `client.hitl` does.

    Attributes:
        name: Unique within a client; stored with each delivery.
        expects_reply: Always false.
    """

    def __init__(self, stream: TextIO | None = None, *, name: str = "console") -> None:
        """
        Take the settings.

        Args:
            stream: Where to print; what `sys.stdout` is at the time of each message, unless set.
            name: What stored deliveries call this notifier.
        """
        self.name = name
        self.expects_reply = False
        self._stream = stream

    @override
    def reaches(self, recipient: str) -> bool:
        """Return true: whoever sits at the terminal reads what is for anybody."""
        return True

    @override
    async def send(self, outgoing: Outgoing) -> str:
        """
        Print one delivery and return its id.

        Raises:
            NotifyError: The stream is closed or broken.
        """
        page = _page(outgoing)
        text = text_of(page, reply_line=False) + attachment_of(page)
        stream = sys.stdout if self._stream is None else self._stream
        try:
            await to_thread.run_sync(
                _print, stream, f"To {shown(outgoing.delivery.recipient)}\n{text}"
            )
        except (OSError, ValueError) as error:
            raise NotifyError(f"cannot print: {error}", permanent=False) from error
        return outgoing.delivery.delivery_id

    @override
    async def aclose(self) -> None:
        """Do nothing: the stream belongs to whoever opened it."""


def ask(
    request: Request, *, read_line: Callable[[str], str], write: Callable[[str], object]
) -> tuple[str, str]:
    """
    Ask a person at the terminal, again and again until the answer is one of the choices.

    What is typed is read by the same rules as a mail's first line, and nothing is guessed.

    Args:
        request: What is asked.
        read_line: Shows a prompt and returns the line that was typed, as `input` does.
        write: Shows a text.

    Returns:
        The label, empty for a request without labels; and the feedback.

    Raises:
        EOFError: `read_line` raised it: there is nobody.
    """
    choices = [choice_line(choice, verb="Type") for choice in request.choices]
    write(text_of(whole_request(request, how_to=choices), reply_line=False))
    while True:
        typed = read_line("Your answer: ")
        answer = _read(request, typed)
        if answer is not None and request.choices:
            words = read_line("Feedback, or just Enter: ")
            answer = _read(request, typed, words)
        if answer is not None:
            return answer
        write("That is no clear answer. Please type one of the choices.\n")


def _read(request: Request, typed: str, words: str = "") -> tuple[str, str] | None:
    answer = read_answer(
        typed,
        words,
        request.choices,
        risk=request.risk,
        default_outcome=request.default_outcome,
    )
    if answer.kind in {"matched", "default", "free"}:
        return answer.outcome or "", answer.feedback
    return None


def _page(outgoing: Outgoing) -> Page:
    how_to = _how_to(outgoing)
    if outgoing.delivery.kind == "request":
        return whole_request(outgoing.request, how_to=how_to, earlier=outgoing.earlier)
    return page_of(outgoing, how_to=how_to)


def _how_to(outgoing: Outgoing) -> list[Part]:
    request = outgoing.request
    place = outgoing.elsewhere or f'client.hitl.respond(request_id="{request.request_id}", ...)'
    return [
        *(choice_line(choice, verb="Choice") for choice in request.choices),
        Said(f"Answer here: {place}"),
    ]


def _print(stream: TextIO, text: str) -> None:
    """Print what the stream's encoding knows as it is, and the rest as escapes."""
    encoding = getattr(stream, "encoding", None) or "utf-8"
    stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
    stream.flush()
