"""Every check of the project as one command each; `nox -s tests` is all that CI runs."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import nox

nox.needs_version = ">=2025.5.1"
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.error_on_external_run = True
nox.options.reuse_venv = "yes"
nox.options.sessions = ["tests"]
# The tests start hundreds of processes, which all import the same modules: compiled once, not each time.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

PROJECT = nox.project.load_toml("pyproject.toml")
SUPPORTED = nox.project.python_versions(PROJECT)
SHORT = "not slow and not reliability"
"""What is measured for coverage."""
ANYWHERE = f"{SHORT} and not one_python"
"""What runs on every Python."""
IN_PARALLEL = ("-n", "3", "--dist", "worksteal")
"""One more than the least machine has cores: tests also wait for processes and servers."""
KILLS_APART = ("-n", "2", "--dist", "loadgroup")
"""What kills processes has one core, and its like is never beside it."""
AT_HAND = f"{sys.version_info.major}.{sys.version_info.minor}"


def find_python(version: str) -> str | None:
    """Return a Python of this version that really starts, on the PATH or among pyenv's."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"), "versions")
    installed = [str(path) for path in sorted(pyenv.glob(f"{version}*/bin/python"))]
    for python in filter(None, [shutil.which(f"python{version}"), *installed]):
        if subprocess.run([python, "-c", ""], check=False, capture_output=True).returncode == 0:
            return python
    return None


OTHER_PYTHONS = {version: find_python(version) for version in SUPPORTED if version != AT_HAND}


def install(session: nox.Session, *groups: str, library: str = ".[all,testing]") -> None:
    """Install the library as it stands in the tree, with these dependency groups."""
    wanted = nox.project.dependency_groups(PROJECT, *groups)
    # Most of what is installed is never imported, so it is compiled where it is.
    session.install("--no-compile", "-e", library, *wanted)


def install_servers(session: nox.Session) -> None:
    """Install what the tests start besides Python, where that is ours to do; start nothing."""
    wanted = {
        **mail_servers(),
        "pgbouncer": Path("/usr/sbin/pgbouncer").exists() or shutil.which("pgbouncer") is not None,
        "postgresql": "SIGNOFF_TEST_POSTGRES" in os.environ
        or shutil.which("pg_ctl") is not None
        or any(Path("/usr/lib/postgresql").glob("*/bin/pg_ctl")),
    }
    install_debian(session, *(package for package, is_there in wanted.items() if not is_there))


def mail_servers() -> dict[str, bool]:
    """Return Debian's packages of the mail servers, and whether what they bring is there."""
    return {
        "dovecot-imapd": Path("/usr/sbin/dovecot").exists(),
        "postfix": Path("/usr/sbin/postfix").exists(),
    }


def install_debian(session: nox.Session, *packages: str) -> None:
    """Install packages of Debian as root there; say elsewhere that they are missing."""
    if not packages:
        return
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        session.warn(f"Not installed: {', '.join(packages)}. What starts them is skipped.")
        return
    clusters = Path("/etc/postgresql-common/createcluster.conf")
    # Debian asks the one file whether it may start what it has installed, and the other whether
    # it is to make a database.
    answers = {Path("/usr/sbin/policy-rc.d"): "#!/bin/sh\nexit 101\n"}
    answers[clusters] = "create_main_cluster = false\n"
    ours = {path: text for path, text in answers.items() if not path.exists()}
    for path, text in ours.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(0o755)
    options = ["-y", "--no-install-recommends", "-o", "Dpkg::Options::=--force-confold"]
    quietly = {"DEBIAN_FRONTEND": "noninteractive"}
    try:
        for command in (["update"], ["install", *options, *packages]):
            # Without a network apt fails with 100, and the tests say what is missing.
            session.run(
                "apt-get", "-qq", *command, env=quietly, external=True, success_codes=[0, 100]
            )
    finally:
        for path in ours:
            path.unlink()


@nox.session(venv_backend="none")
def tests(session: nox.Session) -> None:
    """Check everything: lint, types, docs, the suite; with arguments, pytest alone with them."""
    checks = ["suite"] if session.posargs else ["lint", "types", "docs", "suite"]
    for version, python in OTHER_PYTHONS.items():
        if python is None:
            session.warn(f"Python {version} is not on this machine: its suite is skipped.")
        elif not session.posargs:
            checks.append(f"suite-{version}")
    for check in checks:
        session.notify(check)


@nox.session
def demo(session: nox.Session) -> None:
    """Run one whole approval by mail; `-- --interactive` waits for you at the terminal."""
    session.install("-e", ".", *nox.project.dependency_groups(PROJECT, "demo"))
    session.run("python", "examples/demo/main.py", *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """Check style, formatting and the floors."""
    install(session, "lint", library=".")  # the floors are read, not imported
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")
    session.run("lint-imports", "--no-cache")


@nox.session
def types(session: nox.Session) -> None:
    """Check the types with mypy and pyright, both strict."""
    install(session, "types")
    session.run("mypy")
    session.run("pyright", "--threads", "2")


@nox.session
def docs(session: nox.Session) -> None:
    """Build the documentation; a warning is an error."""
    install(session, "docs")
    session.run("sphinx-build", "-nW", "--keep-going", "-q", "docs", "docs/_build")


@nox.session
def suite(session: nox.Session) -> None:
    """Run the suite on the Python at hand, and measure its coverage."""
    install_servers(session)
    install(session, "tests")
    if session.posargs:
        session.run("pytest", *session.posargs)
        return
    session.run("pytest", *IN_PARALLEL, "--cov", "-m", SHORT)
    # Measured, what kills workers and crashes at every write would take twice as long.
    session.run("pytest", *KILLS_APART, "-m", "slow and not reliability")


def suite_on_another_python(session: nox.Session) -> None:
    """Run on another Python what may differ there, without the slow tests and without trio."""
    install(session, "tests")
    session.run("pytest", *IN_PARALLEL, "-m", ANYWHERE, "-k", "not trio", *session.posargs)


for _version, _python in OTHER_PYTHONS.items():
    if _python is not None:
        nox.session(suite_on_another_python, python=_python, name=f"suite-{_version}")


@nox.session
def reliability(session: nox.Session) -> None:
    """Crash, kill, race and soak for as long as it takes; `-- -k soak` does a part of it."""
    install_servers(session)
    install(session, "reliability")
    session.run("pytest", *KILLS_APART, "-m", "reliability", "--durations=10", *session.posargs)


@nox.session
def mutants(session: nox.Session) -> None:
    """Mutate the rules and the security floor; a survivor needs a written reason."""
    install(session, "mutants")
    shutil.rmtree("mutants", ignore_errors=True)  # mutmut keeps verdicts when only tests changed
    session.run("mutmut", "run", *session.posargs)
    if session.posargs:
        session.run("mutmut", "results")
    else:
        session.run("python", "tests/mutants/check.py")


@nox.session
def screenshots(session: nox.Session) -> None:
    """Draw the mails at two widths, light and dark, into docs/_build/screenshots, to be looked at."""
    install_debian(session, *([] if shutil.which("chromium") else ["chromium"]))
    session.install("-e", ".")
    session.run("python", "tests/screenshots/take.py", "docs/_build/screenshots")


PEERS = {
    "langgraph": ("langgraph==1.2.22", "langgraph-checkpoint-sqlite==3.1.2"),
    "holdpoint": ("holdpoint==0.2.0",),
    "dbos": ("dbos==3.4.0", "psycopg[binary]==3.3.9"),
    "crewai": ("crewai==1.15.30",),
}
"""Whom Signoff is measured beside, each in an environment of its own: CrewAI alone takes 1 GB."""


def install_peers(session: nox.Session) -> Path:
    """Install each peer; one that cannot be is missing in the table, which says so."""
    folder = Path(session.virtualenv.location, "peers").resolve()
    for name, packages in PEERS.items():
        python = folder / name / "bin" / "python"
        if not python.exists():
            session.run("python", "-m", "venv", str(folder / name))
        session.run(
            *(str(python), "-m", "pip", "install", "--quiet", *packages),
            external=True,
            success_codes=[0, 1],
        )
    return folder


@nox.session
def bench(session: nox.Session) -> None:
    """Measure pauses, resumes, mail, and others beside; on a calm machine, on the disk that counts."""
    install_servers(session)
    session.install(".[all]")
    wanted = session.posargs
    with_peers = "--parts" not in wanted or not {"peers", "peers-postgres", "burst"}.isdisjoint(
        wanted
    )
    options = ["--peers", str(install_peers(session))] if with_peers else []
    session.run("python", "-m", "tests.benchmarks.bench", *options, *wanted)
