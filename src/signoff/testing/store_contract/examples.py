"""Two commits with one of everything, what can be wrong with the second, and what a store shows of them (floor 9)."""

from __future__ import annotations

from dataclasses import replace

from signoff.model.changes import Changes, Fence, Release, Renew, Task
from signoff.ports import RequestQuery, RunQuery, Store
from signoff.testing.builders import (
    HOUR,
    NOON,
    a_delivery,
    a_request,
    a_run,
    a_signal,
    a_token,
    an_acquire,
    an_entry,
    an_occurrence,
    sealed,
)

OTHER_TOKEN = "f" * 32

FIRST_ENTRY = an_entry()

FIRST = Changes(
    runs=(sealed(a_run()), sealed(a_run("run_0", key="inv-17"))),
    occurrences=(sealed(an_occurrence()),),
    requests=(a_request(),),
    tokens=(a_token(),),
    deliveries=(a_delivery(),),
    signals=(a_signal(),),
    audit=(FIRST_ENTRY,),
    claims=(an_acquire(),),
    handled=("imap:1",),
    marks={"imap": "1"},
    key_checks={1: "aa"},
)
"""One of everything."""

SECOND = Changes(
    runs=(sealed(a_run(version=2, status="suspended")), sealed(a_run("run_2"))),
    occurrences=(sealed(an_occurrence(version=2)), sealed(an_occurrence(2))),
    requests=(a_request(version=2, status="approved"), a_request("req_2")),
    tokens=(a_token(version=2, used_at=NOON), a_token(OTHER_TOKEN, request_id="req_2")),
    deliveries=(a_delivery(version=2, status="sending"), a_delivery("dlv_2", notifier="console")),
    signals=(a_signal("cancel", kind="cancel"), a_signal(run_id="run_2")),
    consumed=(("run_1", "req_1"),),
    audit=(an_entry(after=FIRST_ENTRY), an_entry("run:run_1")),
    claims=(
        an_acquire("run_2"),
        Renew(subject="run_1", holder="ann", fencing=1, lease=HOUR),
    ),
    fences=(Fence(subject="run_1", holder="ann", fencing=1, remaining=HOUR / 2),),
    handled=("imap:2",),
    marks={"imap": "2", "other": "1"},
    key_checks={1: "aa", 2: "bb"},
    tasks=(Task(kind="advance", subject="run_1"),),
    now=NOON,
    until=NOON + HOUR,
)
"""A valid commit over `FIRST` that changes or adds one of everything."""

BROKEN = {
    "a run's version": replace(SECOND, runs=(*SECOND.runs, sealed(a_run("run_3", version=2)))),
    "a run's key": replace(SECOND, runs=(*SECOND.runs, sealed(a_run("run_3", key="inv-17")))),
    "an occurrence's version": replace(
        SECOND, occurrences=(*SECOND.occurrences, sealed(an_occurrence(3, version=2)))
    ),
    "a request's version": replace(SECOND, requests=(*SECOND.requests, a_request(version=2))),
    "a token's version": replace(SECOND, tokens=(*SECOND.tokens, a_token(version=1))),
    "a delivery's version": replace(
        SECOND, deliveries=(*SECOND.deliveries, a_delivery("dlv_3", version=2))
    ),
    "a signal to consume": replace(SECOND, consumed=(*SECOND.consumed, ("run_1", "nothing"))),
    "an audit entry's number": replace(SECOND, audit=(*SECOND.audit, FIRST_ENTRY)),
    "an audit entry's link": replace(
        SECOND, audit=(replace(SECOND.audit[0], prev_hash=bytes(32)), *SECOND.audit[1:])
    ),
    "a claim to take": replace(
        SECOND, claims=(*SECOND.claims, an_acquire("run_1", holder="bob", fencing=2))
    ),
    "a claim to prolong": replace(
        SECOND,
        claims=(*SECOND.claims, Renew(subject="run_1", holder="bob", fencing=1, lease=HOUR)),
    ),
    "a claim to give back": replace(
        SECOND, claims=(*SECOND.claims, Release(subject="run_1", holder="bob", fencing=1))
    ),
    "a signal that waits": replace(
        SECOND, claims=(*SECOND.claims, Release(subject="run_1", holder="ann", fencing=1))
    ),
    "a fence": replace(
        SECOND, fences=(*SECOND.fences, Fence(subject="run_1", holder="bob", fencing=1))
    ),
    "a fence's lease": replace(
        SECOND,
        fences=(
            *SECOND.fences,
            Fence(subject="run_1", holder="ann", fencing=1, remaining=2 * HOUR),
        ),
    ),
    "a message": replace(SECOND, handled=(*SECOND.handled, "imap:1")),
    "a key's check": replace(SECOND, key_checks={2: "bb", 1: "zz"}),
    "the time before": replace(SECOND, now=NOON + HOUR / 2),
    "the time after": replace(SECOND, until=NOON),
}
"""`SECOND` with exactly one thing in it that the store must refuse."""


async def picture(store: Store) -> dict[str, object]:
    """Return all that a store tells about what `FIRST` and `SECOND` write."""
    runs = await store.runs(RunQuery(limit=200))
    subjects = [run.record.run_id for run in runs]
    counts = await store.counts()
    return {
        "runs": list(runs),
        "keyed": await store.run_by_key("shop:Order", "inv-17"),
        "journals": [list(await store.journal(subject)) for subject in subjects],
        "signals": [list(await store.signals(subject)) for subject in subjects],
        "requests": list(await store.requests(RequestQuery(limit=200))),
        "tokens": [list(await store.tokens(request_id)) for request_id in ("req_1", "req_2")],
        "deliveries": list(await store.deliveries("req_1")),
        "audit": [list(await store.audit(stream)) for stream in ("request:req_1", "run:run_1")],
        "claims": [await store.claim(subject) for subject in subjects],
        "handled": [await store.was_handled(key) for key in ("imap:1", "imap:2")],
        "marks": [await store.mark(name) for name in ("imap", "other")],
        "key checks": dict(await store.key_checks()),
        "counts": [dict(one) for one in (counts.runs, counts.requests, counts.deliveries)],
        "ready": list(await store.ready(["shop:Order"], limit=9)),
        "due": list(await store.due_deliveries(NOON, limit=9)),
        "unsent": dict(await store.oldest_unsent()),
        "kids": await store.kids_in_use(NOON),
    }
