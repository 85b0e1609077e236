"""
Every error that Signoff raises, in one tree (floor 0).

```text
SignoffError
├── ConfigurationError            the code or the set-up is wrong; fix it and start again
├── CodecError                    a value that cannot be stored, or stored bytes that cannot be read
├── StoreError
│   ├── NotFoundError             (also LookupError)
│   ├── StaleWriteError           somebody else wrote first; load again
│   ├── SchemaError               the database is newer than this code, or not ours
│   └── StoreUnavailableError     full or read-only disk, locked or lost database
├── KeyringError                  a key is missing, or is not the one the store was made with
├── SealInvalidError              a stored value is not what Signoff sealed
├── DecisionError                 an answer that changes nothing, and why
│   ├── AlreadyDecidedError
│   ├── NotAllowedError
│   ├── RequestExpiredError
│   ├── RequestCancelledError
│   ├── UnknownOutcomeError
│   └── InvalidEditError
├── TokenError                    no valid token; says nothing more on purpose
├── NotifyError                   a message could not be sent
├── InboxError                    a mailbox could not be read
├── ApprovalError                 what a gated call raises to its caller
│   ├── ApprovalRejected
│   ├── ApprovalExpired
│   ├── ApprovalCancelled
│   └── ApprovalBlocked
├── RunError
│   ├── RequestExpired            a gate's request expired and no `on_expiry` was set
│   ├── ChildRunFailed
│   ├── RunBlocked
│   ├── RunCancelled
│   ├── RunFailed                 the recorded failure of a run or call, when its own type is not at hand
│   └── KeyConflict               the same key with other arguments
├── NotServing                    nobody would ever answer
├── DrainLimit                    `drain` did not come to rest
└── Hang                          a test's run waits for answers that will not come
```

Errors carry their evidence as typed attributes, can be pickled, and never hold a
secret, a token or a payload.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from typing_extensions import override

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime


class SignoffError(Exception):
    """The root: catch it to catch everything that Signoff raises on purpose."""

    @override
    def __reduce__(self) -> tuple[object, ...]:
        """Rebuild from the finished message and attributes, whatever `__init__` takes."""
        return (_rebuild, (type(self), self.args, dict(self.__dict__)))


def _rebuild(
    cls: type[SignoffError], args: tuple[object, ...], attributes: dict[str, object]
) -> SignoffError:
    error = cls.__new__(cls)
    error.args = args
    error.__dict__.update(attributes)
    return error


class ConfigurationError(SignoffError):
    """Raised when code or set-up contradicts itself or would not be safe."""


class CodecError(SignoffError):
    """
    Raised when a value cannot be stored, or stored data cannot be read back.

    Attributes:
        path: Where in the value, e.g. ``state.items[3].price``.
    """

    def __init__(self, message: str, *, path: str = "") -> None:
        self.path = path
        super().__init__(f"{path}: {message}" if path else message)


class StoreError(SignoffError):
    """Raised when the store refuses or fails."""


class NotFoundError(StoreError, LookupError):
    """
    Raised when there is no record with this id.

    Attributes:
        kind: What was looked for: ``run``, ``request``, ``delivery``.
        record_id: The id that was given.
    """

    def __init__(self, kind: str, record_id: str) -> None:
        self.kind = kind
        self.record_id = record_id
        super().__init__(f"there is no {kind} {record_id!r} in this store")


class StaleWriteError(StoreError):
    """
    Raised by `Store.commit` when what it was to replace has changed; nothing was written.

    Attributes:
        record_id: The record, claim, signal or stream that had moved on.
    """

    def __init__(self, record_id: str, message: str) -> None:
        self.record_id = record_id
        super().__init__(f"{record_id}: {message}")


class SchemaError(StoreError):
    """Raised when the stored data was written by a newer Signoff, or not by Signoff."""


class StoreUnavailableError(StoreError):
    """Raised when the storage itself fails: full, read-only, locked or gone. What was acknowledged before is safe."""


class KeyringError(SignoffError):
    """Raised when a key is missing, malformed, or not the one that the store was made with."""


class SealInvalidError(SignoffError):
    """
    Raised when a stored value is not what Signoff wrote.

    Attributes:
        record_id: The request, run or occurrence.
        field: The part of it that does not match its seal.
        run_id: The run it belongs to, as far as that can be read; else empty.
    """

    def __init__(self, record_id: str, field: str, *, run_id: str = "") -> None:
        self.record_id = record_id
        self.field = field
        self.run_id = run_id
        super().__init__(
            f"{record_id}: the stored {field} is not what was sealed; nothing runs on it."
            " Compare the store with a backup, and see the docs page on security"
        )


class DecisionError(SignoffError):
    """
    Raised when an answer to a request changes nothing.

    Attributes:
        request_id: The request that was answered.
    """

    def __init__(self, request_id: str, message: str) -> None:
        self.request_id = request_id
        super().__init__(f"{request_id}: {message}")


class AlreadyDecidedError(DecisionError):
    """
    Raised when the request was decided before.

    Attributes:
        outcome: The label that stands.
        decided_by: Who gave it.
        decided_at: When, aware and in UTC.
    """

    def __init__(
        self, request_id: str, *, outcome: str, decided_by: str, decided_at: datetime
    ) -> None:
        self.outcome = outcome
        self.decided_by = decided_by
        self.decided_at = decided_at
        super().__init__(
            request_id, f"already decided: {outcome!r} by {decided_by} at {decided_at.isoformat()}"
        )


class NotAllowedError(DecisionError):
    """
    Raised when this reviewer, or this channel, may not decide the request.

    Attributes:
        reviewer: Who tried.
        reason: Why not, in one sentence.
    """

    def __init__(self, request_id: str, *, reviewer: str, reason: str) -> None:
        self.reviewer = reviewer
        self.reason = reason
        super().__init__(request_id, f"{reviewer} may not decide: {reason}")


class RequestExpiredError(DecisionError):
    """
    Raised when the answer came at or after the request's expiry.

    Attributes:
        expired_at: The instant from which no answer counts.
    """

    def __init__(self, request_id: str, *, expired_at: datetime) -> None:
        self.expired_at = expired_at
        super().__init__(request_id, f"expired at {expired_at.isoformat()}; ask anew")


class RequestCancelledError(DecisionError):
    """
    Raised when the request was cancelled before the answer came.

    Attributes:
        reason: ``superseded``, ``withdrawn`` or ``run cancelled``.
    """

    def __init__(self, request_id: str, *, reason: str) -> None:
        self.reason = reason
        super().__init__(request_id, f"cancelled ({reason}); the answer was not needed any more")


class UnknownOutcomeError(DecisionError):
    """
    Raised when the answer is none of the request's labels, or fits several.

    Attributes:
        outcome: What was given.
        options: The labels that the request has.
    """

    def __init__(self, request_id: str, *, outcome: str, options: Sequence[str], why: str) -> None:
        self.outcome = outcome
        self.options = tuple(options)
        super().__init__(
            request_id, f"{outcome!r} {why}; the choices are {', '.join(self.options)}"
        )


class InvalidEditError(DecisionError):
    """
    Raised when an edited payload does not fit what was asked.

    Attributes:
        field: The part that does not fit.
    """

    def __init__(self, request_id: str, *, field: str, why: str) -> None:
        self.field = field
        super().__init__(request_id, f"the edit was not accepted: {field}: {why}")


class TokenError(SignoffError):
    """Raised when a token is not valid. Malformed, forged, used, expired and revoked look alike."""

    def __init__(self) -> None:
        super().__init__("no valid token")


class NotifyError(SignoffError):
    """
    Raised by a notifier when a message was not sent.

    Attributes:
        permanent: Whether trying again is pointless.
    """

    def __init__(self, message: str, *, permanent: bool) -> None:
        self.permanent = permanent
        super().__init__(message)


class InboxError(SignoffError):
    """
    Raised by an inbox when its mailbox cannot be read.

    Attributes:
        login_failed: Whether the server refused the login, so that trying again soon would lock the account.
    """

    def __init__(self, message: str, *, login_failed: bool = False) -> None:
        self.login_failed = login_failed
        super().__init__(message)


class ApprovalError(SignoffError):
    """
    What a gated call raises when its body did not run.

    Attributes:
        request_id: The request that was asked.
    """

    def __init__(self, request_id: str, message: str) -> None:
        self.request_id = request_id
        super().__init__(f"{request_id}: {message}")


class ApprovalRejected(ApprovalError):  # noqa: N818 - a fixed public name: it reads as what happened
    """
    Raised by a gated call that a reviewer refused.

    Attributes:
        reason: The reviewer's words; empty when none were given.
        reviewer: Who refused.
        outcome: The label that was given.
    """

    def __init__(self, request_id: str, *, reason: str, reviewer: str, outcome: str) -> None:
        self.reason = reason
        self.reviewer = reviewer
        self.outcome = outcome
        super().__init__(request_id, f"{outcome} by {reviewer}" + (f": {reason}" if reason else ""))


class ApprovalExpired(ApprovalError):  # noqa: N818 - a fixed public name
    """Raised by a gated call that nobody answered in time, or whose permission to start lapsed."""


class ApprovalCancelled(ApprovalError):  # noqa: N818 - a fixed public name
    """
    Raised by a gated call that ended without an approval that counts.

    Its request was cancelled; or it was abandoned when its end was in doubt; or its reviewer
    changed the arguments into some that the reviewer could not have approved.

    Attributes:
        reason: Why it was cancelled.
    """

    def __init__(self, request_id: str, *, reason: str) -> None:
        self.reason = reason
        super().__init__(request_id, f"cancelled ({reason})")


class ApprovalBlocked(ApprovalError):  # noqa: N818 - a fixed public name
    """
    Raised by a gated call outside a flow that cannot go on before somebody puts something right.

    No answer that is still to come helps: `flows.retry` lets the call go on once the cause is
    gone, `flows.cancel` ends it. While people are asked what became of a call in doubt, its
    caller goes on waiting instead. In a flow's step nothing is raised; the run is blocked.

    Attributes:
        request_id: The request that was asked last; empty when nobody was asked.
        run_id: The run of this one call.
        reason: One of the closed reasons of a blocked run.
        detail: What exactly, for a person.
    """

    def __init__(self, request_id: str, *, run_id: str, reason: str, detail: str) -> None:
        self.run_id = run_id
        self.reason = reason
        self.detail = detail
        super().__init__(request_id or run_id, f"blocked ({reason}): {detail}")
        self.request_id = request_id


class RunError(SignoffError):
    """
    Raised where the end of a run is reported to its caller.

    Attributes:
        run_id: The run.
    """

    def __init__(self, run_id: str, message: str) -> None:
        self.run_id = run_id
        super().__init__(f"{run_id}: {message}")


class RequestExpired(RunError):  # noqa: N818 - a fixed public name
    """
    Raised in a run whose `human_feedback` request expired without `on_expiry`.

    Attributes:
        request_id: The request that expired; `flows.retry` asks anew.
    """

    def __init__(self, run_id: str, *, request_id: str) -> None:
        self.request_id = request_id
        super().__init__(
            run_id,
            f"request {request_id} expired unanswered; `flows.retry` asks anew, and"
            " on_expiry= says what silence means",
        )


class ChildRunFailed(RunError):  # noqa: N818 - a fixed public name
    """
    Raised in the parent's step when a child flow failed.

    Attributes:
        error: The child's error as it was recorded, type and message.
    """

    def __init__(self, run_id: str, *, error: str) -> None:
        self.error = error
        super().__init__(run_id, f"the child run failed: {error}")


class RunBlocked(RunError):  # noqa: N818 - a fixed public name
    """
    Raised where a blocked run's output was awaited.

    Attributes:
        reason: One of the closed reasons of a blocked run.
        detail: What exactly, for a person.
    """

    def __init__(self, run_id: str, *, reason: str, detail: str) -> None:
        self.reason = reason
        self.detail = detail
        super().__init__(run_id, f"blocked ({reason}): {detail}")


class RunCancelled(RunError):  # noqa: N818 - a fixed public name
    """Raised where a cancelled run's output was awaited."""


class RunFailed(RunError):  # noqa: N818 - a fixed public name
    """
    Raised for a recorded failure whose exception type is not loaded in this process.

    Attributes:
        type_name: The recorded type, `module:qualname`.
    """

    def __init__(self, run_id: str, *, type_name: str, message: str) -> None:
        self.type_name = type_name
        super().__init__(run_id, f"{type_name}: {message}")


class KeyConflict(RunError):  # noqa: N818 - a fixed public name
    """
    Raised when a key is used again with other arguments.

    Attributes:
        key: The key.
    """

    def __init__(self, run_id: str, *, key: str) -> None:
        self.key = key
        super().__init__(
            run_id, f"the key {key!r} stands for a call with other arguments; use another key"
        )


class NotServing(SignoffError):  # noqa: N818 - a fixed public name
    """Raised when a call would wait for ever, because no process serves the store."""


class DrainLimit(SignoffError):  # noqa: N818 - a fixed public name
    """
    Raised when `drain` still found work after its last pass.

    Attributes:
        passes: How many passes were made.
    """

    def __init__(self, passes: int) -> None:
        self.passes = passes
        super().__init__(
            f"there was still work after {passes} passes: a flow that starts itself for ever?"
        )


class Hang(SignoffError):  # noqa: N818 - it names what happened in a test
    """
    Raised by the testing client when a run waits for answers that no scripted reviewer will give.

    Attributes:
        run_id: The run.
        pending: The ids of the requests it waits for.
    """

    def __init__(self, run_id: str, *, pending: Sequence[str], detail: str) -> None:
        self.run_id = run_id
        self.pending = tuple(pending)
        super().__init__(f"run {run_id} hangs: {detail}")
