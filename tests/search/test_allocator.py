import platform
import subprocess
import sys

import pytest

FAULTS = """
import resource, torch
from search.oneshot.engine.allocator import keep_memory

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(16_000_000)  # 64 MB
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

faults()
fetched = faults()
assert keep_memory()
faults()
print(fetched, faults())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library is not glibc")
def test_memory_that_was_given_back_is_not_fetched_from_the_system_again() -> None:
    done = subprocess.run([sys.executable, "-c", FAULTS], capture_output=True, text=True, check=True)
    fetched, kept = map(int, done.stdout.split())
    assert kept < 100 < fetched
