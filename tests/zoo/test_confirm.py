from hypothesis import given
from hypothesis import strategies as st

from search.types import Architecture, Candidate
from zoo.make.confirm import next_candidate
from zoo.types import Try

ARCHITECTURE = Architecture(net="mobile", choices=(), resolution_px=32)


def candidate(score: float, predicted_ms: float) -> Candidate:
    return Candidate(
        architecture=ARCHITECTURE, score=score, predicted_ms=predicted_ms, macs=1, params=1, peak_memory_bytes=1
    )


def tried(predicted_ms: float, measured_ms: float) -> Try:
    return Try(architecture=ARCHITECTURE, score=0, predicted_ms=predicted_ms, measured_ms=measured_ms)


FRONT = (candidate(0.5, 0.5), candidate(0.6, 0.8), candidate(0.7, 0.93), candidate(0.8, 0.98))


def test_the_next_is_the_best_that_fits_once_corrected() -> None:
    assert next_candidate(FRONT, [tried(0.98, 1.03)], 1.0) == candidate(0.7, 0.93)
    assert next_candidate(FRONT, [tried(0.98, 1.10)], 1.0) == candidate(0.6, 0.8)


def test_where_none_fits_the_fastest_is_next() -> None:
    assert next_candidate(FRONT, [tried(0.98, 9.8)], 1.0) == candidate(0.5, 0.5)


def test_where_none_is_faster_there_is_none() -> None:
    assert next_candidate(FRONT, [tried(0.98, 1.1), tried(0.5, 1.1)], 1.0) is None
    assert next_candidate((), [tried(1.0, 2.0)], 1.0) is None


times = st.floats(0.01, 10)


@given(
    st.lists(st.builds(candidate, st.floats(0, 1), times), max_size=8),
    st.lists(st.builds(tried, times, times), min_size=1),
)
def test_every_next_try_is_predicted_faster_than_all_before(front: list[Candidate], tries: list[Try]) -> None:
    found = next_candidate(front, tries, 1.0)
    faster = [c for c in front if all(c.predicted_ms < t.predicted_ms for t in tries)]
    assert (found in faster) if faster else (found is None)
