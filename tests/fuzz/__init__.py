"""Fuzzing: one set of targets, driven by hypothesis in ``make test`` and by coverage (atheris) in ``make fuzz``.

A target is a function of bytes that raises only on a finding. Decoders are given the bytes; engines are given what the
bytes spell out: well-typed messages and other inputs, in any order. So whatever one driver finds, the other replays.
"""
