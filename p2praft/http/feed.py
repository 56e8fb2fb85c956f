"""What happens on the node, numbered, so that a reader who was away learns what it missed.

Events of peers and groups are kept, a bounded number of them. Where the node stands (``state``, ``peers``) is not kept, for only
the newest counts; nor are changes of maps, which may be thousands a second and which the map's own watch tells without a gap. Both
are looked at only while somebody reads, a few times a second: a busy map does not pay for its watchers here.
"""

from __future__ import annotations

import secrets
import time
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import anyio
from anyio.abc import TaskGroup, TaskStatus

from p2praft.collections import MapMachine, MapReader, MapReset
from p2praft.groups.group import Group
from p2praft.groups.key import GroupId
from p2praft.http.problems import to_json
from p2praft.map_operations import change_view
from p2praft.network import Network
from p2praft.views import group_detail, peer_view
from transport.feed import Feed, Subscription

KEPT = 2048
"""Events that are kept for readers that come back."""
MAX_CHANGES = 64
"""Changes of a map that are told one by one in a look; more are told as ``many``. The map's own watch tells all."""
MAX_SHOWN = 1024
"""Characters of JSON of a map's value that an event carries at most."""
LOOK = 0.2
"""Seconds between two looks at where the node stands."""
PEERS_ANEW = 5.0
"""Seconds after which the peers are told again though only their round-trip times have changed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One server-sent event.

    Attributes:
        name: ``peer``, ``group``, ``map``, ``state``, ``peers`` or ``reset``.
        data: JSON.
        serial: Counts kept events from 1; 0 for others.
    """

    name: str
    data: str
    serial: int = 0


class EventLog:
    """Follows a node.

    Args:
        network: The node.

    Attributes:
        boot: Tells this run of the node from another: serial numbers begin anew.
    """

    def __init__(self, network: Network) -> None:
        self.boot = secrets.token_hex(4)
        self._network = network
        self._kept: deque[Event] = deque(maxlen=KEPT)
        self._serial = 0
        self._feed: Feed[Event] = Feed(KEPT)
        self._told: dict[str, str] = {}
        self._peers_at = 0.0
        self._versions: dict[GroupId, int] = {}

    async def run(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Follow until cancelled."""
        followed: dict[GroupId, Group] = {}
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._follow_peers)
                task_status.started()
                while True:
                    self._follow_groups(followed, tasks)
                    if self._feed.read:
                        self._look()
                        for group in self._network.groups.values():
                            await self._look_at_map(group)
                    else:
                        self._versions.clear()
                    await anyio.sleep(LOOK)
        finally:
            self._feed.close()

    def subscribe(self, last: str | None = None, recent: int = 0) -> Subscription[Event]:
        """What was missed since the event with id ``last``, then where the node stands, then what happens.

        A new reader gets the ``recent`` newest events of the past instead.
        If what was missed is no longer known, a ``reset`` stands in its place.
        """
        kept = list(self._kept)
        first = self._since(last) if last else kept[-recent:] if recent else []
        now = anyio.current_time()
        state = [Event(name="state", data=to_json(self._state())), Event(name="peers", data=to_json(self._peers()))]
        self._told = {event.name: event.data for event in state}
        for group in self._network.groups.values():
            if isinstance(group.machine, MapMachine):
                self._versions.setdefault(group.id, group.machine.version)
        self._peers_at = now
        return self._feed.subscribe([*first, *state])

    def lost(self) -> Event:
        """For a reader that cannot be told what it missed."""
        return Event(name="reset", data=to_json({"message": "some events are no longer known"}))

    # --- inner workings

    def _since(self, last: str) -> list[Event]:
        boot, _, text = last.partition("-")
        serial = int(text) if text.isascii() and text.isdigit() else -1
        oldest = self._kept[0].serial if self._kept else self._serial + 1
        if boot != self.boot or not oldest - 1 <= serial <= self._serial:
            return [self.lost()]
        return [event for event in self._kept if event.serial > serial]

    def _keep(self, name: str, **data: Any) -> None:
        self._serial += 1
        event = Event(name=name, data=to_json({"time": round(time.time(), 3), **data}), serial=self._serial)
        self._kept.append(event)
        self._feed.put(event)

    async def _follow_peers(self) -> None:
        async for event in self._network.peers.events():
            if event.kind != "updated":
                self._keep("peer", kind=event.kind, peer_id=str(event.peer.peer_id), reason=event.reason)

    def _follow_groups(self, followed: dict[GroupId, Group], tasks: TaskGroup) -> None:
        for group_id, group in self._network.groups.items():
            if followed.get(group_id) is not group:
                followed[group_id] = group
                tasks.start_soon(self._follow_group, group, group.events())

    async def _follow_group(self, group: Group, events: AsyncIterator[Any]) -> None:
        async for event in events:
            peer = str(event.peer) if event.peer else None
            self._keep("group", group=group.name, kind=event.kind, term=event.term, peer_id=peer, text=event.text)

    async def _look_at_map(self, group: Group) -> None:
        """Tell what has changed since the last look, if that is not too much to tell."""
        if not isinstance(group.machine, MapMachine):
            return
        version = group.machine.version
        last, self._versions[group.id] = self._versions.get(group.id, version), version
        if not 0 <= version - last <= MAX_CHANGES:
            self._tell_change(group, {"kind": "many", "version": version})
            return
        watch = MapReader[Any](group).watch(since=last)
        while watch.version < version:
            event = await anext(watch, None)
            if event is None:
                return
            if isinstance(event, MapReset):
                self._tell_change(group, {"kind": "many", "version": event.version})
            else:
                self._tell_change(group, {"kind": event.kind, **change_view(event)})

    def _tell_change(self, group: Group, change: dict[str, Any]) -> None:
        if len(to_json(change.get("value"))) > MAX_SHOWN:
            change["value"] = None
        self._feed.put(Event(name="map", data=to_json({"time": round(time.time(), 3), "group": group.name, **change})))

    def _look(self) -> None:
        self._tell("state", self._state())
        now = anyio.current_time()
        peers = self._peers()
        # Round-trip times move all the time; for them alone the whole list is not worth sending often.
        if now >= self._peers_at + PEERS_ANEW or self._without_rtt(peers) != self._told.get("known"):
            self._peers_at = now
            self._tell("peers", peers)
            self._told["known"] = self._without_rtt(peers)

    def _tell(self, name: str, value: Any) -> None:
        data = to_json(value)
        if self._told.get(name) != data:
            self._told[name] = data
            self._feed.put(Event(name=name, data=data))

    def _state(self) -> dict[str, Any]:
        network = self._network
        return {
            "peer_id": str(network.peer_id),
            "address": str(network.address),
            "network": network.name,
            "groups": [group_detail(network, group) for group in network.groups.values()],
        }

    def _peers(self) -> list[dict[str, Any]]:
        return [peer_view(self._network, peer) for peer in self._network.peers]

    @staticmethod
    def _without_rtt(peers: list[dict[str, Any]]) -> str:
        return to_json([{**peer, "rtt": None} for peer in peers])
