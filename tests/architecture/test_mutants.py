"""The mutants of ``make mutants`` still change the sources that they were written for."""

from __future__ import annotations

import ast

import pytest

from tests.mutant import Mutant
from tests.mutants import MUTANTS, weakened


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_mutant_finds_its_rule_and_stays_a_program(mutant: Mutant) -> None:
    ast.parse(weakened(mutant))
