"""Measurements on real processes over loopback. Compare within one run only: machines differ, and so do their moods.

``make bench``, which is ``python -m benchmarks``, runs the first two; each also runs by itself:

- ``python -m benchmarks.commits``: latency and rate of commits, PySyncObj beside us;
- ``python -m benchmarks.failover``: what losing the leader costs writers;
- ``python -m benchmarks.stability``: whether leaders stay, idle and under load;
- ``python -m benchmarks.catchup``: a member that was away catches up;
- ``python -m benchmarks.snapshot``: a large state's snapshot, and a fresh member that takes it.
"""
