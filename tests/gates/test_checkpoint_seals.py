"""A checkpoint is what was stored, all of it, or it is not believed."""

from __future__ import annotations

from dataclasses import replace

import pytest

from signoff.errors import SealInvalidError
from signoff.flows.session import check_checkpoint, sealed_occurrence, sealed_run
from signoff.model.changes import Sealed
from signoff.model.run import Occurrence, Run
from signoff.security.keyring import Keyring
from signoff.testing.builders import a_run, an_occurrence

KEYRING = Keyring.generate()


def a_checkpoint() -> tuple[Sealed[Run], list[Sealed[Occurrence]]]:
    """Return a run of two occurrences."""
    journal = [sealed_occurrence(KEYRING, an_occurrence(seq)) for seq in (1, 2)]
    return sealed_run(KEYRING, a_run(next_seq=3)), journal


def found_wrong(
    run: Sealed[Run], journal: list[Sealed[Occurrence]], keyring: Keyring = KEYRING
) -> tuple[str, str]:
    """Return which record is wrong, and what of it."""
    with pytest.raises(SealInvalidError) as invalid:
        check_checkpoint(keyring, run, journal)
    return invalid.value.record_id, invalid.value.field


def test_what_was_stored_is_believed() -> None:
    """With the key that is active, and with one that was."""
    run, journal = a_checkpoint()

    check_checkpoint(KEYRING, run, journal)
    check_checkpoint(KEYRING.rotated([1]), run, journal)


def test_changed_bytes_and_columns_are_not() -> None:
    """Of the run, and of each occurrence."""
    run, journal = a_checkpoint()
    odd_run = replace(run, body=run.body.replace(b"shop:Order", b"shop:Other"))
    odd_step = replace(journal[1], body=journal[1].body.replace(b"draft", b"drift"))

    assert found_wrong(odd_run, journal) == ("run_1", "run")
    assert found_wrong(run, [journal[0], odd_step]) == ("run_1.2", "journal")
    assert found_wrong(replace(run, contradicts="status"), journal) == ("run_1", "status")
    assert found_wrong(run, [journal[0], replace(journal[1], contradicts="seq")]) == (
        "run_1.2",
        "seq",
    )
    assert found_wrong(run, journal, Keyring.generate()) == ("run_1", "run")


def test_an_older_version_in_the_place_of_a_newer_one_is_not() -> None:
    """The MAC covers the version."""
    run, journal = a_checkpoint()
    older = sealed_run(KEYRING, a_run(next_seq=3, version=1))
    newer = replace(older, record=older.record.model_copy(update={"version": 2}))

    check_checkpoint(KEYRING, run, journal)
    assert found_wrong(newer, journal) == ("run_1", "run")


def test_occurrences_are_neither_lost_nor_added_nor_taken_from_another_run() -> None:
    """Their numbers have no gap, and end where the run says."""
    run, journal = a_checkpoint()
    stranger = sealed_occurrence(KEYRING, an_occurrence(2, run_id="run_2"))
    third = sealed_occurrence(KEYRING, an_occurrence(3))

    for odd in (journal[:1], journal[1:], [*journal, third], [journal[0], stranger], journal[::-1]):
        assert found_wrong(run, odd) == ("run_1", "journal")
