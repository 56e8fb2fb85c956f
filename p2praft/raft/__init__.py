"""The consensus engine: pure, no clock, no dice, no I/O. Start reading at :mod:`p2praft.raft.role`, then ``engine``."""
