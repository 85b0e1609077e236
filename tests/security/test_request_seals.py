"""Each part of a request that matters is sealed, and none fits another request."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest

from signoff.errors import SealInvalidError
from signoff.model.decision import Decision, Resolution
from signoff.model.policy import Policy
from signoff.model.request import CallIdentity, Choice, Evidence, Request
from signoff.rules.digest import digest
from signoff.security.keyring import Keyring
from signoff.security.request_seals import verify_request, with_answer_seals, with_core_seal
from signoff.security.sealing import seal
from signoff.testing.builders import HOUR, MICROSECOND, NOON, a_request

KEYRING = Keyring.generate()
PAYLOAD = '{"amount":9}'
EDITED = '{"amount":8}'


def a_vote(payload: str = PAYLOAD, **given: object) -> Decision:
    """Return Ann's yes."""
    fields = {
        "label": "approve",
        "feedback": "fine",
        "reviewer": "ann@acme.example",
        "channel": "email",
        "proof": "authenticated",
        "decided_at": NOON,
        "payload_digest": digest(payload),
        "edited": payload != PAYLOAD,
    }
    return Decision.model_validate({**fields, **given})


def an_end(payload: str = PAYLOAD, **given: object) -> Resolution:
    """Return what Ann's yes makes of the request."""
    fields = {
        "status": "approved",
        "outcome": "approve",
        "feedback": "fine",
        "reviewer": "ann@acme.example",
        "channel": "email",
        "resolved_at": NOON,
        "payload_digest": digest(payload),
        "edited": payload != PAYLOAD,
        "valid_until": NOON + HOUR,
    }
    return Resolution.model_validate({**fields, **given})


def pending(request_id: str = "req_1", **given: object) -> Request:
    """Return a sealed request that waits."""
    fields = {
        "payload_json": PAYLOAD,
        "payload_digest": digest(PAYLOAD),
        "proposed_digest": digest(PAYLOAD),
        "identity": CallIdentity(occurrence_id="run_1.1", gate="shop:pay", digest="sha256:00"),
        "evidence": (Evidence(label="a", value="b"),),
        "metadata": {"a": 1},
    }
    return with_core_seal(KEYRING, a_request(request_id, **{**fields, **given}))


def approved(request_id: str = "req_1", *, payload: str = PAYLOAD) -> Request:
    """Return a request that Ann has approved, perhaps with a change."""
    changed = pending(request_id).model_copy(
        update={
            "status": "approved",
            "payload_json": payload,
            "payload_digest": digest(payload),
            "decisions": (a_vote(payload), a_vote(payload, reviewer="bob@acme.example")),
            "resolution": an_end(payload),
        }
    )
    return with_answer_seals(KEYRING, changed)


def found_wrong(request: Request, keyring: Keyring = KEYRING) -> str:
    """Return what verification says is wrong."""
    with pytest.raises(SealInvalidError) as invalid:
        verify_request(keyring, request)
    assert invalid.value.record_id == request.request_id
    assert invalid.value.run_id == request.run_id
    return invalid.value.field


@pytest.mark.parametrize("payload", [PAYLOAD, EDITED])
def test_what_was_sealed_verifies(payload: str) -> None:
    """Pending and approved, edited or not, with an older key as well."""
    verify_request(KEYRING, pending())
    verify_request(KEYRING, approved(payload=payload))
    verify_request(KEYRING.rotated([1]), approved(payload=payload))


CORE_CHANGES: dict[str, object] = {
    "kind": "in_doubt",
    "run_id": "run_2",
    "flow_name": "shop:refund",
    "method_name": "refund",
    "message": "Refund?",
    "choices": (Choice(label="approve", meaning="reject"),),
    "default_outcome": "reject",
    "on_expiry": "approve",
    "assignees": ("eve@acme.example",),
    "requester": "eve@acme.example",
    "proposed_digest": digest(EDITED),
    "editable": False,
    "summary": "harmless",
    "rationale": "because",
    "confidence": 1.0,
    "evidence": (Evidence(label="a", value="c"),),
    "metadata": {"a": 2},
    "risk": "low",
    "created_at": NOON + MICROSECOND,
    "due_at": NOON,
    "expires_at": NOON + timedelta(days=365),
    "valid_for_seconds": 86_401.0,
    "policy": Policy(approvers=("eve@acme.example",)),
    "policy_digest": "sha256:01",
    "identity": CallIdentity(occurrence_id="run_1.2", gate="shop:pay", digest="sha256:00"),
    "hidden": ("amount",),
}
UNSEALED = {
    "format",
    "request_id",  # what every seal of it is bound to
    "version",
    "comments",
    "audit",
    "undelivered",
    "hidden_kids",  # says only which keys are still needed
    # by digests and by the other seals:
    "payload_json",
    "payload_digest",
    "status",
    "decisions",
    "resolution",
    "seal",
}


def test_every_field_is_either_sealed_or_known_not_to_be() -> None:
    """A new field of the record has to be put on one of the two lists."""
    assert {*CORE_CHANGES, *UNSEALED} == set(Request.model_fields)
    assert not CORE_CHANGES.keys() & UNSEALED


@pytest.mark.parametrize("field", CORE_CHANGES)
@pytest.mark.parametrize("make", [pending, approved])
def test_a_changed_field_of_the_core_is_named(make: Callable[[], Request], field: str) -> None:
    """Before and after the answer."""
    assert found_wrong(make().model_copy(update={field: CORE_CHANGES[field]})) == field


@pytest.mark.parametrize("field", [name for name in Decision.model_fields if name != "seal"])
@pytest.mark.parametrize("index", [0, 1])
def test_a_changed_vote_is_named(field: str, index: int) -> None:
    """By its place, whichever of its fields it is."""
    request = approved()
    other = a_vote(
        EDITED,
        label="reject",
        feedback="",
        reviewer="eve@acme.example",
        channel="api",
        proof="none",
        decided_at=NOON + HOUR,
    )
    value = 99 if field == "format" else getattr(other, field)
    votes = list(request.decisions)
    votes[index] = votes[index].model_copy(update={field: value})

    assert found_wrong(request.model_copy(update={"decisions": tuple(votes)})) == (
        f"decisions[{index}]"
    )


@pytest.mark.parametrize("field", [name for name in Resolution.model_fields if name != "seal"])
def test_a_changed_resolution_is_named(field: str) -> None:
    """Whichever of its fields it is; a digest of another payload is the payload's fault."""
    request = approved()
    other = an_end(
        EDITED,
        status="rejected",
        outcome="reject",
        feedback="",
        reviewer="eve@acme.example",
        channel="api",
        resolved_at=NOON + HOUR,
        valid_until=NOON + 9 * HOUR,
        reason="withdrawn",
    )
    value = 99 if field == "format" else getattr(other, field)
    assert request.resolution is not None
    end = request.resolution.model_copy(update={field: value})
    wrong = found_wrong(request.model_copy(update={"resolution": end}))

    assert wrong == ("payload" if field == "payload_digest" else "resolution")


@pytest.mark.parametrize("make", [pending, approved])
def test_another_payload_is_named(make: Callable[[], Request]) -> None:
    """With or without the digest that would go with it."""
    request = make()
    with_digest = {"payload_json": EDITED, "payload_digest": digest(EDITED)}

    assert found_wrong(request.model_copy(update={"payload_json": EDITED})) == "payload"
    assert found_wrong(request.model_copy(update=with_digest)) == "payload"
    assert found_wrong(request.model_copy(update={"payload_digest": digest(EDITED)})) == (
        "payload_digest"
    )


def test_an_edit_cannot_be_undone() -> None:
    """The proposal does not stand for what was approved."""
    undone = {"payload_json": PAYLOAD, "payload_digest": digest(PAYLOAD)}

    assert found_wrong(approved(payload=EDITED).model_copy(update=undone)) == "payload"


def test_a_status_needs_its_resolution() -> None:
    """And a resolution its status."""
    assert found_wrong(pending().model_copy(update={"status": "approved"})) == "status"
    assert found_wrong(approved().model_copy(update={"status": "pending"})) == "status"
    assert found_wrong(approved().model_copy(update={"status": "rejected"})) == "status"
    assert found_wrong(approved().model_copy(update={"resolution": None})) == "status"


def test_a_missing_seal_is_named_by_what_it_sealed() -> None:
    """Taking one away is as good as breaking it."""
    request = approved()
    bare_vote = (request.decisions[0].model_copy(update={"seal": None}), request.decisions[1])
    assert request.resolution is not None
    bare_end = request.resolution.model_copy(update={"seal": None})

    assert found_wrong(request.model_copy(update={"seal": None})) == "seal"
    assert found_wrong(request.model_copy(update={"decisions": bare_vote})) == "decisions[0]"
    assert found_wrong(request.model_copy(update={"resolution": bare_end})) == "resolution"


@pytest.mark.parametrize(
    ("change", "field"),
    [
        (lambda votes: votes[:1], "decisions"),
        (lambda _: (), "decisions"),
        (lambda votes: (*votes, votes[0]), "decisions[2]"),
        (lambda votes: votes[::-1], "decisions[0]"),
    ],
    ids=["one lost", "all lost", "one added", "in another order"],
)
def test_votes_are_neither_lost_nor_added_nor_moved(
    change: Callable[[tuple[Decision, ...]], tuple[Decision, ...]], field: str
) -> None:
    """Each knows its place, and the resolution knows them all."""
    request = approved()

    assert found_wrong(request.model_copy(update={"decisions": change(request.decisions)})) == field


@pytest.mark.parametrize(
    ("part", "field"),
    [("decisions", "decisions[0]"), ("resolution", "resolution"), ("seal", "kind")],
)
def test_no_part_fits_another_request(part: str, field: str) -> None:
    """Not even of one that is equal but for its id."""
    mine, other = approved("req_1"), approved("req_2")

    assert found_wrong(mine.model_copy(update={part: getattr(other, part)})) == field


def test_a_whole_request_does_not_fit_another_id() -> None:
    """Its core says which one it is."""
    assert found_wrong(approved("req_2").model_copy(update={"request_id": "req_1"})) == "kind"


def test_an_answer_does_not_fit_a_request_that_was_sealed_anew() -> None:
    """The resolution is bound to the core that was answered."""
    request = approved()
    anew = with_core_seal(KEYRING, request.model_copy(update={"assignees": ("eve@acme.example",)}))

    assert found_wrong(anew) == "core"


def test_seals_that_are_there_are_kept() -> None:
    """A second vote does not seal the first one again."""
    request = approved()
    again = with_answer_seals(KEYRING.rotated([1]), request)

    assert again == request


def test_another_key_verifies_nothing() -> None:
    """A stranger's, and one that was retired."""
    stranger = Keyring.generate()
    retired = KEYRING.rotated([1]).retire(1)

    assert found_wrong(pending(), stranger) == "kind"
    assert found_wrong(pending(), retired) == "key"


ANSWERED_TEXT = (
    '{"channel":"email","edited":false,"feedback":"fine","format":1,"outcome":"approve",'
    '"payload_digest":"DIGEST","reason":"","resolved_at":"2026-03-02T12:00:00Z",'
    '"reviewer":"ann@acme.example","status":"approved","valid_until":"2026-03-02T13:00:00Z"}'
)
CHOICES_TEXT = (
    '[{"aliases":[],"label":"approve","meaning":"approve"},'
    '{"aliases":[],"label":"reject","meaning":"reject"}]'
)
VOTE_TEXT = (
    '{"channel":"email","decided_at":"2026-03-02T12:00:00Z","edited":false,"feedback":"fine",'
    '"format":1,"label":"approve","payload_digest":"DIGEST","proof":"authenticated",'
    '"reviewer":"REVIEWER"}'
)


def test_what_is_sealed_of_an_answer_never_changes() -> None:
    """To the byte, or no stored answer would hold any more; the core's and the votes' seals are in it."""
    request = approved()
    votes = [
        seal(
            KEYRING,
            record_id=f"req_1/decisions[{index}]",
            fields={
                f"decisions[{index}]": VOTE_TEXT.replace("DIGEST", digest(PAYLOAD)).replace(
                    "REVIEWER", reviewer
                )
            },
        )
        for index, reviewer in enumerate(["ann@acme.example", "bob@acme.example"])
    ]
    assert [vote.seal for vote in request.decisions] == votes
    assert request.resolution is not None
    assert request.seal is not None
    assert request.resolution.seal == seal(
        KEYRING,
        record_id="req_1/resolution",
        fields={
            "resolution": ANSWERED_TEXT.replace("DIGEST", digest(PAYLOAD)),
            "status": "approved",
            "core": request.seal.whole,
            "decisions": f"{votes[0].whole} {votes[1].whole}",
        },
    )


def test_what_is_sealed_of_a_question_never_changes() -> None:
    """Numbers, nested values and foreign letters stand in it as they stand in the store's text."""
    request = pending(metadata={"b": [1, 0.5, None], "a": "\u00e9"}, summary='say "h\u00e9"')
    identity = (
        '{"attempt":1,"digest":"sha256:00","gate":"shop:pay","nth":0,"occurrence_id":"run_1.1"}'
    )
    assert request.seal is not None
    sealed = request.seal.tags

    def tag(name: str, text: str) -> str:
        return seal(KEYRING, record_id="req_1", fields={name: text}).tags[name]

    assert sealed["metadata"] == tag("metadata", '{"a":"\\u00e9","b":[1,0.5,null]}')
    assert sealed["summary"] == tag("summary", '"say \\"h\\u00e9\\""')
    assert sealed["identity"] == tag("identity", identity)
    assert sealed["choices"] == tag("choices", CHOICES_TEXT)


def test_an_answer_to_a_question_that_was_never_sealed_says_so() -> None:
    """In the place of the question's seal stands nothing."""
    bare = approved().model_copy(update={"seal": None})
    assert bare.resolution is not None
    anew = bare.model_copy(update={"resolution": bare.resolution.model_copy(update={"seal": None})})
    answered = with_answer_seals(KEYRING, anew).resolution
    assert answered is not None
    assert answered.seal is not None
    wholes = " ".join(vote.seal.whole for vote in bare.decisions if vote.seal)

    assert answered.seal == seal(
        KEYRING,
        record_id="req_1/resolution",
        fields={
            "resolution": ANSWERED_TEXT.replace("DIGEST", digest(PAYLOAD)),
            "status": "approved",
            "core": "",
            "decisions": wholes,
        },
    )
