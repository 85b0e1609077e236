"""The suite that proves a notifier (floor 9)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import ClassVar, Final, TypeAlias, get_args

import anyio
import pytest
from anyio.lowlevel import checkpoint

from signoff.errors import NotifyError
from signoff.model.delivery import DeliveryKind
from signoff.ports import Notifier, Outgoing
from signoff.testing.builders import a_delivery, a_request

TOKEN: Final = "ab2cd3ef" * 6
"""The token of the messages that ask; no key has made it."""

KINDS: Final[tuple[DeliveryKind, ...]] = get_args(DeliveryKind)
"""What a message can be for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrived:
    """
    One message as it arrived on the other side.

    Attributes:
        recipients: Everybody whom it reached.
        text: What a person reads in it, subject included.
        message_id: What the other side knows it by; `None` where messages carry no id.
        reply_to: Where an answer goes; empty where none can be given.
    """

    recipients: Sequence[str]
    text: str
    message_id: str | None = None
    reply_to: str = ""


LookUp: TypeAlias = Callable[[], Awaitable[Sequence[Arrived]]]
"""Returns all that has arrived, oldest first."""

Refusing: TypeAlias = Callable[[], AbstractAsyncContextManager[None]]
"""Makes the other side refuse every message until the block ends."""


@pytest.mark.anyio
class NotifierContract:
    """
    Every promise of `signoff.ports.Notifier`, as tests.

    Inherit it and override its fixtures::

        class TestMyNotifier(NotifierContract):
            @pytest.fixture
            async def notifier(self, server: MyServer) -> AsyncIterator[Notifier]:
                notifier = MyNotifier(server.address)
                yield notifier
                await notifier.aclose()

            @pytest.fixture
            def arrived(self, server: MyServer) -> LookUp: ...

            @pytest.fixture
            def refusing(self, server: MyServer) -> Refusing: ...

    The names and docstrings of the tests are the specification.
    """

    recipient: ClassVar[str] = "cfo@acme.example"
    """Somebody whom the notifier reaches."""

    stranger: ClassVar[str | None] = None
    """Somebody whom it cannot address at all; `None` where it reaches everybody."""

    @pytest.fixture
    async def notifier(self) -> Notifier:
        """Return or yield a notifier whose other side is empty. Override this one."""
        pytest.fail("override the fixture `notifier`: yield one whose other side is empty")

    @pytest.fixture
    def arrived(self) -> LookUp:
        """Return what looks up all that arrived on the other side. Override this one."""
        pytest.fail("override the fixture `arrived`: return what looks up all that arrived")

    @pytest.fixture
    def refusing(self) -> Refusing:
        """Return what makes the other side refuse for a while. Override this one."""
        pytest.fail("override the fixture `refusing`: return what makes the other side refuse")

    def outgoing(
        self,
        notifier: Notifier,
        number: int = 1,
        *,
        kind: DeliveryKind = "request",
        **fields: object,
    ) -> Outgoing:
        """Return a message that no other number has, as the outbox hands it over."""
        return Outgoing(
            delivery=a_delivery(
                f"dlv_{number}", recipient=self.recipient, notifier=notifier.name, kind=kind
            ),
            request=a_request(f"req_{number}", message=f"Pay invoice {number}?", **fields),
            token=TOKEN if notifier.expects_reply and kind == "request" else "",
        )

    async def test_a_notifier_says_who_it_is(self, notifier: Notifier) -> None:
        """It has a name, says whether its messages are answered, and goes on saying so."""
        before = (notifier.name, notifier.expects_reply)
        await notifier.send(self.outgoing(notifier))

        assert notifier.name
        assert notifier.expects_reply in {True, False}
        assert (notifier.name, notifier.expects_reply) == before

    async def test_it_knows_whom_it_reaches(self, notifier: Notifier, arrived: LookUp) -> None:
        """Without asking them: nothing is sent by that."""
        assert notifier.reaches(self.recipient) is True
        assert self.stranger is None or notifier.reaches(self.stranger) is False
        assert list(await arrived()) == []

    async def test_one_send_is_one_message(self, notifier: Notifier, arrived: LookUp) -> None:
        """To the recipient of the delivery, and to nobody else."""
        await notifier.send(self.outgoing(notifier))

        assert [list(one.recipients) for one in await arrived()] == [[self.recipient]]

    async def test_a_message_is_sent_only_when_asked(
        self, notifier: Notifier, arrived: LookUp
    ) -> None:
        """Neither making a notifier nor closing it sends anything."""
        await notifier.aclose()

        assert list(await arrived()) == []

    async def test_the_returned_id_is_what_the_other_side_knows(
        self, notifier: Notifier, arrived: LookUp
    ) -> None:
        """It is no empty one, and the one that the message carries, if it carries any."""
        returned = await notifier.send(self.outgoing(notifier))

        (one,) = await arrived()
        assert returned
        assert one.message_id in {None, returned}

    async def test_the_same_delivery_has_the_same_id_again(
        self, notifier: Notifier, arrived: LookUp
    ) -> None:
        """So that a message whose sender died is the same message when it is sent again."""
        first = await notifier.send(self.outgoing(notifier))
        await notifier.aclose()
        again = await notifier.send(self.outgoing(notifier))

        assert again == first
        assert len(await arrived()) == 2

    async def test_other_deliveries_have_other_ids(self, notifier: Notifier) -> None:
        """Even about the same request, as to two recipients or in a reminder."""
        one = self.outgoing(notifier, 1)
        other = self.outgoing(notifier, 2)
        about_the_same = Outgoing(delivery=other.delivery, request=one.request, token=other.token)

        assert await notifier.send(one) != await notifier.send(about_the_same)

    async def test_the_recipient_can_judge(self, notifier: Notifier, arrived: LookUp) -> None:
        """The question and the whole payload are in the message."""
        payload = '{"amount":1234,"vendor":"Acme Tools"}'
        await notifier.send(self.outgoing(notifier, 7, payload_json=payload))

        (one,) = await arrived()
        for fact in ("Pay invoice 7?", "1234", "Acme Tools"):
            assert fact in one.text

    async def test_an_answer_finds_its_way_back(self, notifier: Notifier, arrived: LookUp) -> None:
        """The token is where an answer goes to if answers are expected, and nowhere else."""
        await notifier.send(self.outgoing(notifier))

        (one,) = await arrived()
        assert (TOKEN in one.reply_to) is notifier.expects_reply
        assert TOKEN not in one.text

    @pytest.mark.parametrize("kind", KINDS)
    async def test_every_kind_of_message_is_sent(
        self, notifier: Notifier, arrived: LookUp, kind: DeliveryKind
    ) -> None:
        """Not only questions: what became of them as well."""
        await notifier.send(self.outgoing(notifier, 7, kind=kind))

        (one,) = await arrived()
        assert "Pay invoice 7?" in one.text

    async def test_nothing_in_a_request_becomes_a_recipient(
        self, notifier: Notifier, arrived: LookUp
    ) -> None:
        """Line ends and control characters in what agents write are text, and start nothing."""
        message = "Pay?\r\nBcc: mallory@evil.example\r\n\r\nApproved\x1b[2J"
        out = self.outgoing(notifier)
        forged = out.request.model_copy(update={"message": message})
        await notifier.send(Outgoing(delivery=out.delivery, request=forged, token=out.token))

        (one,) = await arrived()
        assert list(one.recipients) == [self.recipient]
        assert "\x1b" not in one.text

    async def test_what_was_not_sent_is_an_error(
        self, notifier: Notifier, arrived: LookUp, refusing: Refusing
    ) -> None:
        """A `NotifyError`, which says that trying again is not pointless; and then it is sent."""
        async with refusing():
            with pytest.raises(NotifyError) as caught:
                await notifier.send(self.outgoing(notifier))
            assert list(await arrived()) == []

        assert caught.value.permanent is False
        await notifier.send(self.outgoing(notifier))
        assert len(await arrived()) == 1

    async def test_a_closed_notifier_opens_again(self, notifier: Notifier, arrived: LookUp) -> None:
        """Closing drops the connection and nothing else; closing twice, or unopened, is fine."""
        await notifier.aclose()
        await notifier.send(self.outgoing(notifier, 1))
        await notifier.aclose()
        await notifier.aclose()
        await notifier.send(self.outgoing(notifier, 2))

        assert len(await arrived()) == 2

    async def test_messages_at_the_same_time_do_not_mix(
        self, notifier: Notifier, arrived: LookUp
    ) -> None:
        """Each arrives once, whole, under the id that its sender was told."""
        returned: dict[int, str] = {}

        async def send(number: int) -> None:
            returned[number] = await notifier.send(self.outgoing(notifier, number))

        async with anyio.create_task_group() as group:
            for number in range(5):
                group.start_soon(send, number)

        texts = [one.text for one in await arrived()]
        assert len(set(returned.values())) == 5
        assert [sum(f"Pay invoice {number}?" in text for text in texts) for number in range(5)] == [
            1
        ] * 5

    async def test_a_cancelled_send_leaves_nothing_broken(
        self, notifier: Notifier, arrived: LookUp
    ) -> None:
        """Wherever the cancel meets it, it was sent once or not, and the next one is sent."""
        for checkpoints in range(6):
            async with anyio.create_task_group() as group:
                group.start_soon(notifier.send, self.outgoing(notifier, 100 + checkpoints))
                for _ in range(checkpoints):
                    await checkpoint()
                group.cancel_scope.cancel()

            await notifier.send(self.outgoing(notifier, checkpoints))

        texts = [one.text for one in await arrived()]
        for number in range(6):
            assert sum(f"Pay invoice {number}?" in text for text in texts) == 1
            assert sum(f"Pay invoice {100 + number}?" in text for text in texts) <= 1
