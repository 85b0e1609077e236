"""A type that got another name while a call with it waited: one process before, and one after."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from signoff.security.keyring import Keyring

pytestmark = pytest.mark.slow

PROGRAM = """
from dataclasses import dataclass
import anyio
from signoff import Client, require_approval
from signoff.codec import codec
from signoff.stores import SQLiteStore

@dataclass(frozen=True)
class {type}:
    total: int

{register}

@require_approval(name="shop.pay", assignees=["ann@acme.example"])
async def pay(bill: {type}) -> {type}:
    return bill

async def main():
    async with Client(SQLiteStore("signoff.db"), reviewer="ann@acme.example") as client:
        request = await client.submit(pay, {type}(9), key="inv-17")
        if {answers}:
            await client.hitl.approve(request_id=request.request_id)
            await client.drain()
            run = await client.flows.get(request.run_id)
            print(run.status, run.output)

anyio.run(main)
"""


def played(folder: Path, keys: str, **names: object) -> str:
    """Run the program with these names, and return what it said."""
    (folder / "shop.py").write_text(PROGRAM.format(**names))
    ended = subprocess.run(
        [sys.executable, "-c", "import shop"],
        cwd=folder,
        env=os.environ | {"SIGNOFF_KEY": keys},
        capture_output=True,
        text=True,
        check=False,
    )
    return ended.stdout + ended.stderr


def test_a_renamed_type_that_keeps_its_stored_name_is_the_same_call(tmp_path: Path) -> None:
    """The key stands for it, and what was approved runs with the new class."""
    keys = Keyring.generate().to_text()
    assert played(tmp_path, keys, type="Bill", register="", answers=False) == ""

    said = played(
        tmp_path,
        keys,
        type="Invoice",
        register='codec.register(Invoice, name="shop:Bill")',
        answers=True,
    )

    assert said == "completed Invoice(total=9)\n"


def test_a_renamed_type_with_an_alias_loads_and_is_another_call(tmp_path: Path) -> None:
    """What a person is asked about has the type's name in it, and so in its digest."""
    keys = Keyring.generate().to_text()
    assert played(tmp_path, keys, type="Bill", register="", answers=False) == ""

    said = played(
        tmp_path,
        keys,
        type="Invoice",
        register='codec.register(Invoice, aliases=["shop:Bill"])',
        answers=True,
    )

    assert "KeyConflict" in said
