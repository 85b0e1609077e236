"""
What of a request is sealed, and whether it still is as it was (floor 2).

Three seals: the core (what was asked, of whom, under which policy), each vote, and the
resolution, which is bound to the core and to all votes. The payload hangs on the digests that
they hold.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from signoff.errors import SealInvalidError
from signoff.rules.digest import digest
from signoff.security.sealing import check, seal

if TYPE_CHECKING:
    from pydantic import BaseModel

    from signoff.model.decision import Decision, Resolution
    from signoff.model.request import Request
    from signoff.model.seal import Seal
    from signoff.security.keyring import Keyring

_core = (
    "kind",
    "run_id",
    "flow_name",
    "method_name",
    "message",
    "choices",
    "default_outcome",
    "on_expiry",
    "assignees",
    "requester",
    "proposed_digest",
    "editable",
    "summary",
    "rationale",
    "confidence",
    "evidence",
    "metadata",
    "risk",
    "created_at",
    "due_at",
    "expires_at",
    "valid_for_seconds",
    "policy",
    "policy_digest",
    "identity",
    "hidden",
)


def with_core_seal(keyring: Keyring, request: Request) -> Request:
    """Return `request` with its core sealed by the active key."""
    core = seal(keyring, record_id=request.request_id, fields=_core_fields(request))
    return request.model_copy(update={"seal": core})


def with_answer_seals(keyring: Keyring, request: Request) -> Request:
    """Return `request` with the votes and the resolution that have no seal yet sealed."""
    decisions = tuple(
        decision if decision.seal else _with_vote_seal(keyring, request, index, decision)
        for index, decision in enumerate(request.decisions)
    )
    request = request.model_copy(update={"decisions": decisions})
    resolution = request.resolution
    if resolution is None or resolution.seal is not None:
        return request
    sealed = seal(
        keyring,
        record_id=f"{request.request_id}/resolution",
        fields=_resolution_fields(request, resolution),
    )
    return request.model_copy(update={"resolution": resolution.model_copy(update={"seal": sealed})})


def verify_request(keyring: Keyring, request: Request) -> None:
    """
    Compare a request with its seals.

    Raises:
        SealInvalidError: Its `record_id` is the request's id, its `field` the first part that is
            not as it was sealed.
    """
    try:
        _verify(keyring, request)
    except SealInvalidError as error:
        raise SealInvalidError(request.request_id, error.field, run_id=request.run_id) from None


def _verify(keyring: Keyring, request: Request) -> None:
    name = request.request_id
    _check(keyring, request.seal, name, part="seal", fields=_core_fields(request))
    for index, decision in enumerate(request.decisions):
        part = f"decisions[{index}]"
        fields = {part: _text(decision, exclude={"seal"})}
        _check(keyring, decision.seal, f"{name}/{part}", part=part, fields=fields)
    _check_payload(request)
    resolution = request.resolution
    if resolution is None:
        if request.status != "pending":
            raise SealInvalidError(name, "status")
        return
    fields = _resolution_fields(request, resolution)
    _check(keyring, resolution.seal, f"{name}/resolution", part="resolution", fields=fields)


def _check(
    keyring: Keyring, found: Seal | None, record_id: str, *, part: str, fields: dict[str, str]
) -> None:
    if found is None:
        raise SealInvalidError(record_id, part)
    check(keyring, found, record_id=record_id, fields=fields)


def _check_payload(request: Request) -> None:
    resolution = request.resolution
    expected = resolution.payload_digest if resolution else request.proposed_digest
    if digest(request.payload_json) != expected:
        raise SealInvalidError(request.request_id, "payload")
    if request.payload_digest != expected:
        raise SealInvalidError(request.request_id, "payload_digest")


def _with_vote_seal(keyring: Keyring, request: Request, index: int, decision: Decision) -> Decision:
    part = f"decisions[{index}]"
    sealed = seal(
        keyring,
        record_id=f"{request.request_id}/{part}",
        fields={part: _text(decision, exclude={"seal"})},
    )
    return decision.model_copy(update={"seal": sealed})


def _core_fields(request: Request) -> dict[str, str]:
    values = request.model_dump(mode="json", include=set(_core))
    return {name: _canonical(values[name]) for name in _core}


def _resolution_fields(request: Request, resolution: Resolution) -> dict[str, str]:
    return {
        "resolution": _text(resolution, exclude={"seal"}),
        "status": request.status,
        "core": _whole(request.seal),
        "decisions": " ".join(_whole(vote.seal) for vote in request.decisions),
    }


def _whole(found: Seal | None) -> str:
    return found.whole if found else ""


def _text(record: BaseModel, *, exclude: set[str]) -> str:
    return _canonical(record.model_dump(mode="json", exclude=exclude))


def _canonical(value: object) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
