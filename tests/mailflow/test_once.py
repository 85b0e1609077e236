"""A reply decides once, wherever the process dies while it is handled."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Literal

import pytest
from typing_extensions import override

from signoff import Client, Flow, HumanFeedbackResult, human_feedback, listen, start
from signoff.errors import StoreUnavailableError
from signoff.ports import Batch, Incoming, Outgoing
from signoff.security.keyring import Keyring
from signoff.stores import SQLiteStore
from signoff.testing import FaultyStore, ManualClock, MemoryMail

pytestmark = pytest.mark.one_python

ANN = "ann@acme.example"
KEYS = Keyring.generate()
Place = Literal["fetched", "before done", "after done", "before send", "after send"]


class Ask(Flow, name="once.ask"):
    """A question to one person."""

    @start()
    @human_feedback(message="Publish?", emit=["approved", "rejected"], assign_to_email=ANN)
    def draft(self) -> str:
        """Return what is asked about."""
        return "Spring sale"

    @listen("approved")
    def publish(self, result: HumanFeedbackResult) -> str:
        """Return what was said."""
        return f"published by {result.feedback}"


class Death(BaseException):
    """The process ends here and now."""


class Fatal(MemoryMail):
    """A mailbox at which the process dies, once."""

    place: Place | None = None
    deaths = 0

    def _die(self, place: Place) -> None:
        if self.place == place:
            self.place = None
            self.deaths += 1
            raise Death

    @override
    async def fetch(self, mark: str | None) -> Batch:
        batch = await super().fetch(mark)
        if batch.messages:
            self._die("fetched")
        return batch

    @override
    async def done(self, uids: Sequence[str]) -> None:
        if uids:
            self._die("before done")
        await super().done(uids)
        if uids:
            self._die("after done")

    @override
    async def send(self, outgoing: Outgoing) -> str:
        self._die("before send")
        taken = await super().send(outgoing)
        self._die("after send")
        return taken

    def renumber(self) -> None:
        """Give all messages new ids, as a server does whose UIDVALIDITY has changed."""
        self._incoming = [
            Incoming(uid=str(number + 100), raw=one.raw)
            for number, one in enumerate(self._incoming, 1)
        ]


class Scene:
    """A database, a mailbox and a reviewer; processes come and go."""

    def __init__(self, folder: Path, number: object) -> None:
        self.path = folder / f"{number}.db"
        self.mail, self.clock, self.seconds = Fatal(), ManualClock(), 0.0

    def store(self) -> SQLiteStore:
        """Return the store as another process opens it: whoever held a claim is dead."""
        self.seconds += 1_000
        return SQLiteStore(self.path, lease_clock=lambda: self.seconds)

    def client(self, store: SQLiteStore | FaultyStore) -> Client:
        """Return a client as each of the processes makes it."""
        mail = self.mail
        return Client(store, notifiers=[mail], inbox=mail, keyring=KEYS, clock=self.clock)

    async def ask(self) -> None:
        """Ask, and let the reviewer answer; nobody has read the answer yet."""
        async with self.client(self.store()) as client:
            await client.flows.start(Ask, requester="agent-7")
            await client.drain()
        self.clock.advance(timedelta(minutes=1))
        self.mail.reply(self.mail.sent[0], "approved\n\nAnn")

    async def check(self) -> None:
        """Let another process finish, twice, and see that all happened once."""
        for _ in range(2):
            async with self.client(self.store()) as client:
                await client.drain()
        async with self.client(self.store()) as client:
            (request,) = await client.hitl.list_requests()
            assert (request.status, len(request.decisions)) == ("approved", 1)
            (run,) = await client.flows.list()
            assert (await client.flows.get(run.run_id)).output == "published by Ann"
            sent = await client.hitl.deliveries(request_id=request.request_id)
            assert [one.kind for one in sent] == ["request", "confirmation"]
            assert {one.status for one in sent} == {"sent"}
        confirmations = self.mail.sent[1:]
        assert {mail["Message-ID"] for mail in confirmations} == {confirmations[0]["Message-ID"]}
        assert len(confirmations) <= 1 + sent[1].unknown
        assert set(self.mail.put_away) >= {one.uid for one in self.mail._incoming}


@pytest.mark.parametrize("side", ["before", "after"])
@pytest.mark.parametrize("at", range(1, 13))
async def test_a_crash_at_any_write_leaves_one_decision(
    tmp_path: Path, at: int, side: Literal["before", "after"]
) -> None:
    """Requirement 4: the commit of the decision holds the message's key and the confirmation."""
    scene = Scene(tmp_path, at)
    await scene.ask()
    store = FaultyStore(scene.store(), at=at, side=side)
    with suppress(StoreUnavailableError, BaseExceptionGroup):
        async with scene.client(store) as client:
            await client.drain()
    await scene.check()


@pytest.mark.parametrize(
    "place", ["fetched", "before done", "after done", "before send", "after send"]
)
async def test_a_crash_between_fetch_and_mark_leaves_one_decision(
    tmp_path: Path, place: Place
) -> None:
    """Requirement 4: also while the mailbox is marked, and while the confirmation goes out."""
    scene = Scene(tmp_path, place)
    await scene.ask()
    scene.mail.place = place
    store = FaultyStore(scene.store())
    with suppress(Death, BaseExceptionGroup, StoreUnavailableError):
        async with scene.client(store) as client:
            try:
                await client.drain()
            finally:
                store.fail()
    assert scene.mail.deaths == 1
    await scene.check()


async def test_mail_under_new_ids_decides_nothing_anew(tmp_path: Path) -> None:
    """Requirement 4: when UIDVALIDITY changes all mail comes again, and its key knows it."""
    scene = Scene(tmp_path, "renumbered")
    await scene.ask()
    async with scene.client(scene.store()) as client:
        await client.drain()
    scene.mail.renumber()
    await scene.check()
    assert len(scene.mail.sent) == 2
