"""
The fifteen requirements of mail, by number: which tests prove each, and that they are there.

A test that was written for a requirement begins its docstring with `Requirement N:`. Tests
that prove one beside their own point are named in `ALSO`.
"""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from functools import cache
from pathlib import Path

import pytest

pytestmark = pytest.mark.one_python

TESTS = Path(__file__).parents[1]

REQUIREMENTS = {
    1: "no GPL in the core; the inbox runs on asyncio and trio; one suite for all transports",
    2: "the IMAP client survives what servers do, and every wait has an end",
    3: "no wake-up is lost, with or without IDLE",
    4: "a reply decides exactly once, wherever the process dies",
    5: "TLS off loopback, no password or token in any log",
    6: "every address fits into 64 octets and survives upper case",
    7: "the token is authentic, bound, expiring, and good for one purpose",
    8: "a token that was lost is made up for by our own message id, and by nothing else",
    9: "only the exact address in From decides",
    10: "only what the trusted server says on top counts",
    11: "automatic mail decides nothing, is not answered, and bounces find their delivery",
    12: "the first authored line is found, in any client's reply",
    13: "an answer matches whole, and no line of ours reads as one",
    14: "no text of others adds a header or an element",
    15: "the mail is usable, and a reply from a wrong account is explained to the right one",
}

ALSO = {
    1: [
        "project/test_licences.py::test_no_core_dependency_is_under_the_gpl",
        "project/test_licences.py::test_the_gpl_libraries_come_only_with_their_extras",
        "adapters/test_imap_contract.py",
        "mailflow/test_memory_mail.py::TestMemoryMail",
    ],
    2: [
        "adapters/test_imap_faults.py::test_ten_thousand_rows_are_read",
        "adapters/test_imap_faults.py::test_every_byte_may_come_alone",
        "adapters/test_imap_faults.py::test_a_connection_may_end_within_any_answer",
        "adapters/test_imap_faults.py::test_a_call_without_an_answer_ends_and_the_next_one_connects_anew",
        "adapters/test_imap_faults.py::test_a_cancelled_fetch_leaves_no_connection",
        "adapters/test_imap_syntax.py::test_a_row_is_read_as_it_was_written",
    ],
    3: [
        "adapters/test_imap.py::test_an_ended_session_is_replaced_at_the_next_poll",
        "adapters/test_imap_faults.py::test_a_connection_that_fell_silent_is_replaced_within_the_poll",
    ],
    4: [
        "adapters/test_imap.py::test_new_uids_bring_all_mail_again",
        "adapters/test_imap.py::test_fetching_does_not_mark_as_seen",
        "mailflow/test_replies.py::test_the_same_message_is_handled_once",
        "mailflow/test_reply_limits.py::test_a_confirmation_that_is_lost_with_the_process_comes_later",
    ],
    5: [
        "adapters/test_smtp.py::test_mail_in_clear_is_refused_off_loopback",
        "adapters/test_smtp.py::test_a_server_without_starttls_never_sees_a_login",
        "adapters/test_smtp.py::test_nothing_secret_is_logged_at_debug",
        "adapters/test_imap_faults.py::test_without_starttls_nobody_hears_the_password",
        "adapters/test_imap.py::test_a_certificate_that_nobody_trusts_ends_the_connection",
    ],
    6: [
        "mail/test_address.py::test_no_reply_address_is_longer_than_allowed",
        "mail/test_address.py::test_a_name_of_16_characters_is_too_long",
        "security/test_tokens.py::test_a_token_survives_upper_casing",
        "adapters/test_smtp.py::test_each_request_has_a_path_of_its_own_by_which_it_comes_back",
    ],
    7: [
        "security/test_tokens.py::test_a_token_follows_its_formula",
        "security/test_tokens.py::test_no_other_character_is_accepted_anywhere",
        "security/test_tokens.py::test_a_token_of_another_row_is_refused",
        "security/test_tokens.py::test_a_token_is_good_for_its_own_purpose_only",
        "security/test_tokens.py::test_rotation_leaves_tokens_valid",
        "security/test_tokens.py::test_every_refusal_costs_the_same_work",
        "mailflow/test_reply_limits.py::test_a_forged_token_is_like_none",
        "mailflow/test_replies.py::test_a_reply_after_the_expiry_is_told_so",
    ],
    9: [
        "mail/test_address.py::test_a_from_that_two_parsers_could_read_differently_names_nobody",
        "mail/test_address.py::test_a_look_alike_is_somebody_else",
        "mail/test_address.py::test_there_is_exactly_one_from",
    ],
    10: [
        "mail/test_authentication.py::test_only_the_topmost_header_counts",
        "mail/test_authentication.py::test_what_stands_in_comments_and_quotes_is_no_result",
        "mail/test_authentication.py::test_a_server_without_an_id_writes_none",
    ],
    11: [
        "mail/test_incoming.py::test_what_a_machine_sent_is_automatic",
        "mail/test_incoming.py::test_a_bounce_of_postfix_has_no_sender_and_no_text",
        "mail/test_bounces.py::test_servers_are_understood_each_in_its_own_form",
    ],
    12: [
        "mail/test_reply.py",
        "mailflow/test_requirement_12_replies.py",
        "mailflow/test_requirement_12_hostile.py",
        "mail/test_hostile.py::test_twenty_thousand_hostile_mails_are_read_without_an_error",
    ],
    13: [
        "rules/test_outcomes.py",
        "mail/test_compose_safety.py::test_no_line_of_a_mail_reads_as_an_answer",
    ],
    14: [
        "mail/test_compose_safety.py::test_no_text_adds_removes_or_changes_a_header",
        "mail/test_compose_safety.py::test_no_text_adds_an_element_or_an_attribute",
        "adapters/test_smtp.py::test_a_cancelled_send_closes_its_connection",
        "client/test_outbox_ends.py::test_a_delivery_whose_sender_died_is_sent_again_with_the_same_message_id",
    ],
    15: [
        "mail/test_html_checks.py",
        "mailflow/test_replies.py::test_a_reply_from_another_address_is_explained_to_the_reviewer_alone",
    ],
}


@cache
def names_in(path: Path) -> dict[str, str]:
    """Return the tests and test classes of a file with their docstrings."""
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    nodes = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, kinds)]
    named = [node for node in nodes if node.name.lower().startswith("test")]
    return {node.name: ast.get_docstring(node) or "" for node in named}


def numbered() -> dict[int, list[str]]:
    """Return by number which tests say that they prove a requirement."""
    found: dict[int, list[str]] = defaultdict(list)
    for path in sorted(TESTS.rglob("test_*.py")):
        for name, said in names_in(path).items():
            number = re.match(r"Requirement (\d+)\b", said)
            if number is not None:
                found[int(number.group(1))].append(f"{path.relative_to(TESTS)}::{name}")
    return found


def test_the_numbers_are_those_of_the_list() -> None:
    """Fifteen, and no test claims another one."""
    assert list(REQUIREMENTS) == list(range(1, 16))
    assert set(numbered()) | set(ALSO) <= set(REQUIREMENTS)


@pytest.mark.parametrize("number", REQUIREMENTS)
def test_each_requirement_has_tests(number: int) -> None:
    """By its docstring, or named here."""
    assert [*numbered()[number], *ALSO.get(number, ())], REQUIREMENTS[number]


@pytest.mark.parametrize("place", [place for places in ALSO.values() for place in places])
def test_a_test_that_is_named_here_is_there(place: str) -> None:
    """A test that was renamed or dropped takes its proof along."""
    file, _, name = place.partition("::")
    names = names_in(TESTS / file)

    assert names
    assert not name or name in names
