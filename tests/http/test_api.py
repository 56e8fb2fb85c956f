"""What the API answers: the same as the command, with HTTP's statuses."""

from __future__ import annotations

from typing import Any

import anyio
import httpx
import pytest

from p2praft import Group, Network
from p2praft.collections import MapMachine
from p2praft.groups.machine import NoMachine, pack
from p2praft.http import EventLog, create_app, guard, operations
from p2praft.views import group_detail, group_view, peer_view
from tests.groups.aside import keep_aside
from tests.http.conftest import ALONE, KEY, NEVER, Served, serving
from transport import MemoryNetwork
from transport.tasks import owned_tasks

pytestmark = pytest.mark.anyio


async def test_status_and_groups_are_what_the_command_prints(served: Served) -> None:
    status, body = await served.get("/v1/status")
    assert status == 200
    assert list(body) == ["peer_id", "address", "network", "uptime", "peers", "groups"]
    assert body["address"] == str(served.network.address)
    assert body["groups"] == [group_view(served.group)] == (await served.get("/v1/groups"))[1]
    assert await served.get("/v1/groups/line") == (200, group_detail(served.network, served.group))
    assert await served.get("/v1/peers") == (200, [peer_view(served.network, peer) for peer in served.network.peers])
    (member,) = group_detail(served.network, served.group)["members"]
    assert member["self"] is member["leader"] is member["voter"] is member["bonded"] is True
    assert member["match"] == served.group.log_position.index


async def test_the_map(served: Served) -> None:
    assert await served.get("/v1/map/line") == (200, [])
    assert await served.put("/v1/map/line/a", {"x": [1, None, "ä"]}) == (200, {"key": "a", "version": 1})
    entry = {"key": "a", "value": {"x": [1, None, "ä"]}, "version": 1}
    assert await served.get("/v1/map/line/a") == (200, entry)
    assert await served.get("/v1/map/line/a?consistency=weak") == (200, entry)
    assert await served.get("/v1/map/line?prefix=a&consistency=weak") == (200, [entry])
    assert await served.get("/v1/map/line?prefix=b") == (200, [])
    assert await served.ask("DELETE", "/v1/map/line/a") == (200, {"key": "a", "version": 2})
    assert (await served.get("/v1/map/line/a"))[0] == 404
    assert (await served.ask("DELETE", "/v1/map/line/a"))[0] == 404


KEYS = {
    "a/b": "a/b",
    "c%2Fd": "c/d",
    "a/": "a/",
    "/a": "/a",
    "%3Fx%20y%25": "?x y%",
    "%C3%A4": "ä",
    "..%2F": "../",
}


async def test_a_key_is_what_stands_behind_the_group_slashes_and_all(served: Served) -> None:
    for path, key in KEYS.items():
        status, body = await served.put(f"/v1/map/line/{path}", 1)
        assert (status, body["key"]) == (200, key)
    assert [entry["key"] for entry in (await served.get("/v1/map/line"))[1]] == sorted(KEYS.values())


async def test_a_listing_goes_by_pages(served: Served) -> None:
    for key in "abcde":
        await served.put(f"/v1/map/line/{key}", key)
    pages = [[e["key"] for e in (await served.get(f"/v1/map/line?limit=2&after={a}"))[1]] for a in ("", "b", "d", "e")]
    assert pages == [["a", "b"], ["c", "d"], ["e"], []]


async def test_an_entry_may_end_by_itself(served: Served) -> None:
    assert (await served.put("/v1/map/line/a?ttl=0.05", 1))[0] == 200
    assert await served.put("/v1/map/line/b?ttl=600", 1) == (200, {"key": "b", "version": 2})
    assert (await served.get("/v1/map/line/b"))[1]["expires"] > 1e9
    with anyio.fail_after(20):
        while (await served.get("/v1/map/line/a?consistency=weak"))[0] != 404:
            await anyio.sleep(0.02)


async def test_compare_and_set_answers_409_with_the_version_that_is_there(served: Served) -> None:
    path = "/v1/map/line/a?expected="
    assert await served.put(path + "0", 1) == (200, {"key": "a", "version": 1})
    status, body = await served.put(path + "0", 2)
    assert (status, body["error"], body["version"]) == (409, "Conflict", 1)
    assert await served.put(path + "1", 2) == (200, {"key": "a", "version": 2})
    assert (await served.get("/v1/map/line/a"))[1]["value"] == 2


REFUSED: tuple[tuple[str, str, str | None, int, str, str], ...] = (
    ("GET", "/nowhere", None, 404, "NotFound", "/openapi.json"),
    ("PATCH", "/v1/map/line/a", "1", 405, "NoMethod", "PUT"),
    ("GET", "/v1/map/lime", None, 404, "NoGroup", "it serves: line"),
    ("GET", "/v1/map/line/a", None, 404, "NoSuchKey", "no key 'a'"),
    ("GET", "/v1/map/line/", None, 400, "BadRequest", "1 to 1024"),
    ("GET", f"/v1/map/line/{'k' * 1025}", None, 400, "BadRequest", "1 to 1024"),
    ("GET", "/v1/map/line/%ff", None, 400, "BadRequest", "UTF-8"),
    ("GET", "/v1/map/line/a?consistency=casual", None, 400, "BadRequest", "strong or weak"),
    ("GET", "/v1/map/line/a?consistancy=weak", None, 400, "BadRequest", "there are: consistency"),
    ("GET", "/v1/map/line/a?consistency=weak&consistency=strong", None, 400, "BadRequest", "more than once"),
    ("PUT", "/v1/map/line/a?expected=-1", "1", 400, "BadRequest", "whole number from 0"),
    ("PUT", "/v1/map/line/a?expected=1.0", "1", 400, "BadRequest", "whole number"),
    ("PUT", "/v1/map/line/a?expected=%D9%A1", "1", 400, "BadRequest", "whole number"),
    ("PUT", "/v1/map/line/a?timeout=nan", "1", 400, "BadRequest", "from 0.05 to 60"),
    ("PUT", "/v1/map/line/a", "", 400, "BadRequest", "the body is empty"),
    ("PUT", "/v1/map/line/a", "red", 400, "BadRequest", "quotation marks"),
    ("PUT", "/v1/map/line/a", "NaN", 400, "BadRequest", "NaN is not JSON"),
    ("PUT", "/v1/map/line/a", '"\\ud800"', 400, "StructureError", "a"),
    ("PUT", "/v1/map/line/a", str(2**70), 400, "StructureError", "a"),
    ("PUT", "/v1/map/line/a", "1" * 5000, 400, "BadRequest", "not JSON"),
    ("PUT", "/v1/map/line/a", "[" * 100_000, 400, "BadRequest", "nested too deeply"),
    (
        "PUT",
        "/v1/map/line/a",
        "[" * 101 + "]" * 101,
        400,
        "StructureError",
        "the value of 'a' cannot be stored: lists and objects",
    ),
    ("PUT", "/v1/map/line/a", "[1e999]", 400, "StructureError", "a number in it is not finite"),
    ("PUT", f"/v1/map/line/a?expected={2**63}", "1", 400, "BadRequest", f"from 0 to {2**63 - 1}"),
    ("PUT", "/v1/map/line/a", '"' + "x" * 600_000 + '"', 400, "StructureError", "at most 524288"),
    ("POST", "/v1/groups/line/transfer?to=nonsense", None, 409, "NoPeer", "0 voters"),
    ("POST", "/v1/groups/line/transfer", None, 409, "NotAuthorized", "cannot hand group 'line' over"),
    ("GET", "/v1/peers/xyz", None, 400, "BadRequest", "52"),
    ("GET", f"/v1/peers/{'a' * 52}", None, 404, "NoPeer", "not in the catalog"),
    ("GET", "/v1/events?types=state,weather", None, 400, "BadRequest", "'weather'"),
    ("GET", "/v1/status?" + "x" * 20_000, None, 400, "TooLarge", "query"),
)


async def test_what_is_refused_says_why(served: Served) -> None:
    for method, path, content, status, kind, says in REFUSED:
        got, body = await served.ask(method, path, content=content)
        assert (got, body.get("error")) == (status, kind), (method, path, content, body)
        assert says in body["message"], (method, path, content, body)
    assert (await served.get("/healthz"))[0] == 200


async def test_a_body_is_bounded_whether_it_says_its_length_or_not(served: Served) -> None:
    async def pieces() -> Any:
        for _ in range(64):
            yield b"x" * 65536

    for content in (b"x" * (guard.MAX_BODY + 1), pieces()):
        with anyio.fail_after(10):
            try:
                answer = await served.client.put("/v1/map/line/a", content=content)
            except (httpx.WriteError, httpx.RemoteProtocolError, httpx.ReadError):
                continue  # it stopped reading, as it should; that broke our sending before we saw the answer
            assert answer.status_code == 413
            assert answer.json()["error"] == "TooLarge"
    assert await served.get("/v1/map/line") == (200, [])


async def put_unchecked(served: Served, key: str, value: Any) -> None:
    """As a member of an earlier release did."""
    await served.group.execute(["write", [(key, pack(value))], [], None, None])


async def test_a_value_that_is_too_deep_hides_none_beside_it(served: Served) -> None:
    deep: Any = float("nan")
    for _ in range(500):
        deep = [deep]
    await put_unchecked(served, "deep", deep)
    await served.put("/v1/map/line/flat", 1)
    status, entries = await served.get("/v1/map/line")
    assert (status, [entry["key"] for entry in entries]) == (200, ["deep", "flat"])
    assert entries[1]["value"] == 1


async def test_values_that_json_does_not_know_are_shown_as_text_or_null(served: Served) -> None:
    await put_unchecked(served, "odd", [float("nan"), b"\x00\xff", float("inf"), 1.5])
    assert (await served.get("/v1/map/line/odd"))[1]["value"] == [None, "b'\\x00\\xff'", None, 1.5]


async def test_a_group_without_a_leader_is_not_ready_and_answers_503() -> None:
    async with serving(consensus=NEVER, wait_online=False) as served:
        assert await served.get("/readyz") == (503, {"ok": False, "offline": ["line"]})
        assert await served.get("/healthz") == (200, {"ok": True, "failed": []})
        answer = await served.client.put("/v1/map/line/a?timeout=0.2", content="1")
        assert (answer.status_code, answer.json()["error"], answer.headers["retry-after"]) == (503, "Offline", "1")
        assert await served.get("/v1/map/line?consistency=weak") == (200, [])


async def test_a_group_that_is_ready_says_so(served: Served) -> None:
    assert await served.get("/readyz") == (200, {"ok": True, "offline": []})


async def test_a_group_that_is_whole_is_safe_and_one_with_a_voter_away_is_not(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert await served.get("/readyz?safe=1") == (200, {"ok": True, "offline": [], "unsafe": []})
    monkeypatch.setattr(Group, "safe", False)
    assert await served.get("/readyz?safe=1") == (503, {"ok": False, "offline": [], "unsafe": ["line"]})
    assert await served.get("/readyz?safe=0") == (200, {"ok": True, "offline": []})


async def test_archives_are_listed_and_shown(served: Served) -> None:
    assert await served.get("/v1/groups/line/archives") == (200, [])
    assert (await served.get("/v1/groups/line/archives/1"))[1]["error"] == "NoArchive"
    await served.put("/v1/map/line/a", 1)
    keep_aside(served.group)
    status, (info,) = await served.get("/v1/groups/line/archives")
    assert (status, info["number"], info["commands"], info["ended"]) == (200, 1, 1, "left")
    status, entries = await served.get("/v1/groups/line/archives/1?last=2")
    assert (status, len(entries)) == (200, 2)
    assert [entry["index"] for entry in entries] == [info["index"] - 1, info["index"]]


async def test_a_group_that_replicates_no_map_says_so() -> None:
    async with serving(machine=NoMachine()) as served:
        status, body = await served.get("/v1/map/line")
        assert (status, body["error"]) == (404, "NoMap")


async def test_leaving_a_group_takes_it_off_the_node(served: Served) -> None:
    assert await served.ask("POST", "/v1/groups/line/leave") == (200, {"left": "line"})
    status, body = await served.put("/v1/map/line/a", 1)
    assert (status, body["error"]) == (404, "NoGroup")


async def test_head_is_as_get_without_the_body(served: Served) -> None:
    answer = await served.client.head("/v1/status")
    assert (answer.status_code, answer.content) == (200, b"")


def test_every_operation_is_documented_once() -> None:
    table = operations()
    assert len({entry.name for entry in table}) == len(table)
    assert len({(entry.method, entry.path) for entry in table}) == len(table)
    for entry in table:
        assert entry.about.endswith("."), entry.name
        in_path = {parameter.name for parameter in entry.parameters if parameter.where == "path"}
        assert in_path == {part.strip("{}") for part in entry.path.split("/") if part.startswith("{")}


@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
async def test_the_application_runs_on_both_back_ends_without_our_server() -> None:
    memory = MemoryNetwork(seed=1)
    with anyio.fail_after(30):
        async with (
            Network("shop", listen="host:0", transport=memory.transport("host")) as network,
            network.group("line", secret=KEY, machine=MapMachine(), consensus=ALONE) as group,
            owned_tasks() as tasks,
        ):
            await group.when.online()
            events = EventLog(network)
            await tasks.start(events.run)
            transport = httpx.ASGITransport(create_app(network, events))
            async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
                assert (await client.put("/v1/map/line/a%2Fb", content="1")).json() == {"key": "a/b", "version": 1}
                assert (await client.get("/v1/status")).json()["network"] == "shop"
