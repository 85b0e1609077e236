"""Requests as they are drafted, before the desk opens them (floor 6)."""

from __future__ import annotations

import hmac
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Final

from pydantic import TypeAdapter, ValidationError

from signoff.codec import Codec, codec
from signoff.errors import ConfigurationError
from signoff.gates import refuse_critical
from signoff.ids import new_id
from signoff.model.feedback import Proposal
from signoff.model.gate import FeedbackSpec, GateCall, GateSpec
from signoff.model.policy import Policy, Risk
from signoff.model.request import CallIdentity, Choice, Request, RequestKind
from signoff.model.run import Call, Run
from signoff.model.values import Tree, one_line
from signoff.rules.deadlines import deadlines
from signoff.rules.digest import args_digest, digest
from signoff.rules.outcomes import choices
from signoff.rules.routing import assignees_for
from signoff.security.hidden import Place, encrypt
from signoff.security.keyring import Keyring

YES_OR_NO: Final = choices(("approved", "rejected"), meanings={}, aliases={})
MAX_ATTEMPTS: Final = 3
_POLICIES: Final = 256


@dataclass(frozen=True, slots=True)
class Hidden:
    """
    What is shown in the place of a hidden argument.

    Attributes:
        commitment: The same for the same value in the same run; tells nothing of the value.
    """

    commitment: str


codec.register(Hidden, name="signoff:hidden")


@lru_cache(maxsize=_POLICIES)
def merged(policy: Policy, lower: Policy) -> Policy:
    """Return `policy` over `lower`; remembered, because a client has few of them."""
    return policy.over(lower)


@lru_cache(maxsize=_POLICIES)
def policy_digest(policy: Policy) -> str:
    """Return the digest that a policy is kept under."""
    return digest(json.dumps(policy.model_dump(mode="json"), sort_keys=True))


def shown_arguments(
    call: GateCall, *, keyring: Keyring, kid: int, run_id: str, codec: Codec
) -> dict[str, object]:
    """Return a call's payload: its arguments, the hidden ones as commitments made with key `kid`."""
    shown: dict[str, object] = {}
    for name, value in call.arguments.items():
        if name in call.spec.hidden:
            text = codec.dump(value, path=name)
            key = keyring.subkey(kid, "commitment")
            message = f"signoff.hidden.v1\0{run_id}\0{call.spec.name}\0{name}\0{text}"
            shown[name] = Hidden(hmac.digest(key, message.encode(), "sha256").hex())
        else:
            shown[name] = value
    return shown


def hidden_place(run_id: str, name: str) -> Place:
    """Return where the ciphertext of a hidden argument belongs, so that it fits nowhere else."""
    return Place(table="occurrences", row=run_id, column=name)


def encrypted_arguments(
    call: GateCall, *, keyring: Keyring, run_id: str, codec: Codec
) -> dict[str, str]:
    """Return the hidden arguments of a call, encrypted."""
    return {
        name: encrypt(
            keyring,
            codec.dump(call.arguments[name], path=name).encode(),
            place=hidden_place(run_id, name),
        )
        for name in call.spec.hidden
    }


def call_request(
    call: GateCall,
    *,
    run: Run,
    identity: CallIdentity,
    payload_json: str,
    hidden_kids: tuple[int, ...],
    policy: Policy,
    now: datetime,
    note: str = "",
) -> Request:
    """
    Draft the request for one gated call.

    Args:
        call: The call.
        run: Whose step makes it.
        identity: What it is known by.
        payload_json: Its payload.
        hidden_kids: The keys that its hidden arguments hang on.
        policy: The flow's policy over the client's, under the gate's.
        now: Business time.
        note: Why it is asked again.

    Raises:
        ConfigurationError: Nobody may be asked, or an option came out wrong.
    """
    spec = call.spec
    governs = merged(spec.policy, policy)
    risk, assignees = governed(call, policy=governs, requester=run.requester)
    draft = _draft(
        run=run,
        kind="call",
        method_name=spec.fn.__name__,
        message=_sentence(spec, json.loads(payload_json)) + (f" ({note})" if note else ""),
        payload_json=payload_json,
        policy=governs,
        risk=risk,
        now=now,
    )
    fields = {
        "choices": YES_OR_NO,
        "assignees": assignees,
        "identity": identity,
        "hidden": spec.hidden,
        "hidden_kids": hidden_kids,
        **{name: _computed(call, name) for name in _SUPPORTING},
    }
    try:
        return Request.model_validate({**dict(draft), **fields})
    except ValidationError as error:
        raise _wrong_option(spec, error) from error


def governed(
    call: GateCall, *, policy: Policy, requester: str | None
) -> tuple[Risk, tuple[str, ...]]:
    """
    Return the risk of a call and who is asked, as its arguments and the merged policy say.

    Raises:
        ConfigurationError: Nobody may be asked, the risk is critical, or an option came out wrong.
    """
    spec = call.spec
    try:
        risk = _RISK.validate_python(_computed(call, "risk") or policy.risk or "medium")
        computed = _ADDRESSES.validate_python(_computed(call, "assignees"))
    except ValidationError as error:
        raise _wrong_option(spec, error) from error
    refuse_critical(risk)
    assignees = assignees_for(
        fixed=() if callable(spec.assignees) else computed,
        computed=computed if callable(spec.assignees) else (),
        policy=policy,
        risk=risk,
        requester=requester,
    )
    return risk, assignees


def feedback_request(
    spec: FeedbackSpec,
    output: object,
    *,
    run: Run,
    method_name: str,
    chosen: Sequence[str],
    policy: Policy,
    now: datetime,
    codec: Codec,
) -> Request:
    """
    Draft the request for what a step returned.

    Args:
        spec: The step's gate.
        output: What the step returned, or the `Proposal`.
        run: Whose step it is.
        method_name: The step.
        chosen: Who the state says is asked.
        policy: The flow's policy over the client's, under the gate's.
        now: Business time.
        codec: What the payload is stored with.

    Raises:
        ConfigurationError: Nobody may be asked.
        CodecError: The payload cannot be stored.
    """
    proposal = output if isinstance(output, Proposal) else Proposal(output)
    governs = merged(spec.policy, policy)
    risk = governs.risk or "medium"
    refuse_critical(risk)
    assignees = assignees_for(
        fixed=spec.assignees, computed=chosen, policy=governs, risk=risk, requester=run.requester
    )
    draft = _draft(
        run=run,
        kind="feedback",
        method_name=method_name,
        message=spec.message,
        payload_json=codec.dump(proposal.payload, path=f"{method_name} output"),
        policy=governs,
        risk=risk,
        now=now,
    )
    metadata = {
        name: codec.to_tree(value, path=f"metadata.{name}") for name, value in spec.metadata.items()
    }
    return draft.model_copy(
        update={
            "choices": spec.choices,
            "default_outcome": spec.default_outcome,
            "on_expiry": spec.on_expiry,
            "assignees": assignees,
            "summary": proposal.summary,
            "rationale": proposal.rationale,
            "confidence": proposal.confidence,
            "evidence": (*spec.evidence, *proposal.evidence),
            "metadata": metadata,
        }
    )


def doubt_request(original: Request, call: Call, *, now: datetime, note: str) -> Request:
    """
    Draft the question what became of a started call, with the authority and risk of the call itself.

    Args:
        original: The request that approved the call.
        call: The call as it is journaled.
        now: Business time.
        note: What else is known about it, in a sentence; may be empty.
    """
    labels = ["happened", "abandon"]
    if call.attempt < MAX_ATTEMPTS:
        labels.insert(1, "run_again")
    identity = original.identity
    return reopened(original, now=now).model_copy(
        update={
            "kind": "in_doubt",
            "message": f"In doubt: {original.message}. It was approved and started, and its end is"
            f" unknown (attempt {call.attempt}). Find out whether it happened."
            + (f" {note}" if note else ""),
            "choices": tuple(_DOUBT[label] for label in labels),
            "proposed_digest": original.payload_digest,
            "due_at": None,
            "expires_at": None,
            "identity": identity.model_copy(update={"attempt": call.attempt}) if identity else None,
        }
    )


def reopened(old: Request, *, now: datetime) -> Request:
    """Draft the same question anew, with deadlines from now, after it ended without an answer."""
    times = deadlines(old.policy, risk=old.risk, opened_at=now)
    return old.model_copy(
        update={
            "request_id": new_id("req", now),
            "version": 1,
            "status": "pending",
            "decisions": (),
            "comments": (),
            "resolution": None,
            "created_at": now,
            "due_at": times.due_at,
            "expires_at": times.expires_at,
            "seal": None,
            "audit": type(old.audit)(),
            "undelivered": "",
        }
    )


def call_digest(payload_json: str) -> str:
    """
    Return the digest that tells a proposed call from others.

    The order within its dicts does not count: a replay may fill one from a set, and is no drift.
    """
    return args_digest(json.loads(payload_json))


def _draft(
    *,
    run: Run,
    kind: RequestKind,
    method_name: str,
    message: str,
    payload_json: str,
    policy: Policy,
    risk: Risk,
    now: datetime,
) -> Request:
    times = deadlines(policy, risk=risk, opened_at=now)
    fingerprint = digest(payload_json)
    return Request(
        request_id=new_id("req", now),
        kind=kind,
        run_id=run.run_id,
        flow_name=run.flow_name,
        method_name=method_name,
        message=message,
        requester=run.requester,
        payload_json=payload_json,
        payload_digest=fingerprint,
        proposed_digest=fingerprint,
        risk=risk,
        created_at=now,
        due_at=times.due_at,
        expires_at=times.expires_at,
        valid_for_seconds=times.valid_for.total_seconds(),
        policy=policy,
        policy_digest=policy_digest(policy),
    )


def _sentence(spec: GateSpec, payload: Mapping[str, Tree]) -> str:
    return spec.action.format_map({name: one_line(tree) for name, tree in payload.items()})


def _computed(call: GateCall, name: str) -> object:
    """Return an option of a call, computed from its arguments where it is a callable."""
    option: object = getattr(call.spec, name)
    if not callable(option):
        return option
    try:
        return option(call.arguments)
    except Exception as error:
        raise ConfigurationError(
            f"{call.spec.name}: {name}= raised {type(error).__name__} for the call's arguments"
        ) from error


def _wrong_option(spec: GateSpec, error: ValidationError) -> ConfigurationError:
    # Not the whole error, which repeats the values that it is about.
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"]) or "risk or assignees"
    return ConfigurationError(f"{spec.name}: {place} came out wrong: {first['msg']}")


_RISK: Final[TypeAdapter[Risk]] = TypeAdapter(Risk)
_ADDRESSES: Final[TypeAdapter[tuple[str, ...]]] = TypeAdapter(tuple[str, ...])
_SUPPORTING: Final = ("evidence", "summary", "rationale", "confidence")

_DOUBT: Final = {
    "happened": Choice(label="happened", meaning="neutral"),
    "run_again": Choice(label="run_again", meaning="neutral"),
    "abandon": Choice(label="abandon", meaning="reject"),
}
