"""Databases of earlier versions: this version opens, verifies and finishes what they hold."""

from __future__ import annotations

import email
import email.policy
import importlib.util
import json
import shutil
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from decimal import Decimal
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType

import pytest

from signoff.errors import KeyConflict, KeyringError
from signoff.model.request import Request
from signoff.model.run import Run
from signoff.rules.chain import Link, verify_chain
from signoff.security.keyring import Keyring
from signoff.sync import Client
from signoff.testing import MemoryMail

CORPUS = Path(__file__).parents[1] / "data" / "compat"
VERSIONS = sorted(path.parent for path in CORPUS.glob("*/parked.sqlite"))
ANN, CFO = "ann@acme.example", "cfo@acme.example"


def loaded() -> ModuleType:
    """Return the code of the corpus, as a worker imports it."""
    spec = importlib.util.spec_from_file_location("compat_make", CORPUS / "make.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where dataclasses look for their module
    spec.loader.exec_module(module)
    return module


MAKE = loaded()


class Parked:
    """An open client over a copy of one version's database."""

    def __init__(self, folder: Path, path: Path, client: Client, mail: MemoryMail) -> None:
        self.folder = folder
        self.path = path
        self.client = client
        self.mail = mail
        self.ids: dict[str, str] = json.loads((folder / "runs.json").read_text())

    def run(self, name: str) -> Run:
        """Return a run as it stands."""
        return self.client.flows.get(self.ids[name])

    def asked(self, run_id: str, step: str) -> Request:
        """Return what is pending of a run."""
        page = self.client.hitl.list_requests(run_id=run_id, status="pending")
        (request,) = [one for one in page if one.method_name == step]
        return self.client.hitl.get_request(request.request_id)

    def answer(self, run_id: str, step: str, label: str, who: str, payload: object = None) -> None:
        """Answer one request and let its run go on."""
        self.client.hitl.respond(
            request_id=self.asked(run_id, step).request_id,
            outcome=label,
            payload=payload,
            reviewer=who,
        )
        self.go()

    def go(self) -> None:
        """Do all that can be done; none of the machinery fails."""
        assert self.client.drain().errors == {}


def copied(folder: Path, to: Path) -> Path:
    """Copy a version's database to where it may be written."""
    return Path(shutil.copy(folder / "parked.sqlite", to))


def keys(folder: Path) -> Keyring:
    """Return the published keys of a version's database."""
    return Keyring.from_text((folder / "test-only.key").read_text())


@pytest.fixture(name="parked", params=VERSIONS, ids=lambda path: path.name)
def _parked(request: pytest.FixtureRequest) -> Iterator[Parked]:
    """Yield an open copy of each version's database."""
    folder: Path = request.param
    mail = MemoryMail()
    with TemporaryDirectory() as place:
        path = copied(folder, Path(place))
        with MAKE.opened(path, keys(folder), mail=mail) as client:
            yield Parked(folder, path, client, mail)


def test_this_version_has_left_its_corpus() -> None:
    """`python tests/data/compat/make.py` makes it, before a release."""
    assert version("signoff") in [folder.name for folder in VERSIONS]


def test_every_run_stands_where_it_was_left(parked: Parked) -> None:
    """Reliability 13: nothing moves on by being opened."""
    statuses = {name: parked.run(name).status for name in parked.ids}
    assert statuses == {
        "waiting": "suspended",
        "half_seen": "suspended",
        "hidden": "suspended",
        "parent": "suspended",
        "fails": "failed",
        "moved": "blocked",
        "finished": "completed",
        "keyed": "suspended",
        "cancelled": "cancelled",
        "in_doubt": "suspended",
        "ready": "ready",
    }
    assert parked.client.health().blocked[0].run_id == parked.ids["moved"]


def test_a_question_shows_what_it_showed_and_its_answer_counts(parked: Parked) -> None:
    """Payload, evidence, remarks and state have their types; the seals hold."""
    run_id = parked.ids["waiting"]
    request = parked.asked(run_id, "ask")
    assert request.payload == MAKE.Copy("Hello", 1)
    assert (request.evidence[0].label, request.evidence[0].tone) == ("Words", "emerald")
    assert [remark.text for remark in request.comments] == ["I am on it"]
    assert request.requester == "agent-7"
    parked.answer(run_id, "ask", "approved", ANN)
    assert parked.run("waiting").output == [
        MAKE.Copy("Hello", 1),
        ANN,
        Decimal("12.50"),
        [("bolt", 4), ("nut", 4)],
    ]


def test_a_mail_that_was_sent_then_is_answered_now(parked: Parked) -> None:
    """The token in it is as good as it was."""
    asked = email.message_from_bytes(
        (parked.folder / "asked.eml").read_bytes(), policy=email.policy.default
    )
    parked.mail.reply(asked, "Approved", sender=ANN)
    parked.go()
    run = parked.run("waiting")
    assert run.status == "completed"
    (request,) = parked.client.hitl.list_requests(run_id=run.run_id)
    assert (request.outcome, request.decisions[0].channel) == ("approved", "email")


def test_an_answer_that_was_seen_joins_one_that_comes(parked: Parked) -> None:
    """Half of an `and_` was stored."""
    parked.answer(parked.ids["half_seen"], "finance", "paid", CFO)
    assert parked.run("half_seen").output == "signed"


def test_a_hidden_argument_comes_out_of_its_encryption(parked: Parked) -> None:
    """The reviewer sees a commitment, and the body gets the value."""
    request = parked.asked(parked.ids["hidden"], "pay")
    assert "1234" not in request.payload_json
    parked.answer(parked.ids["hidden"], "pay", "approved", CFO, payload={"amount": Decimal(890)})
    assert parked.run("hidden").output == "paid 890 to DE00 1234"


def test_a_parent_goes_on_after_its_child(parked: Parked) -> None:
    """What it had done before stays done."""
    (child,) = [
        run for run in parked.client.flows.list() if run.parent_run_id == parked.ids["parent"]
    ]
    parked.answer(child.run_id, "legal", "fine", ANN)
    parked.answer(child.run_id, "finance", "paid", CFO)
    run = parked.run("parent")
    assert (run.output, run.state["begun"]) == (["begun", "signed"], True)


def test_a_keyed_call_is_the_same_call(parked: Parked) -> None:
    """Under its key it is met again, with other arguments it conflicts, and its answer runs it."""
    on = datetime(2026, 1, 5, 9, tzinfo=UTC)
    again = parked.client.submit(MAKE.ship, "order 7", on, key="order-7")
    assert again.run_id == parked.ids["keyed"]
    with pytest.raises(KeyConflict):
        parked.client.submit(MAKE.ship, "order 8", on, key="order-7")
    parked.answer(parked.ids["keyed"], "ship", "approved", ANN)
    assert parked.run("keyed").output == {"order": "order 7", "on": on}


def test_an_effect_whose_worker_died_is_in_doubt(parked: Parked) -> None:
    """It is not repeated: a person says what became of it."""
    parked.go()
    run = parked.run("in_doubt")
    assert (run.status, run.blocked_reason) == ("blocked", "in_doubt")
    parked.answer(run.run_id, "pay", "happened", CFO, payload="paid by hand")
    assert parked.run("in_doubt").output == "paid by hand"


def test_what_failed_or_was_blocked_is_retried(parked: Parked) -> None:
    """With the code that was missing, and a world that is better."""
    for name, output in (("fails", "found"), ("moved", "moved on")):
        parked.client.flows.retry(parked.ids[name], by=ANN)
        parked.go()
        assert parked.run(name).output == output


def test_a_run_that_was_never_begun_begins(parked: Parked) -> None:
    """It was stored and no more."""
    parked.go()
    parked.answer(parked.ids["ready"], "ask", "rejected", ANN)
    assert parked.run("ready").status == "completed"


def test_what_has_ended_can_still_be_read(parked: Parked) -> None:
    """Output, edit and history."""
    run = parked.run("finished")
    assert run.output == [MAKE.Copy("Hi", 1), ANN, Decimal("12.50"), [("bolt", 4), ("nut", 4)]]
    (request,) = parked.client.hitl.list_requests(run_id=run.run_id)
    assert (request.status, request.decisions[0].reviewer) == ("approved", ANN)
    history = parked.client.hitl.history(request_id=request.request_id)
    assert [entry.seq for entry in history] == list(range(1, len(history) + 1))


def test_every_audit_chain_is_whole(parked: Parked) -> None:
    """From its first entry, with the MACs of keys that are known, and after more was written."""
    parked.answer(parked.ids["waiting"], "ask", "approved", ANN)
    keyring = keys(parked.folder)
    with closing(sqlite3.connect(parked.path)) as database:
        found = database.execute(
            "SELECT stream, seq, prev_hash, body, hash, kid, mac FROM audit ORDER BY stream, seq"
        ).fetchall()
    streams = {row[0] for row in found}
    for stream in streams:
        links = [
            Link(stream=stream, seq=row[1], prev_hash=row[2], body=row[3], hash=row[4])
            for row in found
            if row[0] == stream
        ]
        assert verify_chain(links) is None
    assert all(keyring.verify("audit", row[5], row[4], row[6]) for row in found)
    assert {f"run:{run_id}" for run_id in parked.ids.values()} <= streams


def test_a_byte_that_was_changed_is_noticed(parked: Parked) -> None:
    """In a checkpoint that an earlier version has sealed."""
    run_id = parked.ids["half_seen"]
    with closing(sqlite3.connect(parked.path)) as database, database:
        database.execute(
            "UPDATE runs SET body = replace(CAST(body AS TEXT), 'agent-7', 'agent-8')"
            " WHERE run_id = ?",
            [run_id],
        )
    parked.answer(run_id, "finance", "paid", CFO)
    assert parked.run("half_seen").blocked_reason == "seal_invalid"


@pytest.mark.parametrize("folder", VERSIONS, ids=lambda path: path.name)
def test_other_keys_do_not_open_it(folder: Path, tmp_path: Path) -> None:
    """The database knows which keys it was made with."""
    with pytest.raises(KeyringError), MAKE.opened(copied(folder, tmp_path), Keyring.generate()):
        pass
