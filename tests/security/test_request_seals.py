"""What of a request is sealed: every part that governs, and nothing fits anywhere else."""

from __future__ import annotations

from datetime import timedelta

import pytest

from signoff.errors import SealInvalidError
from signoff.model.request import CallIdentity, Choice, Evidence, Request
from signoff.rules.digest import digest
from signoff.rules.lifecycle import Cancel, Remark, Respond, decide
from signoff.security.keyring import Key, Keyring
from signoff.security.request_seals import verify_request, with_answer_seals, with_core_seal
from signoff.testing.builders import HOUR, NOON, a_request

CFO = "cfo@acme.example"


@pytest.fixture(name="keyring")
def _keyring() -> Keyring:
    return Keyring([Key(1, bytes(range(32)), "active")])


def opened(keyring: Keyring, request_id: str = "req_1", **given: object) -> Request:
    """Return a pending request with its seal."""
    return with_core_seal(keyring, a_request(request_id, expires_at=NOON + HOUR, **given))


def answered(keyring: Keyring, request: Request, **given: object) -> Request:
    """Return a request that the CFO has approved, with its seals."""
    command = Respond(
        **{  # type: ignore[arg-type]  # fields by name
            "label": "approve",
            "feedback": "fine",
            "reviewer": CFO,
            "channel": "api",
            "proof": "authenticated",
            **given,
        }
    )
    return with_answer_seals(keyring, decide(request, command, NOON).request)


def field_of(keyring: Keyring, request: Request) -> str:
    """Return which part is said not to be what was sealed."""
    with pytest.raises(SealInvalidError) as caught:
        verify_request(keyring, request)
    assert caught.value.record_id == request.request_id
    assert caught.value.run_id == request.run_id
    return caught.value.field


def test_what_was_sealed_is_what_is_verified(keyring: Keyring) -> None:
    """Pending, commented, approved, edited, cancelled."""
    request = opened(keyring)
    edit = '{"amount":8}'

    verify_request(keyring, request)
    verify_request(
        keyring, decide(request, Remark(author="x", text="y", channel="api"), NOON).request
    )
    verify_request(keyring, answered(keyring, request))
    verify_request(
        keyring, answered(keyring, request, payload_json=edit, payload_digest=digest(edit))
    )
    cancelled = decide(request, Cancel(by="x", reason="withdrawn"), NOON).request
    verify_request(keyring, with_answer_seals(keyring, cancelled))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("kind", "feedback"),
        ("run_id", "run_2"),
        ("flow_name", "other"),
        ("method_name", "other"),
        ("message", "Buy?"),
        ("choices", (Choice(label="approve", meaning="reject"),)),
        ("default_outcome", "approve"),
        ("on_expiry", "approve"),
        ("assignees", ("mallory@evil.example",)),
        ("requester", "mallory@evil.example"),
        ("proposed_digest", "sha256:0"),
        ("editable", False),
        ("summary", "harmless"),
        ("rationale", "because"),
        ("confidence", 1.0),
        ("evidence", (Evidence(label="a", value="b"),)),
        ("risk", "low"),
        ("created_at", NOON + HOUR),
        ("due_at", NOON),
        ("expires_at", NOON + 9 * HOUR),
        ("valid_for_seconds", 1e9),
        ("policy_digest", "sha256:0"),
        ("identity", CallIdentity(occurrence_id="run_1.1", gate="pay", digest="d")),
        ("hidden", ("amount",)),
    ],
)
def test_every_part_that_governs_is_sealed(keyring: Keyring, name: str, value: object) -> None:
    """And named when it was changed."""
    changed = opened(keyring).model_copy(update={name: value})

    assert field_of(keyring, changed) == name


def test_the_policy_is_sealed_whole(keyring: Keyring) -> None:
    """With everything it says."""
    request = opened(keyring)
    policy = request.policy.model_copy(update={"approvers": ("mallory@evil.example",)})

    assert field_of(keyring, request.model_copy(update={"policy": policy})) == "policy"


def test_a_payload_is_held_by_its_digest(keyring: Keyring) -> None:
    """Before the answer the proposed one, after it the one that was answered."""
    request = opened(keyring)
    other = {"payload_json": '{"amount":9000}'}

    assert field_of(keyring, request.model_copy(update=other)) == "payload"
    done = answered(keyring, request)
    assert field_of(keyring, done.model_copy(update=other)) == "payload"
    digested = {"payload_digest": "sha256:0"}
    assert field_of(keyring, request.model_copy(update=digested)) == "payload_digest"


def test_a_status_without_a_resolution_is_no_status(keyring: Keyring) -> None:
    """Nobody ended it."""
    request = opened(keyring).model_copy(update={"status": "approved"})

    assert field_of(keyring, request) == "status"


def test_a_status_that_is_not_the_resolutions_is_no_status(keyring: Keyring) -> None:
    """It is part of what the resolution seals."""
    done = answered(keyring, opened(keyring)).model_copy(update={"status": "pending"})

    assert field_of(keyring, done) == "status"


def test_a_resolution_is_sealed(keyring: Keyring) -> None:
    """What came out, who gave it, and until when it may run."""
    done = answered(keyring, opened(keyring))
    assert done.resolution is not None
    for change in ({"outcome": "reject"}, {"reviewer": "x"}, {"valid_until": NOON + 99 * HOUR}):
        forged = done.resolution.model_copy(update=change)
        assert field_of(keyring, done.model_copy(update={"resolution": forged})) == "resolution"

    bare = done.resolution.model_copy(update={"seal": None})
    assert field_of(keyring, done.model_copy(update={"resolution": bare})) == "resolution"


def test_every_vote_is_sealed(keyring: Keyring) -> None:
    """By its place."""
    done = answered(keyring, opened(keyring))
    (vote,) = done.decisions
    for change in ({"label": "reject"}, {"reviewer": "x"}, {"decided_at": NOON + timedelta(1)}):
        forged = vote.model_copy(update=change)
        found = field_of(keyring, done.model_copy(update={"decisions": (forged,)}))
        assert found == "decisions[0]"

    bare = vote.model_copy(update={"seal": None})
    assert field_of(keyring, done.model_copy(update={"decisions": (bare,)})) == "decisions[0]"
    assert field_of(keyring, done.model_copy(update={"decisions": ()})) == "decisions"
    assert field_of(keyring, done.model_copy(update={"decisions": (vote, vote)})) == "decisions[1]"


def test_a_vote_and_a_resolution_fit_no_other_request(keyring: Keyring) -> None:
    """However alike the two are."""
    one = answered(keyring, opened(keyring, "req_1"))
    other = answered(keyring, opened(keyring, "req_2"))

    moved = one.model_copy(update={"decisions": other.decisions})
    assert field_of(keyring, moved) == "decisions[0]"
    moved = one.model_copy(update={"resolution": other.resolution})
    assert field_of(keyring, moved) == "resolution"
    moved = one.model_copy(update={"seal": other.seal})
    assert field_of(keyring, moved) == "kind"


def test_a_resolution_fits_no_other_core_of_its_request(keyring: Keyring) -> None:
    """A request that was sealed anew has no old answer."""
    request = opened(keyring)
    done = answered(keyring, request)
    assert done.resolution is not None

    resealed = with_core_seal(keyring, done.model_copy(update={"assignees": ("x@y.example",)}))

    assert field_of(keyring, resealed) == "core"


def test_a_request_without_a_seal_is_not_believed(keyring: Keyring) -> None:
    """Somebody else wrote it."""
    assert field_of(keyring, a_request("req_1")) == "seal"


def test_a_seal_of_another_key_is_not_believed(keyring: Keyring) -> None:
    """Not even when it has the same id."""
    other = Keyring([Key(1, bytes(32), "active")])
    unknown = Keyring([Key(2, bytes(32), "active")])

    assert field_of(other, opened(keyring)) == "kind"
    assert field_of(unknown, opened(keyring)) == "key"


def test_seals_of_a_former_key_hold_after_a_rotation(keyring: Keyring) -> None:
    """The request is answered with the new one."""
    request = opened(keyring)
    rotated = keyring.rotated([1])

    done = answered(rotated, request)

    verify_request(rotated, done)
    assert done.seal is not None
    assert done.decisions[0].seal is not None
    assert (done.seal.kid, done.decisions[0].seal.kid) == (1, 2)


def test_a_seal_that_is_there_is_kept(keyring: Keyring) -> None:
    """Sealing again changes nothing."""
    done = answered(keyring, opened(keyring))

    assert with_answer_seals(keyring, done) == done
    assert with_answer_seals(keyring, opened(keyring)) == opened(keyring)
