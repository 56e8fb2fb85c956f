"""``python -m tests.longlife --links 100000 --peers 1000``: the figures, and exit 1 if anything has grown."""

from __future__ import annotations

import argparse
import logging
import sys

import anyio

from tests.longlife.run import Census, many_links, many_peers


def grew(before: Census, after: Census) -> bool:
    """Whether anything has; the allocator may keep some memory."""
    return (
        after.rss > before.rss + 20
        or after.tasks > before.tasks
        or after.files > before.files
        or after.inner > before.inner + 150  # timers whose place others have taken
        or after.objects > before.objects + 2000
    )


def main() -> int:
    """Run both."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--links", type=int, default=100_000)
    parser.add_argument("--peers", type=int, default=1000)
    options = parser.parse_args()
    logging.getLogger("transport").setLevel(logging.ERROR)

    def tell(text: str) -> None:
        print(text, flush=True)

    results = [anyio.run(many_links, options.links, tell), anyio.run(many_peers, options.peers, tell)]
    bad = any(grew(before, after) for before, after in results)
    print("something has grown" if bad else "nothing has grown")
    return int(bad)


if __name__ == "__main__":
    sys.exit(main())
