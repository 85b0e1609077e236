"""
Hold the mutants that survived against the written reasons in `survivors.toml`.

`nox -s mutants` runs it after mutmut. A survivor without a reason fails, and so does a reason
whose mutant is gone or is killed by now. Mutants are known by what they change, not by number,
because numbers shift whenever a line is added.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import NamedTuple

REASONS = Path(__file__).with_name("survivors.toml")


class Mutant(NamedTuple):
    """What a mutant changes: in which function, which lines, to which."""

    function: str
    was: str
    now: str


class Reason(NamedTuple):
    """A written reason: for one mutant, or in any function (`*`) for one fragment of a line."""

    function: str
    was: str
    now: str

    def explains(self, mutant: Mutant) -> bool:
        """Tell whether this reason is about this mutant."""
        if self.function != "*":
            return tuple(self) == tuple(mutant)
        places = [found.start() for found in re.finditer(re.escape(self.was), mutant.was)]
        return mutant.now in {
            mutant.was[:at] + self.now + mutant.was[at + len(self.was) :] for at in places
        }


def mutmut(*arguments: str) -> str:
    """Return what a mutmut command prints."""
    command = [sys.executable, "-m", "mutmut", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def changed_lines(diff: str, sign: str) -> str:
    """Return the lines of a diff that have this sign, without their indentation."""
    lines = [line for line in diff.splitlines() if re.match(rf"\{sign}(?!\{sign})", line)]
    return "\n".join(line[1:].strip() for line in lines)


def mutant(name: str) -> Mutant:
    """Look up what a mutant changes."""
    diff = mutmut("show", name)
    function = name.rpartition("__mutmut_")[0].replace("xǁ", "").replace("ǁ", ".")
    return Mutant(
        re.sub(r"\.x_(?=[^.]*$)", ".", function), changed_lines(diff, "-"), changed_lines(diff, "+")
    )


def survivors() -> dict[Mutant, str]:
    """Return each mutant that no test killed, with what became of it."""
    rows = re.findall(r"^ +(\S+): (.+)$", mutmut("results"), flags=re.MULTILINE)
    assert "not checked" not in {status for _, status in rows}, "mutmut did not finish"
    return {mutant(name): status for name, status in rows}


def reasons() -> list[Reason]:
    """Return what has a written reason."""
    rows = tomllib.loads(REASONS.read_text())["survivor"]
    assert all(row["reason"].strip() for row in rows), "a survivor's reason is empty"
    return [Reason(row["function"], row["was"], row["now"]) for row in rows]


def main() -> int:
    """Print what is unexplained or out of date; return 1 if there is any such thing."""
    found, written = survivors(), reasons()
    unexplained = [one for one in found if not any(reason.explains(one) for reason in written)]
    idle = [reason for reason in written if not any(reason.explains(one) for one in found)]
    for function, was, now in sorted(unexplained):
        print(f"# {found[Mutant(function, was, now)]}\n[[survivor]]\nfunction = {function!r}")
        print(f"was = '''{was}'''\nnow = '''{now}'''\nreason = ''\n")
    for reason in idle:
        print(f"# explains no survivor any more, remove it: {reason}")
    print(f"{len(found)} survivors, {len(unexplained)} without a reason; {len(idle)} idle reasons")
    return 1 if unexplained or idle else 0


if __name__ == "__main__":
    sys.exit(main())
