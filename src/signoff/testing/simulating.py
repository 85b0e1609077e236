"""Workers of one store in an order that a seed draws, with crashes and lossy mail (floor 9)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import cast

from signoff.errors import ConfigurationError
from signoff.model.policy import Policy
from signoff.ports import Store
from signoff.testing.crash_books import Books, differences
from signoff.testing.crash_report import CrashFinding, CrashReport
from signoff.testing.crashing import Effects, Found, in_memory, quiet
from signoff.testing.reviewers import Reviewer
from signoff.testing.simulated_world import Begin, Plan, World


async def simulate(
    begin: Begin,
    *,
    seeds: Iterable[int] = range(10),
    runs: int = 4,
    workers: int = 3,
    steps: int = 300,
    effects: Effects | None = None,
    reviewers: Sequence[Reviewer] = (),
    in_doubt: Found | None = None,
    store: Callable[[], Store] = in_memory,
    policy: Policy | None = None,
    requester: str | None = None,
    narrate: Callable[[str], object] | None = None,
) -> CrashReport:
    """
    Let several workers do some runs in an order that a seed draws, and report what that changed.

    Each worker waits before each of its commits, and the seed draws what happens next: a worker
    goes on, or looks for work; a run is begun; a mail is answered, by an answer that is lost,
    comes once or comes twice; a worker dies, with another one in its place; the leases of all
    lapse, as if their holders had been stopped for long; the clock goes on or back. In the end
    everything is let come to its end. After each step the audit has to agree with the records;
    at the end, all has to be as in runs that nothing disturbed::

        report = await simulate(
            lambda client, number: client.flows.start(Order, inputs={"number": number}),
            effects=PAID,
            reviewers=[Reviewer("cfo@acme.example").approves()],
            in_doubt=look_it_up,
        )
        assert report.ok, str(report)

    A seed repeats the order of events on asyncio, if no step runs in a thread, as those do that
    are no coroutine functions, and none waits for anything but Signoff; trio has a chance of its
    own. The ids of runs and requests are others each time.

    Args:
        begin: Called once for each run. What the run does may depend on its number only.
        seeds: What to draw the orders from, one after the other; `map(int, report.seeds)` plays
            those again in which something was found.
        runs: How many runs there are.
        workers: How many processes work at once.
        steps: How many things happen before everything is let come to its end.
        effects: Where gated functions and steps note what they do, as strings for example.
        reviewers: Who answers, and how: each request once, with the first answer of the first
            reviewer that is asked, by mail, or through the application if no mail has done it.
        in_doubt: Says what became of a call that a crash hit in its body, where the gate has
            no `verify=` that can tell.
        store: Makes the one store that all workers share, and that each of them enters.
        policy: As for `Client`.
        requester: As for `Client`.
        narrate: Called with each thing that happens, to look at a seed that failed.

    Returns:
        What was found. It names each seed.

    Raises:
        ConfigurationError: A call is in doubt and neither `verify=` nor `in_doubt` says what
            became of it.
        Exception: What comes up when nothing disturbs the runs.
    """
    plan = Plan(
        begin=begin,
        runs=runs,
        workers=workers,
        steps=steps,
        effects=[] if effects is None else effects,
        reviewers=tuple(reviewers),
        in_doubt=in_doubt,
        store=store,
        policy=policy,
        requester=requester,
        narrate=narrate or _ignore,
    )
    calm = World(plan, None)
    sound = await calm.play()
    played = 0
    found: dict[str, list[CrashFinding]] = {"lost": [], "doubled": [], "broken": []}
    for seed in seeds:
        played += 1
        for kind, what in (await _differences(plan, seed, sound)).items():
            found[kind] += [CrashFinding(str(seed), one) for one in what]
    return CrashReport(
        cases=played,
        commits=calm.commits,
        lost=tuple(found["lost"]),
        doubled=tuple(found["doubled"]),
        broken=tuple(found["broken"]),
    )


async def _differences(plan: Plan, seed: int, sound: Books) -> dict[str, list[str]]:
    try:
        with quiet():
            books = await World(plan, seed).play()
    except ConfigurationError:
        raise
    except Exception as error:  # noqa: BLE001 - whatever comes up is what was to be found
        return {"broken": [f"it could not be finished: {_said(error)}"]}
    other = differences(books, sound)
    return {"lost": other.lost, "doubled": other.doubled, "broken": other.broken}


def _said(error: Exception) -> str:
    """Return what an error says, or the first one of a group."""
    while isinstance(error, ExceptionGroup):
        error = cast("ExceptionGroup[Exception]", error).exceptions[0]
    return f"{type(error).__name__}: {error}"


def _ignore(_: str) -> None:
    """Do nothing."""
