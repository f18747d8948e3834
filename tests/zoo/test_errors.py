import inspect
import re

import numpy as np
import pytest
import torch

import zoo.errors
from export.errors import ComparisonFailed, UnusableInput
from export.types import ExportReport
from hardware_profiles.errors import UnknownDevice
from search.errors import BadSupernet, InfeasibleBudget
from search.types import Architecture
from zoo.errors import (
    BadName,
    BudgetMissed,
    OutputExists,
    VerificationFailed,
    ZooError,
    exit_code,
    memory_error,
    one_line,
)
from zoo.types import Try

FIX = "; free some space, or name a folder on another disk"


def test_every_package_s_failures_have_the_documented_exit_codes(report: ExportReport) -> None:
    nearest = Architecture(net="mobile", choices=(), resolution_px=32)
    assert exit_code(InfeasibleBudget(asked=1, reachable=2, unit="ms", nearest=nearest)) == 3
    late = Try(architecture=nearest, score=0, predicted_ms=1, measured_ms=1.5)
    assert exit_code(BudgetMissed(device_id="x", limit_ms=1, tries=[late])) == 3
    assert exit_code(ComparisonFailed(report)) == 4
    assert exit_code(VerificationFailed("x")) == 4
    for usage in (BadName("x"), OutputExists("x")):
        assert exit_code(usage) == 2
    for failure in (BadSupernet("x"), UnusableInput("x"), UnknownDevice("x", []), OSError("x"), TypeError("x")):
        assert exit_code(failure) == 1
    assert exit_code(KeyboardInterrupt()) == 130


def test_the_drawing_of_the_hierarchy_is_true() -> None:
    drawn = re.findall(r"[├└]── (\w+) .* exit (\d)", zoo.errors.__doc__ or "")
    exists = {
        name: c.exit_code
        for name, c in inspect.getmembers(zoo.errors)
        if inspect.isclass(c) and issubclass(c, ZooError)
    }
    assert {name: int(code) for name, code in drawn} == {k: v for k, v in exists.items() if k != "ZooError"}


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("a\n  b\n\nc"), "a b c"),
        (OSError(28, "No space left on device", "/x"), f"No space left on device: /x{FIX}"),
        (OSError(28, "No space left on device"), f"No space left on device{FIX}"),
        (OSError(28, "No space left on device", "/from", None, "/to"), f"No space left on device: /to{FIX}"),
        (KeyError(), "KeyError"),
    ],
)
def test_any_error_fits_on_one_line(error: Exception, line: str) -> None:
    assert one_line(error) == line


def test_an_allocation_that_failed_is_one_line_with_what_was_asked_for_and_the_way_out() -> None:
    with pytest.raises(MemoryError) as of_numpy:
        np.empty((2**50,), np.uint8)
    with pytest.raises(RuntimeError, match="can't allocate") as of_torch:
        torch.empty(2**55, dtype=torch.uint8)
    gpu = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.50 GiB. GPU 0 has a total capacity of 79 GiB")
    for error, asked in ((of_numpy.value, "1.00 PiB"), (of_torch.value, "bytes"), (gpu, "2.50 GiB on the GPU")):
        told = memory_error(error)
        assert told is not None and asked in str(told) and "ask for a smaller batch" in str(told)
        assert "\n" not in str(told)
    assert memory_error(RuntimeError("a shape does not fit")) is None
