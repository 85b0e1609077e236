"""The documentation's code: every Python snippet runs, and prints what it says it prints."""

from __future__ import annotations

from pathlib import Path

import pytest
from pytest_examples import CodeExample, EvalExample, find_examples

ROOT = Path(__file__).parents[2]
SNIPPETS = list(find_examples(str(ROOT / "README.md"), str(ROOT / "docs")))
README = [snippet for snippet in SNIPPETS if snippet.path.name == "README.md"]


def place(snippet: CodeExample) -> str:
    """Name a snippet by its page and line."""
    return f"{snippet.path.relative_to(ROOT)}:{snippet.start_line}"


@pytest.mark.parametrize("snippet", SNIPPETS, ids=place)
def test_a_snippet_runs_and_prints_what_it_says(
    snippet: CodeExample,
    eval_example: EvalExample,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> None:
    """A snippet is complete: a reader who pastes it gets the `#>` lines that follow its prints."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    if "DATABASE_URL" in snippet.source:
        monkeypatch.setenv("DATABASE_URL", request.getfixturevalue("postgres_database"))
        monkeypatch.setenv("SIGNOFF_KEY", "c2lnbm9mZi1zaWdub2ZmLXNpZ25vZmYtc2lnbm9mZi0=")
    eval_example.set_config(line_length=100)

    failure = ""
    try:
        eval_example.run_print_check(snippet)
    except Exception as error:  # noqa: BLE001 - a snippet may fail with anything
        # Raised anew without its traceback, which is made up and breaks Python 3.11's printer.
        failure = f"{place(snippet)}: {error!r}"

    assert not failure


def test_the_readme_starts_with_one_short_example_that_prints() -> None:
    """The first screen shows a whole approval in at most 25 lines, with its output."""
    first = README[0].source

    assert len(first.splitlines()) <= 25
    assert "import" in first
    assert "#> " in first


def test_the_readme_gives_the_two_lines_that_set_everything_up() -> None:
    """Two shell lines do all the set-up: one ends in the demo, one in the tests."""
    page = (ROOT / "README.md").read_text()
    lines = [line for line in page.splitlines() if line.startswith("python3 -m venv ")]

    assert [line.rpartition(" && ")[2] for line in lines] == [
        ".venv/bin/nox -s demo",
        ".venv/bin/nox -s tests",
    ]


def test_ci_runs_the_line_of_the_readme() -> None:
    """`.ci/run` is the README's line for the tests and nothing more."""
    page = (ROOT / "README.md").read_text()
    command = (ROOT / ".ci" / "run").read_text().splitlines()[-1]

    assert command in page.splitlines()
