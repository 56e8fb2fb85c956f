"""The process that fuzzes one target: ``python -m tests.fuzz.child TARGET -libfuzzer=options FOLDER…``.

Apart from the rest because what is to be instrumented must not have been imported before.
"""

from __future__ import annotations

import importlib
import logging
import sys

PACKAGES = ["transport", "discovery", "p2praft"]
"""Whose branches guide the fuzzer."""


def main() -> None:
    """Never returns."""
    atheris = importlib.import_module("atheris")
    logging.disable(logging.CRITICAL)
    with atheris.instrument_imports(include=PACKAGES):
        targets = importlib.import_module("tests.fuzz.targets")
    program, name, *options = sys.argv
    atheris.Setup([program, *options], targets.TARGETS[name])
    atheris.Fuzz()


if __name__ == "__main__":
    main()
