import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from search.errors import BadGenotype
from search.nets.genotype import (
    EDGES,
    INPUTS,
    NODES,
    OPS,
    PARAMETER_FREE,
    Genotype,
    Origin,
    from_document,
    random_genotype,
    read_genotype,
    read_origin,
    to_document,
    write_genotype,
)
from tests.conftest import refused
from tests.search.small_cells import DARTS_V2
from tests.search.small_supernets import no_file_above

ORIGIN = Origin(images="signs", terms="research", strategy="darts", epochs=8, seed=3, held_out_loss=3.25)
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=9) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=20,
)


@pytest.mark.parametrize("seed", range(10))
def test_a_genotype_that_was_written_is_read_back(tmp_path: Path, seed: int) -> None:
    genotype = random_genotype(np.random.default_rng(seed))
    write_genotype(genotype, tmp_path / "g.json")
    assert read_genotype(tmp_path / "g.json") == genotype and read_origin(tmp_path / "g.json") is None
    write_genotype(genotype, tmp_path / "g.json", ORIGIN)
    assert read_genotype(tmp_path / "g.json") == genotype and read_origin(tmp_path / "g.json") == ORIGIN
    assert [path.name for path in tmp_path.iterdir()] == ["g.json"]


def test_random_cells_draw_every_operation_and_every_pair_of_distinct_inputs() -> None:
    rng = np.random.default_rng(0)
    drawn = [random_genotype(rng) for _ in range(400)]
    slots = [slots for genotype in drawn for slots in (genotype.normal, genotype.reduce)]
    assert {op for cell in slots for op, _ in cell} == set(OPS)
    for node in range(NODES):
        pairs = [tuple(source for _, source in cell[INPUTS * node : INPUTS * (node + 1)]) for cell in slots]
        possible = (node + INPUTS) * (node + INPUTS - 1) // 2
        assert len(set(pairs)) == possible and all(a < b for a, b in pairs)
        counts = [pairs.count(pair) for pair in set(pairs)]
        assert min(counts) > 0.5 * len(pairs) / possible


def test_the_space_has_fourteen_edges_a_cell() -> None:
    assert len(EDGES) == 14 and EDGES[:5] == ((0, 0), (0, 1), (1, 0), (1, 1), (1, 2))


def test_counting_tells_identities_from_convolutions() -> None:
    assert DARTS_V2.count("normal", ["skip_connect"]) == 2
    assert DARTS_V2.count("reduce", PARAMETER_FREE) == 8
    assert DARTS_V2.count("normal", PARAMETER_FREE) == 2


def slots_with(position: int, slot: Any) -> tuple[Any, ...]:
    return (*DARTS_V2.normal[:position], slot, *DARTS_V2.normal[position + 1 :])


@pytest.mark.parametrize(
    ("normal", "message"),
    [
        (DARTS_V2.normal[:-1], "has 7 operations; 8 make a cell"),
        (slots_with(0, ("none", 0)), "operation 'none'; the space has max_pool_3x3"),
        (slots_with(7, ("sep_conv_7x7", 2)), "operation 'sep_conv_7x7'"),
        (slots_with(1, ("sep_conv_3x3", 2)), "node 0 of the normal cell reads 2; it may read 0 to 1"),
        (slots_with(1, ("sep_conv_3x3", True)), "reads True"),
        (slots_with(3, ("sep_conv_3x3", 0)), "node 1 of the normal cell reads 0 and 0; they must differ"),
    ],
)
def test_what_is_no_cell_is_refused(normal: Any, message: str) -> None:
    with pytest.raises(BadGenotype, match=message):
        Genotype(normal=normal, reduce=DARTS_V2.reduce)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"space": "nasbench201"}, "is of space 'nasbench201', schema 1; this version reads space 'darts', schema 1"),
        ({"schema": 2}, "schema 2; this version reads"),
        ({"weights": []}, "unknown key 'weights'; remove it"),
        ({"normal": [["sep_conv_3x3"]]}, r"lists of 8 \[operation, earlier node\]"),
        ({"normal": None}, r"lists of 8 \[operation, earlier node\]"),
        ({"reduce": [["sep_conv_3x3", 9]] * 8}, "reads 9; it may read 0 to 1"),
        ({"found": {"seed": 1}}, "found must have images, terms, strategy, epochs, seed, held_out_loss"),
        ({"found": {**vars(ORIGIN), "seed": "1"}}, "seed is '1'; it must be of type int"),
        ({"found": None}, "found must have images"),
    ],
)
def test_a_file_of_another_space_or_shape_is_refused_in_one_line(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    path = tmp_path / "g.json"
    path.write_text(json.dumps(to_document(DARTS_V2) | change))
    with refused(BadGenotype, match=message) as caught:
        read_genotype(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"[1]", b"{}", b"\xff\xfe", b"[" * 20_000, b"normal: cell"])
def test_what_is_no_genotype_s_file_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "g.json").write_bytes(content)
    with pytest.raises(BadGenotype):
        read_genotype(tmp_path / "g.json")
    with pytest.raises(BadGenotype, match="cannot be read"):
        read_genotype(tmp_path / "missing.json")


@settings(max_examples=100, deadline=None)
@given(ANYTHING, st.sampled_from(["schema", "space", "normal", "reduce", "found"]))
def test_no_document_gives_another_error(value: Any, key: str) -> None:
    for document in (value, {**to_document(DARTS_V2), key: value}):
        try:
            from_document(document, "it")
        except BadGenotype as error:
            assert "\n" not in str(error)


def test_a_full_disk_leaves_no_half_written_file(tmp_path: Path) -> None:
    from search.errors import WriteFailed

    with no_file_above(10), pytest.raises(WriteFailed, match="free some space"):
        write_genotype(DARTS_V2, tmp_path / "g.json")
    assert list(tmp_path.iterdir()) == []
