"""The dashboard in a real browser, over real nodes: it shows a killed leader and its successor."""

from __future__ import annotations

import json
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import Hosts, Up

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here (Debian: apt install chromium)")
PATIENCE = 30_000
"""Milliseconds that anything may take before it counts as hanging."""
sync_api.expect.set_options(timeout=PATIENCE)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        made = playwright.chromium.launch(
            executable_path=CHROMIUM,
            args=["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"],
        )
        yield made
        made.close()


@pytest.fixture
def hosts(tmp_path: Path) -> Iterator[Hosts]:
    made = Hosts(tmp_path)
    try:
        yield made
    finally:
        for node in made.nodes:
            if node.process.poll() is None:
                node.process.kill()
            node.process.wait(30)
            for stream in (node.process.stdout, node.process.stderr):
                if stream is not None:
                    stream.close()


class Page:
    """A page, and what went wrong in it."""

    def __init__(self, browser: Any, url: str, **context: Any) -> None:
        self.context = browser.new_context(**context)
        self.page = self.context.new_page()
        self.page.set_default_timeout(PATIENCE)
        self.problems: list[str] = []
        self.asked: list[str] = []
        self.page.on("pageerror", lambda error: self.problems.append(str(error)))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.on("console", lambda message: self._note(message))
        self.url = url
        self.page.goto(url)

    def _note(self, message: Any) -> None:
        if message.type == "error" and "401" not in message.text:
            self.problems.append(message.text)

    def text(self, selector: str) -> str:
        return str(self.page.locator(selector).inner_text())

    def close(self) -> None:
        """Nothing failed, nothing broke the page's policy, and nothing was fetched from elsewhere."""
        self.context.close()
        assert not self.problems
        origin = self.url.split("#")[0].rstrip("/")
        assert all(url.startswith(origin) for url in self.asked), self.asked


def api_of(node: Up) -> str:
    return str(next(event["api"] for event in node.events if event["event"] == "ready"))


def get(node: Up, path: str) -> Any:
    with urllib.request.urlopen(f"{api_of(node)}{path}", timeout=30) as answer:
        return json.load(answer)


def wait_ready(node: Up) -> None:
    deadline = time.monotonic() + PATIENCE / 1000
    while True:
        try:
            get(node, "/readyz")
            return
        except urllib.error.HTTPError as error:
            error.close()
            if error.code != 503 or time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def put(node: Up, key: str, value: Any) -> None:
    request = urllib.request.Request(f"{api_of(node)}/v1/map/tills/{key}", json.dumps(value).encode(), method="PUT")
    with urllib.request.urlopen(request, timeout=30) as answer:
        assert answer.status == 200


def test_a_killed_leader_and_its_successor_are_seen(browser: Any, hosts: Hosts) -> None:
    common = (
        "--network",
        "shop",
        "--group",
        "tills",
        "--secret-file",
        hosts.secret(),
        "--expect",
        "3",
        "--api",
        "127.0.0.1:0",
    )
    first = hosts.up(*common)
    nodes = [first, *(hosts.up(*common, "--seed", first.address) for _ in range(2))]
    for node in nodes:
        wait_ready(node)
    (group,) = get(first, "/v1/groups")
    leader = next(node for node in nodes if node.peer_id == group["leader"])
    watched = next(node for node in nodes if node is not leader)
    view = Page(browser, f"{api_of(watched)}/", viewport={"width": 390, "height": 844})
    page = view.page

    sync_api.expect(page.locator("#link")).to_have_text("live")
    sync_api.expect(page.locator("#leader-who")).to_have_text(leader.peer_id[:8])
    sync_api.expect(page.locator(f'#mesh .node[data-peer="{leader.peer_id}"]')).to_have_class("node voter leads")
    sync_api.expect(page.locator("#mesh .node.voter")).to_have_count(3)
    sync_api.expect(page.locator('#mesh .bond:not([style*="none"])')).to_have_count(2)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "a phone must not scroll sideways"

    put(leader, "fruit", "<img src=x onerror=alert(1)>")  # text from others is text
    sync_api.expect(page.locator("#entries td").nth(1)).to_have_text("<img src=x onerror=alert(1)>")

    leader.kill()
    sync_api.expect(page.locator("#leader-who")).not_to_have_text(leader.peer_id[:8], timeout=PATIENCE)
    successor = next(node for node in nodes if node is not leader and node.peer_id != watched.peer_id)
    sync_api.expect(page.locator("#leader:not([data-none])")).to_be_visible(timeout=PATIENCE)
    new = view.text("#leader-who")[:8]
    assert new in (successor.peer_id[:8], watched.peer_id[:8])
    sync_api.expect(page.locator(f'#mesh .node[data-peer="{leader.peer_id}"]')).to_have_class("node voter away")
    sync_api.expect(page.locator("#mesh .node.leads text.id")).to_have_text(new)
    sync_api.expect(page.locator("#events .leader-event").first).to_contain_text(f"{new} leads group tills in term")
    assert int(view.text("#term")) >= 2

    # By keyboard alone: a node's details, and an entry written to the new leader.
    page.locator(f'#mesh .node[data-peer="{watched.peer_id}"]').focus()
    page.keyboard.press("Enter")
    sync_api.expect(page.locator("#detail")).to_contain_text(watched.peer_id)
    page.locator("#key").focus()
    page.keyboard.type("pear")
    page.keyboard.press("Tab")
    page.keyboard.type("7")
    page.keyboard.press("Enter")
    sync_api.expect(page.locator("#put-said")).to_contain_text("held by a majority")
    sync_api.expect(page.locator("#entries td.key").first).to_have_text("pear")

    watched.kill()
    sync_api.expect(page.locator("#link")).to_contain_text("does not answer")
    view.problems.clear()  # the browser reports each refused connection
    view.close()


def test_a_token_is_asked_for_and_does_not_stay_in_the_address(browser: Any, hosts: Hosts) -> None:
    token = hosts.folder / "token"
    token.touch(mode=0o600)
    token.write_text("correct-horse-battery-staple")
    node = hosts.up("--network", "shop", "--api", "127.0.0.1:0", "--api-token-file", str(token))
    view = Page(browser, f"{api_of(node)}/", color_scheme="dark")
    field = view.page.locator("#token")
    sync_api.expect(field).to_be_focused()
    field.fill("wrong-but-long-enough")
    field.press("Enter")
    sync_api.expect(view.page.locator("#token-wrong")).to_be_visible()
    field.fill("correct-horse-battery-staple")
    field.press("Enter")
    sync_api.expect(view.page.locator("#link")).to_have_text("live")
    view.page.reload()
    sync_api.expect(view.page.locator("#link")).to_have_text("live")  # kept for this tab
    view.close()

    other = Page(browser, f"{api_of(node)}/#token=correct-horse-battery-staple")
    sync_api.expect(other.page.locator("#link")).to_have_text("live")
    assert "token" not in other.page.url
    other.close()
    assert node.stop() == 0
    assert node.process.stderr is not None
    assert b"horse" not in node.process.stderr.read()
