"""A headless Chromium, driven through its DevTools protocol, with real events of mouse and keys."""

import base64
import contextlib
import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.request import urlopen

import websocket

FLAGS = (
    "--headless",
    "--no-sandbox",  # root cannot have one
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--remote-debugging-port=0",
)
PATIENCE = 60  # seconds, on a machine that does much else


def chromium() -> str | None:
    return shutil.which("chromium") or shutil.which("chromium-browser")


class Tab:
    """A page of the browser. `messages` are what it wrote to the console, and its errors."""

    def __init__(self, address: str) -> None:
        self.socket = websocket.create_connection(address, PATIENCE, suppress_origin=True)
        self.count, self.messages = 0, []
        for domain in ("Page", "Runtime", "Log", "DOM"):
            self.send(f"{domain}.enable")

    def send(self, method: str, **parameters: object) -> dict:
        self.count += 1
        self.socket.send(json.dumps({"id": self.count, "method": method, "params": parameters}))
        while True:
            answer = json.loads(self.socket.recv())
            if answer.get("method") in (
                "Runtime.consoleAPICalled",
                "Runtime.exceptionThrown",
                "Log.entryAdded",
            ):
                self.messages.append(json.dumps(answer["params"])[:500])
            if answer.get("id") == self.count:
                assert "error" not in answer, (method, answer["error"])
                return answer["result"]

    def evaluate(self, expression: str) -> object:
        """The value of a JavaScript expression; that of a promise is awaited."""
        answer = self.send(
            "Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True
        )
        assert "exceptionDetails" not in answer, (expression, answer["exceptionDetails"])
        return answer["result"].get("value")

    def wait(self, expression: str) -> None:
        """Until the JavaScript expression is true."""
        self.until(lambda: self.evaluate(f"Boolean({expression})"), expression)

    def until(self, is_true: Callable[[], bool], what: str = "it") -> None:
        end = time.monotonic() + PATIENCE
        while not is_true():
            assert time.monotonic() < end, f"never true: {what}"
            time.sleep(0.05)

    def open(self, address: str, width: int = 1280, height: int = 800, dark: bool = False) -> None:
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
        self.send("Emulation.setDeviceMetricsOverride", **size)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.send("Emulation.setEmulatedMedia", features=[scheme])
        self.send("Page.navigate", url="about:blank")  # else a new fragment alone loads nothing
        self.wait("location.href === 'about:blank'")
        self.send("Page.navigate", url=address)
        self.wait("location.href !== 'about:blank' && document.readyState === 'complete'")

    def click(self, selector: str, x: float = 0.5, y: float = 0.5) -> None:
        """With the mouse, at a place in the element: (0, 0) is its upper left corner."""
        place = self._place(selector, x, y)
        for kind in ("mousePressed", "mouseReleased"):
            self.send("Input.dispatchMouseEvent", type=kind, button="left", clickCount=1, **place)

    def drop(self, selector: str, file: Path) -> None:
        """Drags a file from outside onto the element."""
        data = {"items": [], "files": [str(file)], "dragOperationsMask": 1}
        place = self._place(selector, 0.5, 0.5)
        for kind in ("dragEnter", "dragOver", "drop"):
            self.send("Input.dispatchDragEvent", type=kind, data=data, **place)

    def _place(self, selector: str, x: float, y: float) -> dict[str, float]:
        """The pixels of a place in the element, which is brought into view."""
        found = f"document.querySelector({json.dumps(selector)})"
        self.evaluate(f"{found}.scrollIntoView({{block: 'center', behavior: 'instant'}})")
        left, top, width, height = self.evaluate(
            f"(({{left, top, width, height}}) => [left, top, width, height])"
            f"({found}.getBoundingClientRect())"
        )
        return {"x": left + x * width, "y": top + y * height}

    def press(self, key: str, text: str = "") -> None:
        for kind in ("keyDown", "keyUp"):
            more = {"text": text} if text and kind == "keyDown" else {}
            codes = {"ArrowRight": 39, "ArrowLeft": 37, "ArrowDown": 40, "Home": 36, "End": 35}
            code = codes.get(key, ord(key[0].upper()))
            self.send(
                "Input.dispatchKeyEvent",
                type=kind,
                key=key,
                code=key,
                windowsVirtualKeyCode=code,
                **more,
            )

    def choose_file(self, selector: str, path: Path) -> None:
        root = self.send("DOM.getDocument")["root"]["nodeId"]
        node = self.send("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self.send("DOM.setFileInputFiles", nodeId=node, files=[str(path)])

    def picture(self, path: Path, whole: bool = True) -> None:
        """Saves a PNG of the page."""
        data = self.send("Page.captureScreenshot", captureBeyondViewport=whole)["data"]
        path.write_bytes(base64.b64decode(data))


@contextlib.contextmanager
def open_tab(folder: Path) -> Iterator[Tab]:
    """A tab of a Chromium that keeps its files in the empty `folder`."""
    command = [chromium(), *FLAGS, f"--user-data-dir={folder}", "about:blank"]
    silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen(command, **silent, env=os.environ | {"HOME": str(folder)})
    try:
        port = _port(folder / "DevToolsActivePort")
        with urlopen(f"http://127.0.0.1:{port}/json", timeout=PATIENCE) as answer:
            pages = [page for page in json.load(answer) if page["type"] == "page"]
        tab = Tab(pages[0]["webSocketDebuggerUrl"])
        yield tab
        tab.socket.close()
    finally:
        process.terminate()
        process.wait()


def _port(file: Path) -> str:
    end = time.monotonic() + PATIENCE
    while not (file.exists() and "\n" in (text := file.read_text())):
        assert time.monotonic() < end, "Chromium does not start"
        time.sleep(0.05)
    return text.splitlines()[0]
