import platform
import subprocess
import sys

import pytest

FAULTS = """
import resource, torch
from search.allocator import keep_memory

net = torch.nn.Sequential(*(torch.nn.Conv2d(3 if i == 0 else 16, 16, 3, padding=1) for i in range(6)))
x_NCHW = torch.randn(4, 3, 256, 256)

def faults():
    "Page faults of ten passes, each map of which has 17 MB."
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    with torch.no_grad():
        for _ in range(10):
            net(x_NCHW)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

faults()
fetched = faults()
assert keep_memory()
faults()
print(fetched, faults())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library is not glibc")
def test_most_memory_that_was_given_back_is_not_fetched_from_the_system_again() -> None:
    done = subprocess.run([sys.executable, "-c", FAULTS], capture_output=True, text=True, check=True)
    fetched, kept = map(int, done.stdout.split())
    assert kept < fetched / 2
