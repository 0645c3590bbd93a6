"""Downloads from servers on loopback that refuse, cut, mislead or redirect."""

import http.server
import os
import re
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lib.data.archive import ARCHIVE
from lib.data.sources import download_archive
from lib.system import paths
from tests.archives import Mirror, write_tar
from tests.faults.place import refusal, shown

pytestmark = pytest.mark.faults

NO_SERVER = "http://127.0.0.1:9/a.tar.gz"


class Redirect(Mirror):
    """Sends on to the address that is its content."""

    def do_GET(self):
        self.send_response(302)
        self.send_header("Location", type(self).content)
        self.end_headers()


class SlowMirror(Mirror):
    """Sends half of its content, and nothing for three seconds."""

    def do_GET(self):
        content = type(self).content
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content[: len(content) // 2])
        time.sleep(3)


@pytest.fixture(scope="module")
def good(tmp_path_factory) -> bytes:
    path = tmp_path_factory.mktemp("tar") / "good.tar.gz"
    return write_tar(path, [("sprites_0.mat", os.urandom(600_000))]).read_bytes()


@pytest.fixture
def target(tmp_path, monkeypatch) -> Path:
    """Where the archive is to lie."""
    monkeypatch.setattr(paths, "DATA", tmp_path)
    return tmp_path / "raw" / ARCHIVE


@pytest.fixture
def serve(good) -> Iterator[Callable[..., tuple[type[Mirror], str]]]:
    """Starts a server and returns its handler and an address; its content is the good archive."""
    servers = []

    def start(kind: type[Mirror] = Mirror, **settings: object) -> tuple[type[Mirror], str]:
        handler = type("Handler", (kind,), {"content": good, "asked": [], **settings})
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        servers.append(server)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        return handler, f"http://127.0.0.1:{server.server_port}/a.tar.gz"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def fetch(address: str, timeout: float = 5) -> Path:
    return download_archive([address], progress=False, timeout=timeout)


@pytest.fixture
def recover(target, serve, good, record) -> Callable[[str, str], None]:
    """Checks that nothing but a part is left and that a good server mends that. Records the row."""

    def check(fault: str, sentence: str) -> None:
        names = [path.name for path in target.parent.iterdir()]
        assert all(name.endswith(".part") for name in names), names
        _, address = serve()
        assert fetch(address).read_bytes() == good
        left = ", ".join(names) or "nothing"
        record(f"download: {fault}", shown(sentence), "", left, "yes")

    return check


def test_refused(target, recover):
    recover("refused", refusal(lambda: fetch(NO_SERVER), "Connection refused"))


def test_no_answer_then_slow(target, serve, recover):
    _, address = serve(SlowMirror)
    sentence = refusal(lambda: fetch(address, timeout=0.5), "timed out")
    recover("no answer, then slow", sentence)


def test_cut_in_the_middle_then_resumed(target, serve, good, recover):
    handler, address = serve(cuts=1)
    half = len(good) // 2
    broke_off = f"broke off at {half:,} of {len(good):,} bytes.*try again to go on"
    sentence = refusal(lambda: fetch(address), broke_off)
    assert target.with_name(f"{ARCHIVE}.part").stat().st_size == half
    fetch(address)
    assert handler.asked == [None, f"bytes={half}-"] and target.read_bytes() == good
    target.unlink()
    recover("cut in the middle, then resumed", sentence)


def test_not_found(target, serve, recover):
    _, address = serve(code=404)
    recover("not found", refusal(lambda: fetch(address), "HTTP Error 404"))


def test_wrong_content(target, serve, recover):
    _, address = serve(content=b"<html>moved</html>")
    sentence = refusal(lambda: fetch(address), re.escape("something other than a .tar.gz"))
    recover("wrong content", sentence)


def test_wrong_length(target, serve, good, recover):
    target.parent.mkdir()
    target.with_name(f"{ARCHIVE}.part").write_bytes(bytes(len(good) + 9))
    _, address = serve()
    sentence = refusal(lambda: fetch(address), "416")
    recover("wrong length: more is there than exists", sentence)


def test_redirected(target, serve, good, record):
    _, address = serve(Redirect, content=serve()[1])
    assert fetch(address).read_bytes() == good
    record("download: redirected", "(followed)", "", "the archive", "not needed")


def test_redirected_to_a_file_of_this_machine(target, serve, recover):
    _, address = serve(Redirect, content="file:///etc/passwd")
    sentence = refusal(lambda: fetch(address), "not allowed|failed")
    recover("redirected to a file of this machine", sentence)
