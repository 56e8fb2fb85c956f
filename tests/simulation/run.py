"""A whole run: faults and load, then calm, in which all must come right."""

from __future__ import annotations

from collections import Counter

from tests.simulation.faults import Faults
from tests.simulation.world import Node, Plan, Violation, World


def play(seed: int, *, verbose: bool = False, plan: Plan | None = None) -> Counter[str]:
    """One run; a failure says how to replay it."""
    world = World(plan or Plan.of(seed), verbose=verbose)
    try:
        _disturb(world)
        settle(world)
        return world.counts
    except Exception as error:
        tail = "\n".join(world.transcript[-3000:])
        raise Violation(
            f"seed {seed}, {world.plan}, at {world.now:.3f} s: {error!r}\n"
            f"replay: python -m tests.simulation --seed {seed} --verbose\n{tail}"
        ) from error


def _disturb(world: World) -> None:
    faults = Faults(world)
    for at in range(world.plan.steps // 10):
        for _ in range(10):
            world.step()
        if world.rng.random() < 0.25:
            world.load()
        if world.rng.random() < 0.05:
            faults.next()
        if at % 10 == 0:
            world.ledger.check_logs(world.nodes)
            world.carry_over(world.rng.choice(world.nodes))
    world.faulty = False
    world.heal()
    faults.end()


def settle(world: World, bound: float = 90.0) -> None:
    """After all is healed: within ``bound`` seconds one history, a leader, and every live node commits a fresh entry."""
    end = world.now + bound
    while world.now < end:
        world.run(world.now + 1.0)
        present = [node for node in world.nodes if not node.gone]
        for node in present:
            world.carry_over(node)
        leaders = [node for node in present if node.engine is not None and node.engine.is_leader]
        if len(leaders) != 1 or not all(node.alive for node in present):
            continue
        word = world.propose(leaders[0])
        world.pump(leaders[0])
        world.run(world.now + 1.0)
        if all(node.engine is not None and word in node.state.words for node in present):
            world.ledger.check_logs(world.nodes)
            for node in present:
                world.carry_over(node)
            world.run(world.now + 2.0)
            if not all(node.alive for node in present):
                continue  # a visitor has just gone
            words = set.intersection(*(node.state.words for node in present))
            world.ledger.check_nothing_lost(words, world.nodes)
            return
    raise Violation(
        f"liveness: no fresh commit on every node within {bound:g} s of calm: {[_picture(n) for n in world.nodes]}"
    )


def _picture(node: Node) -> str:
    engine = node.engine
    if engine is None:
        return f"{node.number} {'gone' if node.gone else 'down'}"
    status = engine.status()
    voters = ",".join(str(voter.peer_id.key[0]) for voter in status.voters)
    waits = f" waits {status.waits[0].value} {[m.peer_id.key[0] for m in status.waits[1]]}" if status.waits else ""
    return (
        f"{node.number} {status.role} {status.state.value} {status.history.hex()[:4]} term {status.term} "
        f"{status.commit}/{status.last.index} voters {voters}{waits}"
    )
