"""Allocator: keep the memory that the next step of a training, or the next network of a search, needs again."""

from __future__ import annotations

import ctypes
import platform

# Of glibc's malloc.h. By default a block above 128 kB to 32 MB is fetched from the system and given back each time,
# and every page of it is zeroed anew: a tenth of a step whose maps have 25 MB.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_GIGABYTE = 1 << 30


def keep_memory() -> bool:
    """Take blocks below a gigabyte from memory that stays with this process; false where its C library is not glibc.

    Only speed depends on it. With ``GLIBC_TUNABLES=glibc.malloc.hugetlb=1`` in the environment, which is read when a
    process starts, the memory has large pages, too.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    return bool(mallopt(_M_MMAP_THRESHOLD, _GIGABYTE)) and bool(mallopt(_M_TRIM_THRESHOLD, 2 * _GIGABYTE - 1))
