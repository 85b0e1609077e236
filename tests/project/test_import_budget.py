"""What `import signoff` may cost: a little more than pydantic, and no adapter's library."""

from __future__ import annotations

import os
import subprocess
import sys

# What every program with one pydantic model pays; pydantic itself loads `email`, say.
BASELINE = "from pydantic import BaseModel\nclass Model(BaseModel): x: int"
SIGNOFF = f"{BASELINE}\nimport signoff"

# 25 ms where pydantic takes 60 ms; a slower machine gets the same share.
BUDGET_MS = 25
PYDANTIC_MS = 60

FORBIDDEN = {
    "aioimaplib",
    "aiosmtplib",
    "asyncio",
    "email",
    "hypothesis",
    "imaplib",
    "pytest",
    "smtplib",
    "sqlite3",
    "ssl",
    "trio",
}


def run(code: str) -> str:
    """Run code in a fresh interpreter that nothing of this test run reaches."""
    environment = {name: value for name, value in os.environ.items() if "COV" not in name}
    command = [sys.executable, "-I", "-c", code]
    return subprocess.run(
        command, check=True, capture_output=True, text=True, env=environment
    ).stdout


def modules_after(code: str) -> set[str]:
    """Return the names of all modules that are loaded once the code has run."""
    return set(run(f"{code}\nimport sys\nprint(*sys.modules)").split())


def cpu_ms(code: str) -> float:
    """Return the processor time of the code alone, in milliseconds."""
    timed = f"import time\nt = time.process_time()\n{code}\nprint(time.process_time() - t)"
    return float(run(timed)) * 1000


def test_importing_signoff_loads_no_adapter_and_no_event_loop() -> None:
    """`import signoff` adds nothing of mail, TLS, SQLite or asyncio to what pydantic loads."""
    added = modules_after(SIGNOFF) - modules_after(BASELINE)

    assert not {name for name in added if name.partition(".")[0] in FORBIDDEN}


def test_importing_signoff_loads_no_module_of_an_adapter() -> None:
    """Adapters load when they are named, never with the root."""
    adapters = ("signoff.stores", "signoff.notifiers", "signoff.inboxes", "signoff.engines")

    assert not {name for name in modules_after(SIGNOFF) if name.startswith(adapters)}


def test_importing_signoff_costs_little_more_than_pydantic() -> None:
    """The least of several runs stays in the budget; noise only ever adds, so more runs decide."""
    pydantic = both = float("inf")
    added, allowed = 0.0, 0.0
    for attempt in range(40):
        pydantic, both = min(pydantic, cpu_ms(BASELINE)), min(both, cpu_ms(SIGNOFF))
        added = both - pydantic
        allowed = BUDGET_MS * max(1.0, pydantic / PYDANTIC_MS)
        if attempt >= 6 and added <= allowed:
            break

    assert added <= allowed, f"pydantic {pydantic:.1f} ms, signoff {added:.1f} of {allowed:.1f} ms"
