"""Takes the pictures of the documentation: the dashboard, ``p2praft top`` and ``p2praft demo``, of real nodes on this machine.

    python tools/screenshots.py [FOLDER]        # docs/images by default; needs the extras cli and http, and Chromium

Run it again after changing what they show. Each process that it starts ends with it.
"""

from __future__ import annotations

import json
import os
import pty
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Literal

from playwright.sync_api import Browser, Page, ViewportSize, expect, sync_playwright
from rich.console import Console
from rich.text import Text

ROOT = Path(__file__).resolve().parents[1]
COMMAND = [sys.executable, "-m", "p2praft"]
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
SHELF = {
    "apples": 12,
    "pears": 7,
    "till/1": {"open": True, "float": 150},
    "till/2": {"open": False},
    "greeting": "hello",
}


class Node:
    """A running node with an API."""

    def __init__(self, *arguments: str) -> None:
        command = [*COMMAND, "up", "--json", "--listen", "127.0.0.1:0", "--api", "127.0.0.1:0", *arguments]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        assert self.process.stdout is not None
        ready = json.loads(self.process.stdout.readline())
        self.address, self.peer_id, self.api = ready["address"], ready["peer_id"], ready["api"]

    def get(self, path: str) -> Any:
        """What its API answers."""
        with urllib.request.urlopen(f"{self.api}{path}", timeout=15) as answer:
            return json.load(answer)

    def put(self, key: str, value: Any) -> None:
        """Write to the map."""
        data = json.dumps(value).encode()
        request = urllib.request.Request(f"{self.api}/v1/map/tills/{key}", data, method="PUT")
        urllib.request.urlopen(request, timeout=15).close()

    def wait(self) -> None:
        """Wait until its group has a leader."""
        for _ in range(300):
            try:
                self.get("/readyz")
                return
            except urllib.error.HTTPError as error:
                error.close()
                time.sleep(0.1)
        raise SystemExit("the nodes found no leader in 30 s")

    def stop(self) -> None:
        """End it, and wait."""
        self.process.kill()
        self.process.wait()


@contextmanager
def shop(folder: Path) -> Iterator[list[Node]]:
    """Five nodes; the last only observes."""
    secret = folder / "secret"
    secret.touch(mode=0o600)
    secret.write_text("correct horse battery staple\n")
    common = ["--network", "shop", "--group", "tills", "--secret-file", str(secret), "--expect", "3"]
    with ExitStack() as stack:
        nodes: list[Node] = []
        for number in range(5):
            more = ["--seed", nodes[0].address] if nodes else []
            nodes.append(Node(*common, *more, *(["--observer"] if number == 4 else [])))
            stack.callback(nodes[-1].stop)
        for node in nodes:
            node.wait()
        yield nodes


def write_for(node: Node, seconds: float) -> None:
    """A little traffic."""
    end = time.monotonic() + seconds
    number = 0
    while time.monotonic() < end:
        number += 1
        node.put("sold", number)
        time.sleep(0.04 + 0.05 * (number % 7 == 0))


def dashboard(browser: Browser, nodes: list[Node], folder: Path) -> None:
    """The leader's page by day, the observer's by night just after the leader died, and a phone's."""
    for key, value in SHELF.items():
        nodes[0].put(key, value)
    leader, *others = sorted(nodes[:4], key=lambda node: not node.get("/v1/groups")[0]["is_leader"])
    wide, narrow = ViewportSize(width=1240, height=800), ViewportSize(width=390, height=844)
    light = opened(browser, leader, wide, "light")
    phone = opened(browser, others[0], narrow, "light")
    dark = opened(browser, nodes[4], wide, "dark")
    write_for(others[0], 12)
    light.screenshot(path=folder / "dashboard-light.png", full_page=True)
    phone.screenshot(path=folder / "dashboard-phone.png", full_page=True)
    gone = next(node for node in nodes if node.get("/v1/groups")[0]["is_leader"])
    gone.stop()
    expect(dark.locator("#leader-who")).not_to_have_text(gone.peer_id[:8], timeout=20_000)
    dark.wait_for_selector("#leader:not([data-none])")
    write_for(leader if gone is not leader else others[0], 1)
    dark.screenshot(path=folder / "dashboard-dark.png", full_page=True)


def opened(browser: Browser, node: Node, size: ViewportSize, scheme: Literal["light", "dark"]) -> Page:
    """A node's page."""
    page = browser.new_context(viewport=size, color_scheme=scheme, device_scale_factor=1.5).new_page()
    page.goto(f"{node.api}/")
    return page


def in_terminal(arguments: list[str], name: str, folder: Path, *, columns: int) -> None:
    """What a command prints on a colour terminal, as a picture."""
    main, other = pty.openpty()
    environment = {**os.environ, "COLUMNS": str(columns), "LINES": "40", "TERM": "xterm-256color", "FORCE_COLOR": "1"}
    process = subprocess.Popen([*COMMAND, *arguments], stdout=other, stderr=other, stdin=other, env=environment)
    os.close(other)
    printed = b""
    while True:
        try:
            data = os.read(main, 65536)
        except OSError:  # the terminal's other side is closed
            break
        if not data:
            break
        printed += data
    process.wait()
    os.close(main)
    text = re.sub(r"\x1b\[\?\d+[hl]", "", printed.decode(errors="replace").replace("\r\n", "\n"))
    screen = Console(record=True, width=columns, file=open(os.devnull, "w"), force_terminal=True)  # noqa: SIM115
    screen.print(Text.from_ansi(f"$ p2praft {' '.join(a for a in arguments if not a.startswith('/'))}\n{text.strip()}"))
    drawn = screen.export_svg(title="p2praft " + arguments[0])
    # A page of ours fetches nothing from elsewhere: the reader's own monospaced font does as well.
    drawn = re.sub(r"@font-face \{.*?\}\s*", "", drawn, flags=re.DOTALL).replace(
        "Fira Code, monospace", "ui-monospace, monospace"
    )
    (folder / f"{name}.svg").write_text(drawn)


def main() -> None:
    """All pictures."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "docs" / "images"
    folder.mkdir(parents=True, exist_ok=True)
    if CHROMIUM is None:
        raise SystemExit("no Chromium here (Debian: apt install chromium)")
    with tempfile.TemporaryDirectory() as temporary:
        with shop(Path(temporary)) as nodes, sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
            dashboard(browser, nodes, folder)
            browser.close()
            survivor = next(node for node in nodes if node.process.poll() is None)
            in_terminal(["top", "--once", "--node", survivor.peer_id[:16]], "top", folder, columns=80)
    in_terminal(["demo"], "demo", folder, columns=124)
    print(f"wrote {', '.join(sorted(path.name for path in folder.glob('*')))} in {folder}")


if __name__ == "__main__":
    main()
