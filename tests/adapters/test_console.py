"""`ConsoleNotifier` and the question at the terminal."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from dataclasses import dataclass, field
from datetime import UTC, datetime
from operator import attrgetter
from typing import Final

import pytest

from signoff import notifiers
from signoff.errors import NotifyError
from signoff.mail.marks import REPLY_LINE
from signoff.model.delivery import Delivery, DeliveryKind
from signoff.model.request import Request
from signoff.model.values import Tree
from signoff.notifiers.console import ConsoleNotifier, ask
from signoff.ports import Outgoing
from signoff.rules.outcomes import choices

NOW: Final = datetime(2026, 3, 1, 12, tzinfo=UTC)


def a_request(payload: Tree = "acme", **changes: object) -> Request:
    values = {
        "request_id": "req_1",
        "kind": "call",
        "message": "Pay 1200.00 to acme",
        "choices": choices(["approved", "rejected"]),
        "payload_json": json.dumps(payload),
        "payload_digest": "",
        "proposed_digest": "",
        "created_at": NOW,
        **changes,
    }
    return Request.model_validate(values)


def an_outgoing(
    request: Request | None = None,
    *,
    kind: DeliveryKind = "request",
    recipient: str = "cfo@acme.example",
    elsewhere: str = "",
) -> Outgoing:
    delivery = Delivery(
        delivery_id="dlv_1",
        kind=kind,
        request_id="req_1",
        recipient=recipient,
        notifier="console",
        note={"reason": "superseded"},
        not_before=NOW,
        created_at=NOW,
    )
    return Outgoing(delivery=delivery, request=request or a_request(), elsewhere=elsewhere)


async def printed(outgoing: Outgoing) -> str:
    stream = io.StringIO()
    await ConsoleNotifier(stream).send(outgoing)
    return stream.getvalue()


@dataclass
class Terminal:
    """Somebody who types these lines."""

    lines: list[str]
    prompts: list[str] = field(default_factory=list)
    seen: list[str] = field(default_factory=list)

    def read_line(self, prompt: str) -> str:
        """Type the next line, or leave."""
        self.prompts.append(prompt)
        if not self.lines:
            raise EOFError
        return self.lines.pop(0)

    def ask(self, request: Request) -> tuple[str, str]:
        """Answer a request."""
        return ask(request, read_line=self.read_line, write=self.seen.append)


async def test_a_request_is_printed_with_its_payload_and_how_to_answer() -> None:
    """To whom, what, the choices and where to answer; and no line for replies by mail."""
    text = await printed(an_outgoing())

    assert text.startswith("To cfo@acme.example\nYour approval is asked\n")
    assert "| value (str): acme\n" in text
    assert 'Choice "approved" - it approves.\n' in text
    assert 'Answer here: client.hitl.respond(request_id="req_1", ...)\n' in text
    assert REPLY_LINE not in text


async def test_where_to_answer_is_what_the_outbox_says() -> None:
    """A web page, say."""
    text = await printed(an_outgoing(elsewhere="https://acme.example/inbox"))

    assert "Answer here: https://acme.example/inbox\n" in text


async def test_other_messages_are_printed_too() -> None:
    """A cancelled request is told with its reason."""
    text = await printed(an_outgoing(kind="cancelled"))

    assert "This request was cancelled (superseded).\n" in text


async def test_nothing_is_too_long_for_a_terminal() -> None:
    """What a mail would attach is printed: payload, question, agent's words."""
    text = await printed(an_outgoing(a_request("x" * 70_000, rationale="y" * 20_000)))
    told = await printed(an_outgoing(a_request(message="z" * 9_000), kind="cancelled"))

    unfolded = (text + told).replace("\n|+ ", "")
    assert "x" * 70_000 in unfolded
    assert "y" * 20_000 in unfolded
    assert "z" * 9_000 in unfolded
    assert "request.txt" not in text


async def test_control_characters_are_printed_as_marks() -> None:
    """No payload clears the screen, not even in the recipient."""
    text = await printed(an_outgoing(a_request("a\x1b[2Jb\u009b"), recipient="cfo\x1b[31m"))

    assert "a\u27e8U+001B\u27e9[2Jb\u27e8U+009B\u27e9" in text
    assert text.startswith("To cfo\u27e8U+001B\u27e9[31m\n")
    assert "\x1b" not in text


async def test_without_a_stream_it_prints_to_standard_output(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The one that is there at the time of the message."""
    notifier = ConsoleNotifier()

    assert await notifier.send(an_outgoing()) == "dlv_1"
    await notifier.aclose()
    assert "Pay 1200.00 to acme" in capsys.readouterr().out


async def test_a_stream_that_knows_few_characters_gets_escapes_for_the_others() -> None:
    """A terminal in an old encoding is no reason to fail."""
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, "ascii")
    await ConsoleNotifier(stream).send(an_outgoing(a_request("\u20ac\0")))

    assert b"| value (str): \\u20ac\\u27e8U+0000\\u27e9\n" in raw.getvalue().replace(b"\r", b"")


async def test_a_closed_stream_is_a_failure_that_may_pass() -> None:
    """The outbox tries again."""
    stream = io.StringIO()
    stream.close()

    with pytest.raises(NotifyError, match="cannot print") as caught:
        await ConsoleNotifier(stream).send(an_outgoing())
    assert not caught.value.permanent


def test_it_reaches_everybody_and_expects_no_reply() -> None:
    """Whoever sits there."""
    notifier = ConsoleNotifier(name="tty")

    assert notifier.reaches("anybody")
    assert not notifier.expects_reply
    assert notifier.name == "tty"
    assert ConsoleNotifier().name == "console"


def test_a_typed_label_is_the_answer_and_the_next_line_its_feedback() -> None:
    """Read by the same rules as a mail's first line."""
    terminal = Terminal(["Approved.", "Looks fine"])

    assert terminal.ask(a_request()) == ("approved", "Looks fine")
    assert "| value (str): acme\n" in terminal.seen[0]
    assert 'Type "approved" - it approves.\n' in terminal.seen[0]
    assert terminal.prompts == ["Your answer: ", "Feedback, or just Enter: "]


def test_without_feedback_the_answer_itself_is_kept() -> None:
    """As in a mail."""
    assert Terminal(["rejected", ""]).ask(a_request()) == ("rejected", "rejected")


@pytest.mark.parametrize("unclear", ["", "LGTM", "not approved", "approved/rejected", "\x1b[A"])
def test_what_is_no_clear_answer_is_asked_again(unclear: str) -> None:
    """Nothing is guessed."""
    terminal = Terminal([unclear, "rejected", "too much"])

    assert terminal.ask(a_request()) == ("rejected", "too much")
    assert terminal.seen[1:] == ["That is no clear answer. Please type one of the choices.\n"]


def test_feedback_that_names_another_label_makes_the_answer_unclear() -> None:
    """Approved, then rejected: the person is asked again."""
    terminal = Terminal(["approved", "rejected", "approved", "yes, really"])

    assert terminal.ask(a_request()) == ("approved", "yes, really")


def test_other_text_takes_the_default_outcome_where_there_is_one() -> None:
    """It never approves."""
    request = a_request(default_outcome="rejected")

    assert Terminal(["shorter", "please"]).ask(request) == ("rejected", "shorter\nplease")


def test_without_labels_any_text_but_a_blank_one_is_the_answer() -> None:
    """One line, no second question."""
    terminal = Terminal([" ", "Make it shorter"])

    assert terminal.ask(a_request(choices=())) == ("", "Make it shorter")
    assert terminal.prompts == ["Your answer: "] * 2


def test_when_nobody_is_there_the_caller_learns_it() -> None:
    """The end of input is not an answer."""
    with pytest.raises(EOFError):
        Terminal(["perhaps"]).ask(a_request())


def test_adapters_are_imported_when_they_are_first_named() -> None:
    """The package alone loads no mail library, no TLS and no event loop."""
    code = (
        "import sys, signoff.notifiers as n; "
        "heavy = {'aiosmtplib', 'ssl', 'asyncio', 'signoff.notifiers.smtp'}; "
        "print(sorted(heavy & set(sys.modules))); "
        "n.ConsoleNotifier; print(sorted(heavy & set(sys.modules))); "
        "n.SMTPNotifier; print(sorted(heavy & set(sys.modules)))"
    )
    output = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout

    assert output.splitlines()[:2] == ["[]", "[]"]
    assert "aiosmtplib" in output.splitlines()[2]


def test_a_name_that_is_no_adapter_is_an_attribute_error() -> None:
    """As for any module."""
    with pytest.raises(AttributeError, match="has no attribute 'PigeonNotifier'"):
        attrgetter("PigeonNotifier")(notifiers)
    assert notifiers.__all__ == ["ConsoleNotifier", "SMTPNotifier"]
