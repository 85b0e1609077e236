from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pytest

from signoff.errors import KeyringError
from signoff.security import Key, Keyring
from signoff.security.keyfile import default_path, load_or_create, save

ones = bytes([1]) * 32


def mode_of(path: Path) -> int:
    """Return the permission bits of a file or folder."""
    return stat.S_IMODE(path.stat().st_mode)


def test_a_key_file_is_made_where_there_is_none(tmp_path: Path) -> None:
    """With one active key that the next reader gets too."""
    path = tmp_path / "signoff.key"

    keyring = load_or_create(path)

    assert [(key.kid, key.state) for key in keyring.keys] == [(1, "active")]
    assert load_or_create(path).keys == keyring.keys
    assert load_or_create(tmp_path / "other.key").keys != keyring.keys


def test_a_key_file_is_for_its_owner_only(tmp_path: Path) -> None:
    """So are the folders that are made for it; those that exist stay as they are."""
    tmp_path.chmod(0o755)
    umask = os.umask(0)
    try:
        load_or_create(tmp_path / "one" / "two" / "signoff.key")
    finally:
        os.umask(umask)

    assert mode_of(tmp_path) == 0o755
    assert mode_of(tmp_path / "one") == 0o700
    assert mode_of(tmp_path / "one" / "two") == 0o700
    assert mode_of(tmp_path / "one" / "two" / "signoff.key") == 0o600


def test_a_key_file_is_all_that_stays(tmp_path: Path) -> None:
    """No temporary file is left with a secret in it, and no second name."""
    path = tmp_path / "signoff.key"
    load_or_create(path)
    save(path, Keyring.generate())

    assert list(tmp_path.iterdir()) == [path]
    assert path.stat().st_nlink == 1


def test_a_key_file_says_what_it_is(tmp_path: Path) -> None:
    """Who finds it reads that it is secret and belongs in a backup; then the keys."""
    path = tmp_path / "signoff.key"
    keyring = load_or_create(path)

    first, second, *rest = path.read_text().splitlines(keepends=True)
    assert first == "# The keys of a Signoff store, one a line: kid:state:secret.\n"
    assert second.startswith("# Keep this file secret, and back it up apart from the database")
    assert "".join(rest) == keyring.to_text()


@pytest.mark.parametrize("mode", [0o640, 0o620, 0o610, 0o604, 0o602, 0o601, 0o644, 0o777])
def test_a_key_file_that_others_may_use_is_refused(tmp_path: Path, mode: int) -> None:
    """Whichever bit it is; the error says what to run, and nothing of the file."""
    path = tmp_path / "signoff.key"
    keyring = load_or_create(path)
    path.chmod(mode)

    with pytest.raises(KeyringError) as caught:
        load_or_create(path)

    assert str(caught.value) == (
        f"the key file {path} is open to others than its owner (mode {mode:04o}); run"
        f" `chmod 600 {path}`, and rotate the key if somebody may have read it"
    )
    path.chmod(0o600)
    assert load_or_create(path).keys == keyring.keys


@pytest.mark.parametrize("mode", [0o600, 0o400, 0o700])
def test_a_key_file_that_only_its_owner_may_use_is_read(tmp_path: Path, mode: int) -> None:
    """A file that its owner may not write is as good."""
    path = tmp_path / "signoff.key"
    keyring = load_or_create(path)
    path.chmod(mode)

    assert load_or_create(path).keys == keyring.keys


def test_a_key_file_may_be_written_by_hand(tmp_path: Path) -> None:
    """In every form that the environment variable takes."""
    path = tmp_path / "signoff.key"
    path.touch(mode=0o600)
    path.write_text("AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=\n")

    assert load_or_create(path).keys == (Key(1, ones, "active"),)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "there is no key; "),
        (b"\xff\xfe", "entry 1: the secret is not base64; "),
        (b"1:active:AAAA", "key 1: the secret has 3 bytes, not 32; "),
    ],
)
def test_a_damaged_key_file_is_refused(tmp_path: Path, content: bytes, problem: str) -> None:
    """It is named, and never made anew over the old one."""
    path = tmp_path / "signoff.key"
    path.touch(mode=0o600)
    path.write_bytes(content)

    with pytest.raises(KeyringError) as caught:
        load_or_create(path)

    assert str(caught.value).startswith(f"{path}: {problem}")
    assert path.read_bytes() == content


def a_folder(path: Path) -> None:
    """Put a folder where the key file should be."""
    path.mkdir()


def below_a_file(path: Path) -> None:
    """Put a file where the key file's folder should be."""
    path.parent.rmdir()
    path.parent.touch()


def a_dead_link(path: Path) -> None:
    """Put a symbolic link to nothing where the key file should be."""
    path.symlink_to("nowhere")


@pytest.mark.parametrize(
    ("obstacle", "problem"),
    [
        (a_folder, "Is a directory"),
        (below_a_file, "Not a directory"),
        (a_dead_link, "No such file or directory"),
    ],
)
def test_a_key_file_that_cannot_be_is_an_error(
    tmp_path: Path, obstacle: Callable[[Path], None], problem: str
) -> None:
    """It names the file, the reason and two ways out."""
    path = tmp_path / "keys" / "signoff.key"
    path.parent.mkdir()
    obstacle(path)

    with pytest.raises(KeyringError) as caught:
        load_or_create(path)

    assert str(caught.value) == (
        f"the key file {path} cannot be used: {problem};"
        " choose another path for it, or give the keys in SIGNOFF_KEY"
    )
    assert isinstance(caught.value.__cause__, OSError)


def test_the_loser_of_a_race_reads_the_winners_keys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other process links its file after this one has looked, and before it links its own."""
    path = tmp_path / "signoff.key"
    winner = Keyring.generate()
    link = os.link

    def late(source: str, target: str) -> None:
        save(path, winner)
        link(source, target)

    monkeypatch.setattr("os.link", late)

    assert load_or_create(path).keys == winner.keys
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_another_process_makes_meanwhile_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the look and the making."""
    path = tmp_path / "keys" / "signoff.key"
    make = os.mkdir

    def late(folder: str, mode: int) -> None:
        make(folder, mode)
        make(folder, mode)

    monkeypatch.setattr("os.mkdir", late)

    assert load_or_create(path).active_kid == 1
    assert mode_of(path.parent) == 0o700


def test_what_is_linked_is_complete_and_on_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The text is flushed before the file gets its name, and the folder after."""
    path = tmp_path / "signoff.key"
    flushed: list[tuple[str, bool]] = []
    flush = os.fsync

    def recording(descriptor: int) -> None:
        kind = "folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file"
        size = os.fstat(descriptor).st_size
        flushed.append((kind, path.exists()))
        assert kind == "folder" or size > 200
        flush(descriptor)

    monkeypatch.setattr("os.fsync", recording)

    load_or_create(path)
    path.unlink()
    save(path, Keyring.generate())

    assert flushed == [("file", False), ("folder", True)] * 2


def test_folders_that_are_made_are_on_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each is flushed into the one above it, before the key file is written."""
    path = tmp_path / "one" / "two" / "signoff.key"
    flushed: list[int] = []
    flush = os.fsync

    def recording(descriptor: int) -> None:
        flushed.append(os.fstat(descriptor).st_ino)
        flush(descriptor)

    monkeypatch.setattr("os.fsync", recording)

    load_or_create(path)

    names = [tmp_path, tmp_path / "one", path, tmp_path / "one" / "two"]
    assert flushed == [name.stat().st_ino for name in names]


creator = """
import sys
from pathlib import Path
from signoff.security.keyfile import load_or_create
print("ready", flush=True)
sys.stdin.readline()
print(load_or_create(Path(sys.argv[1])).check_value(1))
"""


def test_processes_that_create_at_once_get_the_same_key(tmp_path: Path) -> None:
    """Real processes, let go together; one file is left."""
    path = tmp_path / "keys" / "signoff.key"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", creator, str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        for _ in range(6)
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    answers = [process.communicate(timeout=30)[0].strip() for process in processes]

    assert [process.returncode for process in processes] == [0] * 6
    assert set(answers) == {load_or_create(path).check_value(1)}
    assert list(path.parent.iterdir()) == [path]


def test_saved_keys_replace_the_old_ones(tmp_path: Path) -> None:
    """What is saved is read again, the retired key too, and only by the owner."""
    path = tmp_path / "signoff.key"
    rotated = load_or_create(path).rotated([1]).retire(1)

    save(path, rotated)

    assert load_or_create(path).keys == rotated.keys
    assert [(key.kid, key.state) for key in rotated.keys] == [(2, "active"), (1, "retired")]
    assert mode_of(path) == 0o600


def test_saving_makes_the_folder(tmp_path: Path) -> None:
    """As making a key file does."""
    path = tmp_path / "keys" / "signoff.key"

    save(path, Keyring.generate())

    assert mode_of(path.parent) == 0o700


def test_saving_where_nothing_can_be_saved_is_an_error(tmp_path: Path) -> None:
    """Nothing is left behind."""
    path = tmp_path / "signoff.key"
    path.mkdir()

    with pytest.raises(KeyringError, match=r"signoff\.key cannot be used: Is a directory; choose"):
        save(path, Keyring.generate())
    assert list(tmp_path.iterdir()) == [path]


def named_after(database: Path) -> str:
    """Return the file name that a database's key has by default."""
    return sha256(str(database).encode()).hexdigest()[:32] + ".key"


def test_a_key_file_is_kept_with_the_users_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In XDG_STATE_HOME, under a hash of where the database is."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    database = tmp_path.resolve() / "signoff.db"

    path = default_path(database)

    assert path == tmp_path / "state" / "signoff" / "keys" / named_after(database)
    assert not path.is_relative_to(database.parent / "signoff.db")


@pytest.mark.parametrize("configured", [None, "", "relative/state"])
def test_a_key_file_is_kept_in_the_home_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, configured: str | None
) -> None:
    """When XDG_STATE_HOME is not set, or is not absolute, as its specification says."""
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    if configured is not None:
        monkeypatch.setenv("XDG_STATE_HOME", configured)
    monkeypatch.setenv("HOME", str(tmp_path))

    path = default_path("/srv/shop/signoff.db")

    folder = tmp_path / ".local" / "state" / "signoff" / "keys"
    assert path == folder / named_after(Path("/srv/shop/signoff.db").resolve())


def test_a_process_without_a_home_is_told_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a container that runs under a user id of nobody."""
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    monkeypatch.setenv("HOME", "~")

    with pytest.raises(KeyringError) as caught:
        default_path("signoff.db")

    assert str(caught.value) == (
        "there is no home folder to keep a key file in; give the keys in SIGNOFF_KEY"
    )


def test_all_names_of_a_database_have_one_key_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Relative, with dots, or through a symbolic link; another database has another."""
    (tmp_path / "data").mkdir()
    (tmp_path / "current").symlink_to("data")
    monkeypatch.setenv("XDG_STATE_HOME", "/state")
    monkeypatch.chdir(tmp_path)
    names: list[str | Path] = [
        tmp_path / "data" / "signoff.db",
        "data/signoff.db",
        "./data/../data/signoff.db",
        Path("current/signoff.db"),
    ]

    assert len({default_path(name) for name in names}) == 1
    assert default_path("data/other.db") != default_path("data/signoff.db")


def test_a_database_whose_name_is_no_text_has_a_key_file() -> None:
    """File names are bytes."""
    assert default_path("signoff\udcff.db") != default_path("signoff\udcfe.db")
