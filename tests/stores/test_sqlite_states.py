"""Where a SQLiteStore keeps the states of runs, and that their bodies come back byte for byte."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from signoff.errors import SealInvalidError, StoreUnavailableError
from signoff.model.changes import Changes, Sealed
from signoff.model.run import Run
from signoff.ports import RunQuery
from signoff.security import Keyring
from signoff.security.sealing import BodyMac, check_body, mac_body
from signoff.stores.sqlite import SQLiteStore
from signoff.stores.sqlite_states import LEAST, Cut, body_of, cut
from signoff.testing.builders import a_run, sealed, writing

LARGE = {"text": "x" * LEAST}
OTHER = {"text": "y" * LEAST}
SMALL = {"text": "x"}


@pytest.fixture
def anyio_backend() -> str:
    """What is kept does not depend on the loop: one will do."""
    return "asyncio"


@pytest.fixture(name="store")
async def _store(tmp_path: Path) -> AsyncIterator[SQLiteStore]:
    """Yield an open store."""
    async with SQLiteStore(tmp_path / "signoff.db") as store:
        yield store


def raw(store: SQLiteStore) -> closing[sqlite3.Connection]:
    """Open the store's file as another program does; each statement commits by itself."""
    return closing(sqlite3.connect(store.location, isolation_level=None))


def states(store: SQLiteStore) -> dict[str, bytes]:
    """Return what lies apart, by run id."""
    with raw(store) as file:
        return dict(file.execute("SELECT run_id, state FROM run_states"))


def put_together(parts: Cut) -> bytes:
    """Return a body as it is read from a row with these parts."""
    with closing(sqlite3.connect(":memory:")) as file:
        file.row_factory = sqlite3.Row
        row = file.execute(
            "SELECT 'run_1' AS run_id, ? AS body, ? AS state_at, ? AS state",
            (parts.rest, parts.state_at, parts.state),
        ).fetchone()
        return body_of(row)


def a_body(state_bytes: int) -> bytes:
    """Return something like a run's body, in which the state takes so many bytes."""
    filler = b"x" * (state_bytes - len(b'"state":""'))
    return b'{"run_id":"run_1","state":"' + filler + b'","state_type":"","next_seq":1}'


def test_a_state_is_kept_apart_from_a_size_on() -> None:
    """One byte less, and the body stays whole."""
    assert cut(a_body(LEAST - 1)) == Cut(a_body(LEAST - 1), None, b"")

    parts = cut(a_body(LEAST))

    assert parts.rest == b'{"run_id":"run_1",,"state_type":"","next_seq":1}'
    assert parts.state_at == len(b'{"run_id":"run_1",')
    assert len(parts.state) == LEAST == 2048


@pytest.mark.parametrize("missing", [b'"state":', b',"state_type":'])
def test_a_body_without_such_a_place_stays_whole(missing: bytes) -> None:
    """Nothing is cut out of what another version may write in another way."""
    body = a_body(2 * LEAST).replace(missing, b"")

    assert cut(body) == Cut(body)


@given(
    st.lists(
        st.sampled_from([b'"state":', b',"state_type":', b"x" * LEAST, b"{", b"", "é".encode()]),
        max_size=7,
    )
)
def test_any_body_comes_back_as_it_was(pieces: list[bytes]) -> None:
    """Wherever it says what, and how often."""
    body = b"".join(pieces)

    assert put_together(cut(body)) == body


async def test_a_large_state_lies_apart_and_is_read_with_its_run(store: SQLiteStore) -> None:
    """By whichever way the run is found; a small one is left where it is."""
    large = sealed(a_run("run_1", key="inv-1", state=LARGE))
    small = sealed(a_run("run_2", key="inv-2", state=SMALL))
    await store.commit(Changes(runs=(large, small)))

    assert [*states(store)] == ["run_1"]
    assert await store.run("run_1") == large
    assert await store.run_by_key("shop:Order", "inv-1") == large
    assert await store.run_by_key("shop:Order", "inv-2") == small
    assert [*await store.runs(RunQuery())] == [large, small]


async def test_a_state_is_written_only_when_it_changes(store: SQLiteStore) -> None:
    """A new version of the run leaves a state alone that is as it was."""
    await store.commit(writing(a_run(state=LARGE)))
    with raw(store) as file:
        file.execute(
            "CREATE TRIGGER no_change BEFORE UPDATE ON run_states"
            " BEGIN SELECT RAISE(ABORT, 'written'); END"
        )
    second = a_run(version=2, status="running", state=LARGE)

    await store.commit(writing(second))

    assert await store.run("run_1") == sealed(second)
    with pytest.raises(StoreUnavailableError, match="written"):
        await store.commit(writing(a_run(version=3, state=OTHER)))
    with raw(store) as file:
        file.execute("DROP TRIGGER no_change")
    await store.commit(writing(a_run(version=3, state=OTHER)))
    assert await store.run("run_1") == sealed(a_run(version=3, state=OTHER))


async def test_a_state_that_is_no_longer_large_leaves_nothing_behind(store: SQLiteStore) -> None:
    """It is in the body then, and nowhere else; and may grow again."""
    await store.commit(writing(a_run("run_1", state=LARGE), a_run("run_2", state=LARGE)))
    await store.commit(writing(a_run("run_1", version=2, state=SMALL)))

    assert [*states(store)] == ["run_2"]
    assert await store.run("run_1") == sealed(a_run("run_1", version=2, state=SMALL))
    assert await store.run("run_2") == sealed(a_run("run_2", state=LARGE))

    await store.commit(writing(a_run("run_1", version=3, state=OTHER)))

    assert await store.run("run_1") == sealed(a_run("run_1", version=3, state=OTHER))
    assert sorted(states(store)) == ["run_1", "run_2"]


async def test_a_body_that_was_stored_whole_is_read_and_then_cut(store: SQLiteStore) -> None:
    """As the first version of the schema has them, however large."""
    whole = sealed(a_run(state=LARGE))
    await store.commit(Changes(runs=(whole,)))
    with raw(store) as file:
        file.execute("UPDATE runs SET body = ?, state_at = NULL", (whole.body,))
    assert not states(store)
    assert await store.run("run_1") == whole

    await store.commit(writing(a_run(version=2, state=LARGE)))

    assert await store.run("run_1") == sealed(a_run(version=2, state=LARGE))
    assert [*states(store)] == ["run_1"]


@pytest.mark.parametrize(
    "tampering",
    [
        "DELETE FROM run_states",
        "UPDATE run_states SET run_id = 'run_2'",
        "UPDATE run_states SET state = 'x'",
        "UPDATE run_states SET state = x''",
        "UPDATE runs SET state_at = 'x'",
        "UPDATE runs SET state_at = NULL",
        "UPDATE runs SET body = CAST(body AS TEXT)",
    ],
)
async def test_a_body_that_cannot_be_put_together_is_found(
    store: SQLiteStore, tampering: str
) -> None:
    """It is no run any more, whatever of it was taken away."""
    await store.commit(writing(a_run(state=LARGE)))
    with raw(store) as file:
        file.execute(tampering)

    with pytest.raises(SealInvalidError) as caught:
        await store.run("run_1")

    assert (caught.value.record_id, caught.value.field) == ("run_1", "body")


@pytest.mark.parametrize(
    "tampering",
    [
        "UPDATE run_states SET state = CAST(replace(CAST(state AS TEXT), 'xx', 'xy') AS BLOB)",
        "UPDATE run_states SET state = (SELECT max(state) FROM run_states)",
    ],
)
async def test_another_state_is_not_what_was_sealed(store: SQLiteStore, tampering: str) -> None:
    """The MAC is over the whole body, so a state of another run does not fit either."""
    keyring = Keyring.generate()
    run = a_run(state=LARGE)
    made = sealed(run)
    mac = mac_body(keyring, kind="run", record_id="run_1", version=1, body=made.body)
    first = Sealed(record=run, body=made.body, kid=mac.kid, mac=mac.mac)
    await store.commit(Changes(runs=(first, sealed(a_run("run_2", state=OTHER)))))

    def check(found: Sealed[Run]) -> None:
        check_body(
            keyring,
            BodyMac(kid=found.kid, mac=found.mac),
            kind="run",
            record_id="run_1",
            version=1,
            body=found.body,
        )

    check(await store.run("run_1"))
    with raw(store) as file:
        file.execute(tampering)
    found = await store.run("run_1")

    assert found.record.state != LARGE
    with pytest.raises(SealInvalidError):
        check(found)
