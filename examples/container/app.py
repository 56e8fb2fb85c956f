"""An application in a container: it takes its settings from the environment, says how it is, and stops when it is told to.

Every copy counts its visits into one shared table. What a container needs of it:

``SEED``         address of any other copy; none for the first
``SECRET_FILE``  the group's secret, as a file (Docker and Kubernetes mount secrets so)
``DATA_DIR``     a volume: identity and log survive the container
``LISTEN``       ``host:port`` of the one UDP port; default ``0.0.0.0:7001``
``NAME``         how this copy calls itself; default the host's name
``VISITS``       stop after so many; default 0, never
"""

import os
import signal
import socket
from pathlib import Path
from typing import Any

import anyio

from p2praft import ApplyContext, ConsensusConfig, Network, OutcomeUnknown, P2PRaftError, StateMachine


class GuestBook(StateMachine):
    """How often each has been here."""

    signature = "guest-book/1"

    def __init__(self) -> None:
        self.visits: dict[str, int] = {}

    def apply(self, command: Any, ctx: ApplyContext) -> Any:
        self.visits[command] = self.visits.get(command, 0) + 1
        return sum(self.visits.values())

    def query(self, query: Any) -> Any:
        return self.visits

    def snapshot(self) -> Any:
        return dict(self.visits)

    def restore(self, snapshot: Any) -> None:
        self.visits = snapshot


async def visit(network: Network, health: Path) -> None:
    """Visit once a moment; each success is a sign of health that Docker looks at."""
    name = os.environ.get("NAME") or socket.gethostname()
    pause = float(os.environ.get("PAUSE", "1"))
    rounds = int(os.environ.get("VISITS", "0"))
    secret = Path(os.environ["SECRET_FILE"]).read_text().strip()
    config = ConsensusConfig(expect=int(os.environ.get("EXPECT", "2")))
    async with network.group("guests", secret=secret, machine=GuestBook(), consensus=config) as group:
        done = 0
        while not rounds or done < rounds:
            try:
                total = await group.execute(name)
            except OutcomeUnknown as error:
                (total,) = await error.wait()  # it was sent: executing it anew would be a second visit
            except P2PRaftError as error:
                print(f"{name}: not now: {error}", flush=True)
                continue
            done += 1
            print(f"{name}: visit {done}, {total} of us all", flush=True)
            health.touch()
            await anyio.sleep(pause)


async def main() -> None:
    """Run until SIGTERM, which is what ``docker stop`` sends, or until the visits are done."""
    data = Path(os.environ.get("DATA_DIR", "/data"))
    async with Network(
        "guests",
        listen=os.environ.get("LISTEN", "0.0.0.0:7001"),
        seeds=os.environ.get("SEED", "").split(),
        data_dir=data,
    ) as network:
        print(f"address {network.address}", flush=True)
        async with anyio.create_task_group() as tasks:

            async def stop_on_signal() -> None:
                with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
                    async for _ in signals:
                        tasks.cancel_scope.cancel()

            tasks.start_soon(stop_on_signal)
            await visit(network, data / "healthy")
            tasks.cancel_scope.cancel()
    print("stopped", flush=True)


if __name__ == "__main__":
    anyio.run(main)
