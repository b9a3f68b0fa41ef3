"""A real browser without a window: Chromium, steered through the pipes of its developer tools."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

CHROMIUM = next((path for path in map(shutil.which, ("chromium", "chromium-browser")) if path), None)
_FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--remote-debugging-pipe")


class HeadlessBrowser:
    """A browser with one page."""

    def __init__(self, commands: int, answers: int) -> None:
        self._commands = open(commands, "wb", buffering=0)  # noqa: SIM115
        self._answers = open(answers, "rb")  # noqa: SIM115
        self._number = 0
        self._session = ""
        target = self._send("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Log", "Runtime", "Accessibility"):
            self._send(f"{domain}.enable")
        self.complaints: list[str] = []
        """What the browser's console says about the last page, such as what its policy forbids."""

    def _send(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        self._commands.write(json.dumps(message).encode() + b"\0")
        while (answer := self._next()).get("id") != self._number:
            pass
        assert "result" in answer, answer
        result: dict[str, Any] = answer["result"]
        return result

    def _next(self) -> dict[str, Any]:
        message = bytearray()
        while (octet := self._answers.read(1)) != b"\0":
            assert octet, "the browser has ended"
            message += octet
        answer: dict[str, Any] = json.loads(message)
        if answer.get("method") == "Log.entryAdded":
            self.complaints.append(answer["params"]["entry"]["text"])
        return answer

    def open(self, url: str, width: int, *, dark: bool = False, height: int = 900) -> None:
        """Load a page in a window of this width, and wait until it is complete."""
        self.complaints = []
        self._send("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600)
        theme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self._send("Emulation.setEmulatedMedia", features=[theme])
        self._send("Page.navigate", url=url)
        while self._next().get("method") != "Page.loadEventFired":
            pass

    def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression."""
        return self._send("Runtime.evaluate", expression=expression, returnByValue=True)["result"].get("value")

    def accessible(self) -> list[dict[str, Any]]:
        """The accessibility tree, which screen readers use."""
        nodes: list[dict[str, Any]] = self._send("Accessibility.getFullAXTree")["nodes"]
        return nodes

    def press(self, key: str, text: str = "") -> None:
        """Press a key: ``Tab``, or ``Enter`` with the text of a carriage return."""
        code = {"Tab": 9, "Enter": 13}[key]
        for kind in ("keyDown", "keyUp"):
            self._send("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code, text=text)

    def type(self, text: str) -> None:
        """Type into the element that has the focus."""
        self._send("Input.insertText", text=text)

    def wait_for_page(self) -> None:
        """Wait until another page, which a press has opened, is complete."""
        while self._next().get("method") != "Page.loadEventFired":
            pass

    def screenshot(self, path: Path) -> None:
        """Save the whole page as PNG."""
        path.write_bytes(base64.b64decode(self._send("Page.captureScreenshot", captureBeyondViewport=True)["data"]))

    def close(self) -> None:
        self._commands.close()
        self._answers.close()


@contextmanager
def headless_browser(profile: Path) -> Iterator[HeadlessBrowser]:
    """A browser with a new profile in a folder, which ends with the block."""
    assert CHROMIUM is not None
    theirs, commands = os.pipe()
    answers, theirs_too = os.pipe()
    run = f'exec "$@" 3<&{theirs} 4>&{theirs_too}'
    process = subprocess.Popen(
        ["bash", "-c", run, "bash", CHROMIUM, *_FLAGS, f"--user-data-dir={profile}"],
        pass_fds=(theirs, theirs_too),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(theirs)
    os.close(theirs_too)
    browser = None
    try:
        browser = HeadlessBrowser(commands, answers)
        yield browser
    finally:
        if browser is not None:
            browser.close()
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)
