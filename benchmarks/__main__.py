"""``make bench``: what commits cost, and what losing the leader costs."""

from __future__ import annotations

import argparse

from benchmarks import commits, failover


def main() -> None:
    """Both."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="of commits")
    parser.add_argument("--scale", type=float, default=1.0, help="fewer or more commands")
    parser.add_argument("--trials", type=int, default=10, help="fail-overs of each kind")
    options = parser.parse_args()
    commits.run(options.rounds, options.scale)
    print()
    failover.run(options.trials)


if __name__ == "__main__":
    main()
