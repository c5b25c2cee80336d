"""A headless Chromium that is driven over the DevTools protocol: what a person would see of a page."""

import asyncio
import base64
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, Self, TypeVar

import aiohttp

T = TypeVar("T")

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--no-proxy-server",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-dev-shm-usage",
    "--disable-sync",
    "--remote-debugging-port=0",
    "--window-size=1400,1000",
)
PATIENCE_SECONDS = 90.0
"""How long a page may take on a busy machine."""


def chromium() -> str | None:
    """The program, where it is installed."""
    return next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


class Browser:
    """One window. A context manager: the browser ends with it."""

    def __init__(self, folder: Path) -> None:
        """`folder`: an empty one, for its profile."""
        program = chromium()
        assert program is not None
        self._profile, self._asked = folder, 0
        self._loop = asyncio.new_event_loop()
        self._process = subprocess.Popen(
            [program, *FLAGS, f"--user-data-dir={folder}", "about:blank"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def __enter__(self) -> Self:
        try:
            port = self._wait(self._port)
            self._session = self._run(_session())
            pages = self._run(self._get(f"http://127.0.0.1:{port}/json/list"))
            (page,) = [page for page in pages if page["type"] == "page"]
            self._socket = self._run(self._connect(page["webSocketDebuggerUrl"]))
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        self._run(self._socket.close())
        self._run(self._session.close())
        self._end()

    def open(self, url: str) -> None:
        """Go to a page; returns before it is drawn. By way of an empty one: nothing stays of the page before."""
        self._ask("Page.navigate", url="about:blank")
        self._ask("Page.navigate", url=url)

    def text(self) -> str:
        """The text that the page shows now."""
        return str(self.evaluate("document.body?.innerText ?? ''"))

    def evaluate(self, script: str) -> Any:
        """The value of an expression in the page."""
        answer = self._ask("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        return answer["result"].get("value")

    def type_into(self, element: str, text: str) -> None:
        """Replace what stands in an input, given as an expression, as typing would."""
        self.evaluate(f"{element}.focus(), {element}.select()")
        self._ask("Input.insertText", text=text)

    def wait_for(self, script: str) -> Any:
        """The value of an expression once it is true; what the page shows is in the message where it never is."""
        try:
            return self._wait(lambda: self.evaluate(script))
        except TimeoutError:
            raise AssertionError(f"never true: {script}\nThe page shows:\n{self.text()[:3000]}") from None

    def wait_for_texts(self, *texts: str) -> None:
        """Wait until the page shows all of them."""
        self.wait_for(f"{json.dumps(texts)}.every(text => document.body?.innerText.includes(text))")

    def screenshot(self, path: Path) -> None:
        path.write_bytes(base64.b64decode(self._ask("Page.captureScreenshot")["data"]))

    def _ask(self, method: str, **parameters: Any) -> Any:
        self._asked += 1
        number = self._asked

        async def ask() -> Any:
            await self._socket.send_json({"id": number, "method": method, "params": parameters})
            while (answer := await self._socket.receive_json(timeout=PATIENCE_SECONDS)).get("id") != number:
                pass
            return answer["result"]

        return self._run(ask())

    async def _get(self, url: str) -> Any:
        async with self._session.get(url) as answer:
            return await answer.json()

    async def _connect(self, url: str) -> aiohttp.ClientWebSocketResponse:
        return await self._session.ws_connect(url, max_msg_size=0)

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return self._loop.run_until_complete(work)

    def _wait(self, condition: Callable[[], T | None]) -> T:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not (found := condition()):
            if time.monotonic() > deadline:
                raise TimeoutError
            time.sleep(0.1)
        return found

    def _port(self) -> str | None:
        try:
            return (self._profile / "DevToolsActivePort").read_text().splitlines()[0]
        except (OSError, IndexError):
            return None

    def _end(self) -> None:
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._loop.close()


async def _session() -> aiohttp.ClientSession:
    return aiohttp.ClientSession()
