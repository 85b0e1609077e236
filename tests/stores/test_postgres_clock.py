"""What a process knows of the server's clock between two answers: never ahead of it, and hardly behind."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta
from itertools import pairwise

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st
from psycopg.rows import DictRow

from signoff import Client
from signoff.errors import StaleWriteError
from signoff.model.changes import Changes
from signoff.security.keyring import Keyring
from signoff.stores.postgres import PostgresStore
from signoff.stores.postgres_clock import DRIFT, FRESH, SECOND, WIDEST, Reading, ServerClock
from signoff.stores.postgres_pool import Query, Session
from signoff.testing.builders import a_request, writing

REVIEWER = "cfo@acme.example"
DAY = timedelta(days=1)
NOON_MICROS = 1_800_000_000_000_000


@pytest.fixture
def anyio_backend() -> str:
    """A server's clock does not depend on the loop: one will do."""
    return "asyncio"


def test_an_answer_was_given_between_question_and_receipt() -> None:
    """So the server's clock stands there at least, and further by the way at the most."""
    reading = Reading.of(7, sent=1_000_000, received=1_004_000)

    assert reading == Reading(at=1_004_000, earliest=7_000, latest=7_000 + 1_000 + 4_000 + 4)


def test_the_bounds_go_on_and_apart() -> None:
    """By what has passed, less and more what clocks may drift, rounded up."""
    reading = Reading(at=10, earliest=500, latest=600)

    assert reading.later(10) == reading
    assert reading.later(11) == Reading(at=11, earliest=500, latest=602)
    assert reading.later(10 + 3 * DRIFT) == Reading(
        at=10 + 3 * DRIFT, earliest=500 + 3 * DRIFT - 3, latest=600 + 3 * DRIFT + 3
    )


def test_two_answers_say_more_than_one() -> None:
    """What lies within the bounds of both, whichever came in first."""
    one, other = Reading(at=5, earliest=100, latest=200), Reading(at=5, earliest=150, latest=260)

    assert one.and_then(other) == other.and_then(one) == Reading(5, 150, 200)
    touching = Reading(at=5, earliest=200, latest=300)
    assert one.and_then(touching) == Reading(5, 200, 200)


@pytest.mark.parametrize("moved", [-SECOND, SECOND])
def test_of_two_that_contradict_each_other_the_later_one_counts(moved: int) -> None:
    """The server's clock was set, forward or back, or this machine's stood still."""
    before = Reading(at=0, earliest=10 * SECOND, latest=10 * SECOND + 1000)
    after = Reading(at=1000, earliest=10 * SECOND + moved, latest=10 * SECOND + moved + 1000)

    assert before.and_then(after) == after
    assert after.and_then(before) == after


def test_the_time_is_known_for_a_second_and_to_a_tenth() -> None:
    """To the very nanosecond; after that the server has to be asked."""
    exact = Reading(at=0, earliest=NOON_MICROS * 1000, latest=NOON_MICROS * 1000)
    assert exact.micros(0) == NOON_MICROS
    assert exact.micros(FRESH) == NOON_MICROS + 1_000_000 - 1_000
    assert exact.micros(FRESH + 1) is None

    vague = Reading(at=0, earliest=0, latest=WIDEST)
    assert vague.micros(0) == 0
    assert vague.micros(1) is None


class Hand:
    """A clock of this process that is set by hand."""

    at = 0

    def __call__(self) -> int:
        """Return what it stands at."""
        return self.at


def test_a_clock_of_which_nothing_was_told_is_not_known() -> None:
    """Then what was told, plus what has passed here."""
    hand = Hand()
    clock = ServerClock(hand)
    assert clock.micros() is None

    hand.at = 2000
    clock.told(NOON_MICROS, sent=0)
    assert clock.micros() == NOON_MICROS
    hand.at = 2000 + DRIFT * 1000
    assert clock.micros() == NOON_MICROS + DRIFT - 1
    clock.told(NOON_MICROS - 5_000_000, sent=hand.at)
    assert clock.micros() == NOON_MICROS - 5_000_000


@given(
    rate=st.integers(-SECOND // DRIFT + 1, SECOND // DRIFT - 1),
    steps=st.lists(
        st.tuples(
            st.integers(0, 2 * SECOND), st.integers(0, SECOND // 5), st.integers(0, SECOND // 5)
        ),
        min_size=1,
        max_size=12,
    ),
)
def test_what_is_told_is_never_ahead_and_never_far_behind(
    rate: int, steps: list[tuple[int, int, int]]
) -> None:
    """Whatever the ways take, as long as the clocks drift no faster than supposed; and it never goes back."""

    def server(at: int) -> int:
        return NOON_MICROS * 1000 + at + at * rate // SECOND

    hand = Hand()
    clock = ServerClock(hand)
    told: list[int] = []
    for pause, there, back in steps:
        hand.at += pause
        known = clock.micros()
        if known is not None:
            told.append(known)
            assert server(hand.at) - WIDEST - 1000 <= known * 1000 <= server(hand.at)
        sent = hand.at
        answered = server(sent + there) // 1000
        hand.at = sent + there + back
        clock.told(answered, sent=sent)
        if there + back <= WIDEST // 2:
            assert clock.micros() is not None
    assert all(one <= other for one, other in pairwise(told))


@pytest.fixture(name="asked")
def _asked(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Return the statements that are sent."""
    asked: list[bytes] = []
    send = Session.all

    def note(
        session: Session, query: Query, values: Mapping[str, object] | None = None
    ) -> list[DictRow]:
        asked.append(query.within(session.schema))
        return send(session, query, values)

    monkeypatch.setattr(Session, "all", note)
    return asked


async def test_it_lies_between_what_the_server_said_before_and_says_after(
    postgres: str, postgres_tables: str
) -> None:
    """A real clock, read past the store: the time is never ahead of it, nor a tenth of a second behind."""
    async with PostgresStore(postgres, schema=postgres_tables) as store:
        with psycopg.connect(postgres, autocommit=True) as session:
            for number in range(200):
                before = session.execute("SELECT clock_timestamp()").fetchall()[0][0]
                now = await store.now()
                after = session.execute("SELECT clock_timestamp()").fetchall()[0][0]
                assert before - timedelta(seconds=0.1) <= now <= after
                await store.commit(Changes(handled=(f"imap:{number}",), now=now))


async def test_the_server_is_asked_once_and_then_brings_the_time_along(
    postgres: str, postgres_tables: str, asked: list[bytes]
) -> None:
    """While this process' clock stands still nothing goes stale; a second later it is asked again."""
    async with PostgresStore(postgres, schema=postgres_tables) as store:
        hand = Hand()
        store._server.clock = ServerClock(hand)
        asked.clear()
        first = await store.now()
        assert [await store.now() for _ in range(5)] == [first] * 5
        assert len(asked) == 1

        await store.commit(writing(a_request()))
        second = await store.now()
        await store.request("req_1")
        third = await store.now()
        assert first < second < third
        assert await store.ready(["shop:Order"], limit=9) == []
        assert await store.now() > third
        assert len(asked) == 4

        hand.at += FRESH + 1
        assert await store.now() > third
        assert len(asked) == 5


async def test_what_another_process_wrote_is_not_in_the_future(
    postgres: str, postgres_tables: str
) -> None:
    """Who has just read a record is not before the time in it, though its own clock stands still."""
    async with (
        PostgresStore(postgres, schema=postgres_tables) as one,
        PostgresStore(postgres, schema=postgres_tables) as other,
    ):
        other._server.clock = ServerClock(Hand())
        await other.now()
        for number in range(20):
            request_id = f"req_{number}"
            written = await one.now()
            await one.commit(writing(a_request(request_id, created_at=written)))
            await other.request(request_id)
            assert await other.now() >= written


@pytest.mark.parametrize("ahead", [DAY, -DAY])
async def test_a_clock_that_is_set_is_followed_with_the_next_answer(
    postgres: str, postgres_schema: str, ahead: timedelta
) -> None:
    """Forward or back; a commit that assumed the old time is refused by the server's, and says the new one."""
    async with PostgresStore(postgres, schema=postgres_schema) as store:
        store._server.clock = ServerClock(Hand())
        before = await store.now()
        with psycopg.connect(postgres, autocommit=True) as session:
            session.execute(
                f"CREATE OR REPLACE FUNCTION {postgres_schema}.business_now() RETURNS timestamptz"
                " LANGUAGE sql AS"
                f" $$ SELECT clock_timestamp() + interval '{ahead.days} days' $$".encode()
            )
        assert await store.now() == before
        wrong = Changes(now=before, until=before + DAY / 2)
        with pytest.raises(StaleWriteError, match="the clock stands at"):
            await store.commit(wrong)

        now = await store.now()
        assert abs(now - before - ahead) < DAY / 2
        await store.commit(Changes(handled=("imap:1",), now=now, until=now + DAY / 2))


async def test_a_question_and_its_answer_ask_for_the_time_but_once(
    postgres: str, postgres_schema: str, asked: list[bytes]
) -> None:
    """Everything after that has it from the answers to what is read and written anyway."""
    store = PostgresStore(postgres, schema=postgres_schema)
    store._server.clock = ServerClock(Hand())
    async with Client(store, keyring=Keyring.generate()) as client:
        request = await client.hitl.request("Publish?", payload="copy", assignees=[REVIEWER])
        await client.hitl.approve(request_id=request.request_id, reviewer=REVIEWER)
        await client.drain()

    (time,) = {one for one in asked if re.fullmatch(rb"SELECT \S+ AS clock", one)}
    assert asked.count(time) == 1
