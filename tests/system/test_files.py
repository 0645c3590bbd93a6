"""Files that are whole or not there, and locks, by the processes that would break them."""

import errno
import fcntl
import os
import platform
import subprocess
import sys

import numpy as np
import pytest

from lib.system import files
from lib.system.errors import UserError
from lib.system.files import (
    atomic_write,
    cached,
    exclusive_lock,
    read_json,
    write_arrays,
    write_json,
)
from lib.system.paths import ROOT


def child(code, *arguments):
    command = [
        sys.executable,
        "-c",
        f"import sys; sys.path.insert(0, {str(ROOT)!r})\n{code}",
        *map(str, arguments),
    ]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def test_a_block_that_fails_leaves_what_was_there(tmp_path):
    path = tmp_path / "new folder" / "a.json"
    write_json(path, {"a": 1})
    with (
        pytest.raises(
            UserError, match=r"cannot write .*a.json \(No space left on device\): free space"
        ),
        atomic_write(path) as file,
    ):
        file.write(b"half")
        raise OSError(28, "No space left on device")
    with pytest.raises(KeyboardInterrupt), atomic_write(path) as file:
        raise KeyboardInterrupt
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(path, {"a": float("nan")})
    assert read_json(path, "") == {"a": 1} and os.listdir(path.parent) == ["a.json"]


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    for path, why in (
        (tmp_path / "file" / "a.json", "Not a directory|File exists"),
        (tmp_path / "folder", "Is a directory"),
    ):
        with pytest.raises(UserError, match=rf"cannot write {path} \(({why})\)"):
            write_json(path, {})
    assert os.listdir(tmp_path / "folder") == []


def test_what_a_killed_process_left_is_removed_and_what_a_living_one_writes_is_not(tmp_path):
    """Whatever their numbers are: in another container, a living process may have any."""
    written, left = tmp_path / ".a.json.1.partial", tmp_path / f".a.json.{os.getpid()}.partial"
    for path in (written, left, tmp_path / ".b.json.1.partial"):
        path.write_text("half")
    with written.open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        write_json(tmp_path / "a.json", {})
    assert set(os.listdir(tmp_path)) == {written.name, ".b.json.1.partial", "a.json"}
    write_json(tmp_path / "a.json", {})
    assert set(os.listdir(tmp_path)) == {".b.json.1.partial", "a.json"}


@pytest.mark.parametrize("content", [b"", b"[1]", b"{", b"\xff\xfe"])
def test_a_damaged_object_is_named(tmp_path, content):
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(UserError, match=r"a.json is damaged: remove it"):
        read_json(tmp_path / "a.json", "remove it")


HOLD = """
from pathlib import Path
from lib.system.files import exclusive_lock
with exclusive_lock(Path(sys.argv[1]), "at work"):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_lock_names_its_owner_and_heals_after_a_kill(tmp_path):
    owner = child(HOLD, tmp_path / "lock")
    assert owner.stdout.readline() == "held\n"
    with (
        pytest.raises(UserError, match=f"^process {owner.pid} is at work: wait$"),
        exclusive_lock(tmp_path / "lock", "at work", "wait"),
    ):
        pytest.fail("two held it")
    owner.kill()
    owner.wait()
    with exclusive_lock(tmp_path / "lock", "at work", "wait"):
        here = f"process {os.getpid()} on {platform.node()}"
        assert (tmp_path / ".lock.lock").read_text() == here
        (tmp_path / ".lock.lock").write_text("process 7 on other-host")
        with (
            pytest.raises(UserError, match=r"^process 7 on other-host is at work: wait$"),
            exclusive_lock(tmp_path / "lock", "at work", "wait"),
        ):
            pytest.fail("two held it")


def test_a_lock_without_a_remedy_is_waited_for(tmp_path):
    with exclusive_lock(tmp_path / "lock", "at work"):
        waiting = child(HOLD, tmp_path / "lock")
        assert waiting.stdout.readline() == f"process {os.getpid()} is at work: waiting for it\n"
    assert waiting.stdout.readline() == "held\n"
    waiting.communicate("")
    assert waiting.returncode == 0


def test_a_disk_without_locks_is_said_and_used(tmp_path, monkeypatch, capsys):
    def without(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", without)
    with exclusive_lock(tmp_path / "lock", "at work", "wait"):
        assert (
            capsys.readouterr().out
            == f"{tmp_path} has no locks (No locks available): make sure that nothing else there"
            " is at work\n"
        )


def test_a_cache_is_made_once_for_a_fingerprint_and_again_where_it_is_damaged(tmp_path):
    path, made = tmp_path / "cache.npz", []

    def make():
        made.append(1)
        return {"images": np.full((2, 3), len(made), np.uint8), "codes": np.ones(2, np.float32)}

    first, again = cached(path, "a", make), cached(path, "a", make)
    assert len(made) == 1 and all(np.array_equal(first[name], again[name]) for name in first)
    assert again["codes"].dtype == np.float32 and again["images"].dtype == np.uint8
    assert cached(path, "b", make)["images"][0, 0] == 2
    intact = path.read_bytes()
    for damaged in (b"", intact[:-50], b"x" * 500, intact[:60] + b"?" + intact[61:]):
        path.write_bytes(damaged)
        assert cached(path, "b", make)["images"].shape == (2, 3)
    assert len(made) == 6 and os.listdir(tmp_path) == [".cache.npz.lock", "cache.npz"]


def test_a_cache_never_loads_a_pickle(tmp_path):
    path = tmp_path / "cache.npz"
    np.savez(path, stamp=np.array("a"), x=np.array([print], dtype=object))
    assert cached(path, "a", lambda: {"x": np.zeros(1)})["x"] == 0


def test_a_cache_that_another_process_made_meanwhile_is_used(tmp_path, monkeypatch):
    path, reads = tmp_path / "cache.npz", []
    write_arrays(path, {"x": np.ones(1), "stamp": np.array("a")})
    read = files.read_arrays

    def absent_at_first(*arguments):
        reads.append(1)
        if len(reads) == 1:
            raise FileNotFoundError
        return read(*arguments)

    monkeypatch.setattr(files, "read_arrays", absent_at_first)
    assert cached(path, "a", lambda: pytest.fail("it was made again"))["x"] == 1
