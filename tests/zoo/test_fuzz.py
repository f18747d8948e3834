"""Whatever a stranger wrote into a package, a table, a card or a CSV: it is used, or refused in one plain line."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.zoo.attacks import ATTACKS, Bases, attack, make_bases

# `benchmarks/fuzz.py` tries ten thousand, and holds time and memory against their limits.
CASES = 200


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> Bases:
    return make_bases(tmp_path_factory.mktemp("bases"))


@pytest.mark.parametrize("kind", ATTACKS)
def test_no_file_of_a_stranger_breaks_a_command(
    kind: str, bases: Bases, tmp_path_factory: pytest.TempPathFactory
) -> None:
    @settings(max_examples=CASES // len(ATTACKS), deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.data())
    def each(data: st.DataObject) -> None:
        outcomes = attack(kind, data.draw, bases, Path(tmp_path_factory.mktemp("case")))
        assert not [f"{one.words}: {one.fault}" for one in outcomes if one.fault]

    each()
