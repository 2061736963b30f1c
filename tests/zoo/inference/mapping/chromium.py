"""A real browser without a window, driven through pipes: pages, clicks, keys, and what a page asks the network for."""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
from pathlib import Path
from time import monotonic
from typing import Any

PROGRAM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

_PATIENCE = 60.0


class Browser:
    """One page of a browser of its own.

    Args:
        profile: an empty folder.
    """

    def __init__(self, profile: Path) -> None:
        to_browser, self._commands = os.pipe()
        self._answers, from_browser = os.pipe()
        options = f"--headless --no-sandbox --disable-gpu --no-first-run --user-data-dir={profile}"
        # The protocol is spoken on the file descriptors 3 and 4.
        line = f"exec {PROGRAM} {options} --remote-debugging-pipe about:blank 3<&{to_browser} 4>&{from_browser}"
        self._process = subprocess.Popen(
            ["bash", "-c", line],
            pass_fds=(to_browser, from_browser),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(to_browser)
        os.close(from_browser)
        self._rest, self._number, self._session = b"", 0, ""
        self.asked: list[str] = []
        """Addresses that pages have asked for."""
        self.complaints: list[str] = []
        """Errors of their scripts."""
        target = next(t for t in self.call("Target.getTargets")["targetInfos"] if t["type"] == "page")
        attached = self.call("Target.attachToTarget", targetId=target["targetId"], flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Network", "Runtime", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """The result of a command."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._commands, json.dumps(message).encode() + b"\0")
        end = monotonic() + _PATIENCE
        while True:
            answer = self._next(end)
            if answer.get("id") == self._number:
                assert "error" not in answer, answer
                result: dict[str, Any] = answer["result"]
                return result

    def open(
        self,
        page: Path,
        anchor: str = "",
        width: int = 1280,
        height: int = 1000,
        phone: bool = False,
        ready: str = 'document.documentElement?.dataset.ready === "yes"',
    ) -> None:
        """Open a page in a view of that size, and wait until it is ready: a map page, until it is drawn."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=phone)
        self.call("Page.navigate", url="about:blank")
        self.call("Page.navigate", url=page.absolute().as_uri() + anchor)
        self.wait(f"location.href !== 'about:blank' && {ready}")

    def wait(self, expression: str) -> None:
        """Return when an expression is true."""
        end = monotonic() + _PATIENCE
        while not self.value(expression):
            assert monotonic() < end, f"never true: {expression}; {self.complaints}"

    def value(self, expression: str) -> Any:
        """What an expression of JavaScript comes to."""
        found = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def text(self, selector: str) -> str:
        """The text that is seen of an element."""
        return str(self.value(f"document.querySelector({json.dumps(selector)}).innerText"))

    def click(self, x: float, y: float, to: tuple[float, float] | None = None) -> None:
        """Press the mouse at a point of the view, and let go there or elsewhere."""
        places = [("mousePressed", (x, y))]
        places += [("mouseMoved", to), ("mouseReleased", to)] if to else [("mouseReleased", (x, y))]
        for kind, (left, top) in places:
            self.call("Input.dispatchMouseEvent", type=kind, x=left, y=top, button="left", buttons=1, clickCount=1)

    def press(self, key: str, shift: bool = False) -> None:
        """Press a key, such as "ArrowUp" or "+"."""
        named = {"text": key} if len(key) == 1 else {}
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key, modifiers=8 * shift, **named)

    def picture(self) -> bytes:
        """What is seen, as PNG."""
        return base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"])

    def close(self) -> None:
        """End it."""
        self._process.terminate()
        self._process.wait()
        os.close(self._commands)
        os.close(self._answers)

    def _next(self, end: float) -> dict[str, Any]:
        while b"\0" not in self._rest:
            assert select.select([self._answers], [], [], max(0, end - monotonic()))[0], "the browser does not answer"
            received = os.read(self._answers, 1 << 16)
            assert received, "the browser has ended"
            self._rest += received
        message, _, self._rest = self._rest.partition(b"\0")
        answer: dict[str, Any] = json.loads(message)
        if answer.get("method") == "Network.requestWillBeSent":
            self.asked.append(answer["params"]["request"]["url"])
        if answer.get("method") == "Runtime.exceptionThrown":
            self.complaints.append(str(answer["params"]["exceptionDetails"]))
        if answer.get("method") == "Log.entryAdded" and answer["params"]["entry"]["level"] == "error":
            self.complaints.append(answer["params"]["entry"]["text"])
        return answer
