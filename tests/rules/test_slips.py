"""Slips are refused in one sentence: what was written, and what to write."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta

import pytest

from signoff.errors import ConfigurationError
from signoff.rules.slips import (
    meant,
    names_in,
    refuse_bare_numbers,
    refuse_no_text,
    refuse_other_word,
    refuse_unknown_option,
)

WORDS = ("pending", "approved")


@pytest.mark.parametrize(
    ("slip", "said"),
    [
        (
            lambda: refuse_bare_numbers(sla=None, lease=5),
            "lease=5 has no unit; write lease=timedelta(seconds=5), or minutes=, hours=, days=",
        ),
        (
            lambda: refuse_bare_numbers(sla="1 h"),
            "sla='1 h' has no unit; write sla=timedelta(seconds=30), or minutes=, hours=, days=",
        ),
        (
            lambda: refuse_other_word("status", "open", WORDS),
            "status='open': use one of 'pending', 'approved'",
        ),
        (
            lambda: names_in("live", "amount"),
            "live='amount' is one text; write live=['amount']",
        ),
        (lambda: refuse_no_text("key", 17, write="'17'"), "key=17 is no text; write '17'"),
    ],
)
def test_a_slip_is_named_with_its_value_and_what_to_write(
    slip: Callable[[], object], said: str
) -> None:
    """The whole sentence, because it is all that its reader has."""
    with pytest.raises(ConfigurationError, match=f"^{re.escape(said)}$"):
        slip()


def test_an_option_that_nobody_knows_is_refused_as_python_refuses_one() -> None:
    """With the one that was meant, where one is like it; the known ones pass."""
    known = ("assignees", "risk")
    refuse_unknown_option(["risk", "assignees"], known, of="gate()")
    said = "gate() got an unexpected keyword argument 'asignees'; did you mean 'assignees'?"

    with pytest.raises(TypeError, match=f"^{re.escape(said)}$"):
        refuse_unknown_option(["risk", "asignees"], known, of="gate()")
    with pytest.raises(TypeError, match=r"^gate\(\) got an unexpected keyword argument 'colour'$"):
        refuse_unknown_option(["colour"], known, of="gate()")


def test_what_is_right_passes() -> None:
    """Nothing is said of it."""
    refuse_bare_numbers(sla=timedelta(0), lease=None)
    refuse_other_word("status", "approved", WORDS)
    refuse_no_text("key", "", write="another")

    assert names_in("live", iter(["amount", "to"])) == ("amount", "to")


def test_the_word_that_is_most_alike_was_meant() -> None:
    """One of those that are alike, and none that is not."""
    assert meant("amonut", ["mount", "amount"]) == "; did you mean 'amount'?"
    assert meant("colour", ["amount"]) == ""
