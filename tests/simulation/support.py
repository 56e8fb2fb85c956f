"""Short ways to say what happens to a simulated cluster, for histories that are told by hand."""

from __future__ import annotations

from p2praft.raft.engine import Engine
from tests.simulation.world import Node, Plan, World


def calm(voters: int, observers: int = 0, *, volatile: bool = False, expect: int = 0, write: int = 5) -> World:
    """A cluster that has founded, elected, and acknowledged some words, without faults."""
    world = World(Plan(seed=1, voters=voters, observers=observers, volatile=volatile, expect=expect))
    world.run(6)
    put(world, write)
    return world


def put(world: World, words: int) -> set[bytes]:
    """Have the leader acknowledge some words; which."""
    leader = leader_of(world)
    put = {world.propose(leader) for _ in range(words)}
    world.pump(leader)
    world.run(world.now + 1)
    assert put <= leader.state.words, "the leader does not commit"
    return put


def running(node: Node) -> Engine:
    """The engine of a node that runs."""
    assert node.engine is not None, f"{node.number} does not run"
    return node.engine


def leader_of(world: World) -> Node:
    """The only leader."""
    leaders = [node for node in world.nodes if node.engine is not None and node.engine.is_leader]
    assert len(leaders) == 1, f"leaders: {[node.number for node in leaders]}"
    return leaders[0]


def voters_of(world: World) -> list[Node]:
    """The voters, as the leader knows them."""
    return [world.node(voter.peer_id.key[0]) for voter in running(leader_of(world)).voters]


def histories(world: World) -> set[bytes]:
    """Which histories the running nodes hold."""
    return {node.engine.ctx.history for node in world.nodes if node.engine is not None}


def newcomer(world: World, *, reaches: set[int] | None = None, met: bool = False) -> Node:
    """A fresh machine that starts now.

    Args:
        world: Where.
        reaches: Numbers of the nodes that it reaches; None for all.
        met: Whether it has met its network, and so may found alone.
    """
    node = world.make_node(len(world.nodes) + 1)
    node.met = met
    world.nodes.append(node)
    if reaches is not None:
        for other in world.nodes:
            if other.number not in reaches:
                world.cuts |= {(node.number, other.number), (other.number, node.number)}
    world.start(node)
    return node


def copy_disk(node: Node) -> tuple[object, ...]:
    """A copy of a node's disk."""
    held = node.storage.load()
    chunks = [node.storage.chunk(at) for at in range(held.snapshot.chunks if held.snapshot else 0)]
    return held, chunks, node.storage.incarnation, node.starts


def put_back(world: World, node: Node, copy: tuple[object, ...]) -> None:
    """Stop a node, replace its disk by a copy, and start it again."""
    held, chunks, incarnation, starts = copy
    world.crash(node, restart_after=None)
    node.storage = world.new_storage()
    node.storage.incarnation = incarnation  # type: ignore[assignment]
    node.storage.put(held, chunks)  # type: ignore[arg-type]
    node.starts = starts  # type: ignore[assignment]
    world.start(node)
