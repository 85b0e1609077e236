"""Records to bytes and back, and the columns that must not contradict them."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from signoff.errors import CodecError, SchemaError, SealInvalidError
from signoff.model.base import FORMAT
from signoff.model.delivery import Delivery
from signoff.model.request import Request
from signoff.model.run import Occurrence, Run
from signoff.model.token import TokenRow
from signoff.records import (
    Stored,
    check_columns,
    columns_of,
    contradiction,
    decode,
    decode_facts,
    encode,
    encode_facts,
    id_of,
    instant_of,
    micros_of,
)
from signoff.testing.builders import (
    HOUR,
    NOON,
    a_delivery,
    a_request,
    a_run,
    a_token,
    an_occurrence,
)

NOON_MICROS = 1_772_452_800_000_000

ONE_OF_EACH: dict[type[Stored], Stored] = {
    Run: a_run(key="k"),
    Occurrence: an_occurrence(7),
    Request: a_request(expires_at=NOON + HOUR),
    TokenRow: a_token("tok_1"),
    Delivery: a_delivery(),
}

TREES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda children: (
        st.lists(children, max_size=3) | st.dictionaries(st.text(), children, max_size=3)
    ),
    max_leaves=10,
)


def test_the_bytes_are_the_whole_record_as_compact_json() -> None:
    """Defaults are written out, so that other defaults in a later version change nothing."""
    body = encode(a_delivery())

    assert json.loads(body) == {
        "format": 1,
        "delivery_id": "dlv_1",
        "version": 1,
        "kind": "request",
        "request_id": "req_1",
        "recipient": "cfo@acme.example",
        "notifier": "smtp",
        "token_id": "",
        "note": {},
        "status": "waiting",
        "attempts": 0,
        "unknown": 0,
        "not_before": "2026-03-02T12:00:00Z",
        "last_error": "",
        "created_at": "2026-03-02T12:00:00Z",
        "sent_at": None,
        "message_id": "",
    }
    assert b'": ' not in body


@pytest.mark.parametrize("model", ONE_OF_EACH)
def test_every_record_comes_back_as_it_was(model: type[Stored]) -> None:
    """With the members that this version does not know."""
    record = ONE_OF_EACH[model].model_copy(update={"later": {"x": 1}})

    found = decode(model, encode(record), "an id")

    assert found.model_dump() == record.model_dump()
    assert found.model_extra == {"later": {"x": 1}}


@given(state=st.dictionaries(st.text(), TREES, max_size=3), text=st.text(), at=st.datetimes())
def test_whatever_a_run_holds_comes_back(state: object, text: str, at: datetime) -> None:
    """Any tree, text and instant, in value and type."""
    run = a_run(state=state, blocked_detail=text, created_at=at.replace(tzinfo=UTC))

    found = decode(Run, encode(run), "run_1")

    assert found == run
    assert repr(found.state) == repr(run.state)


def test_a_text_without_utf8_form_is_refused() -> None:
    """A lone surrogate is a `CodecError` that names the record."""
    with pytest.raises(CodecError, match="surrogates") as caught:
        encode(a_request(message="\ud800"))
    assert caught.value.path == "req_1"

    with pytest.raises(CodecError, match="surrogates") as caught:
        encode_facts({"x": "\ud800"}, "run_1")
    assert caught.value.path == "run_1"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff",
        b"{}",
        b'{"format":1}',
        b'{"format":"x"}',
        b'{"format":null}',
        encode(a_request()).replace(b'"pending"', b'"agreed"'),
        encode(a_request()).replace(b'"kind":"call",', b""),
        encode(a_request()).replace(b'"version":1,', b'"version":"one",'),
        encode(a_request()).replace(b'"format":1,', b'"format":0,', 1),
        encode(a_request()) + b"}",
    ],
)
def test_bytes_that_are_no_record_are_refused(body: bytes) -> None:
    """They are not what Signoff wrote: `SealInvalidError` for the body, whatever is wrong."""
    with pytest.raises(SealInvalidError) as caught:
        decode(Request, body, "req_7")
    assert (caught.value.record_id, caught.value.field) == ("req_7", "body")


VOTE = {
    "label": "approve",
    "reviewer": "cfo@acme.example",
    "channel": "api",
    "proof": "authenticated",
    "decided_at": NOON,
    "payload_digest": "sha256:00",
}
END = {
    "status": "approved",
    "reviewer": "cfo@acme.example",
    "channel": "api",
    "resolved_at": NOON,
    "payload_digest": "sha256:00",
}


@pytest.mark.parametrize(
    "newer",
    [
        {"format": FORMAT + 1},
        {"policy": {"format": FORMAT + 1}},
        {"resolution": {**END, "format": FORMAT + 1}},
        {"decisions": [VOTE, {**VOTE, "format": FORMAT + 1}]},
    ],
    ids=["record", "policy", "resolution", "decision"],
)
def test_a_newer_format_is_refused_wherever_it_stands(newer: dict[str, object]) -> None:
    """The record, its policy, its end and its votes each have one."""
    body = encode(a_request(**newer))

    with pytest.raises(SchemaError, match=rf"req_1 has the record format {FORMAT + 1}.*upgrade"):
        decode(Request, body, "req_1")


def test_a_newer_format_is_told_from_a_broken_record() -> None:
    """A record that this version cannot even parse is "newer", not "tampered with"."""
    with pytest.raises(SchemaError):
        decode(Request, b'{"format": 99, "entirely": "different"}', "req_1")


def test_a_payloads_own_format_is_not_the_records() -> None:
    """What a user calls `format` is the user's."""
    run = a_run(state={"format": 99, "policy": {"format": 99}})

    assert decode(Run, encode(run), "run_1") == run


def test_facts_come_back_as_they_were() -> None:
    """Compact JSON in UTF-8; anything else is not what Signoff wrote."""
    body = encode_facts({"ü": [1, 1.5, None]}, "run_1")

    assert body == '{"ü":[1,1.5,null]}'.encode()
    assert decode_facts(body, "run_1") == {"ü": [1, 1.5, None]}
    for broken in (b"", b"[]", b'{"x":', b"\xff"):
        with pytest.raises(SealInvalidError) as caught:
            decode_facts(broken, "run_1")
        assert (caught.value.record_id, caught.value.field) == ("run_1", "facts")


def test_instants_are_exact_and_sort() -> None:
    """Whole microseconds since 1970 in UTC, whatever the zone they came in."""
    assert micros_of(NOON) == NOON_MICROS
    assert micros_of(NOON.astimezone(timezone(timedelta(hours=9)))) == NOON_MICROS
    assert micros_of(datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)) == -1
    assert instant_of(NOON_MICROS + 1) == NOON + timedelta(microseconds=1)
    for extreme in (datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)):
        assert instant_of(micros_of(extreme)) == extreme


def test_a_record_is_stored_under_its_id() -> None:
    """Each kind has one; it is the first of its columns, the version the second."""
    ids = [id_of(record) for record in ONE_OF_EACH.values()]

    assert ids == ["run_1", "run_1.7", "req_1", "tok_1", "dlv_1"]
    for record in ONE_OF_EACH.values():
        columns = list(columns_of(record).items())
        assert columns[0][1] == id_of(record)
        assert columns[1] == ("version", 1)


def test_columns_are_what_a_store_looks_for() -> None:
    """Exactly these, by name."""
    assert columns_of(a_run(key="k", parent_run_id="run_0", updated_at=NOON + HOUR)) == {
        "run_id": "run_1",
        "version": 1,
        "flow_name": "shop:Order",
        "status": "ready",
        "key": "k",
        "parent_run_id": "run_0",
        "created_at": NOON_MICROS,
        "updated_at": NOON_MICROS + 3_600_000_000,
    }
    assert columns_of(an_occurrence(7)) == {
        "occurrence_id": "run_1.7",
        "version": 1,
        "run_id": "run_1",
        "seq": 7,
    }
    assert columns_of(a_token("tok_1", kid=9)) == {
        "token_id": "tok_1",
        "version": 1,
        "request_id": "req_1",
        "kid": 9,
        "not_after": NOON_MICROS + 24 * 3_600_000_000,
    }
    assert columns_of(a_delivery(not_before=NOON + HOUR)) == {
        "delivery_id": "dlv_1",
        "version": 1,
        "request_id": "req_1",
        "notifier": "smtp",
        "status": "waiting",
        "not_before": NOON_MICROS + 3_600_000_000,
        "created_at": NOON_MICROS,
    }


def test_the_columns_of_a_request_name_every_key_that_sealed_it() -> None:
    """Its own, its votes' and its end's, in order and without repeats; no end is no expiry."""

    def seal(kid: int) -> dict[str, object]:
        return {"kid": kid, "tags": {}, "whole": ""}

    request = a_request(
        assignees=("ü@acme.example", "b"),
        seal=seal(7),
        decisions=({**VOTE, "seal": seal(9)}, {**VOTE, "seal": seal(7)}, VOTE),
        resolution={**END, "seal": seal(3)},
        hidden_kids=(7, 5),
    )

    assert columns_of(request) == {
        "request_id": "req_1",
        "version": 1,
        "run_id": "run_1",
        "status": "pending",
        "risk": "medium",
        "assignees": '["\\u00fc@acme.example", "b"]',
        "kids": "[3, 5, 7, 9]",
        "created_at": NOON_MICROS,
        "expires_at": None,
    }
    assert columns_of(a_request())["kids"] == "[]"
    assert columns_of(a_request(expires_at=NOON))["expires_at"] == NOON_MICROS


@pytest.mark.parametrize("model", ONE_OF_EACH)
def test_a_column_that_contradicts_its_record_is_named(model: type[Stored]) -> None:
    """Every column of every kind; columns that are not the record's do not matter."""
    record = ONE_OF_EACH[model]
    columns = {**columns_of(record), "of the store": 1}
    assert contradiction(record, columns) == ""
    check_columns(record, columns, "stored id")

    for name in columns_of(record):
        wrong = {**columns, name: "something else"}
        assert contradiction(record, wrong) == name
        with pytest.raises(SealInvalidError) as caught:
            check_columns(record, wrong, "stored id")
        assert (caught.value.record_id, caught.value.field) == ("stored id", name)
