"""The names that the curated catalogue answers, and the devices for which their milliseconds are meant.

The reference device of names without one is a server's CPU (AMD EPYC, AVX2, one thread): its tables were measured with
ONNX Runtime, at 32 px and, for dense tasks, at 64 px. All other tables hold for 32 px, and so do their entries. The
names of networks of cells follow from their times: ``zoo.entries.cells``.
"""

from __future__ import annotations

from dataclasses import dataclass

REFERENCE_DEVICE = "epyc-avx2"
REFERENCE_TABLES = (("mobile", 32), ("mobile", 64), ("cell", 32))
SUPERNET = "mobile-mocov2"


@dataclass(frozen=True, kw_only=True)
class Ask:
    """One name, the id of its device, the side of its input, and the bundled supernet that is searched."""

    name: str
    device: str
    resolution_px: int
    supernet: str = SUPERNET


def _reference(name: str, resolution_px: int) -> Ask:
    return Ask(name=name, device=REFERENCE_DEVICE, resolution_px=resolution_px)


def _published(device: str, *questions: str) -> tuple[Ask, ...]:
    return tuple(Ask(name=f"data-mocov2-{q}@{device}", device=device, resolution_px=32) for q in questions)


WANTED = (
    _reference("data-mocov2-cls-0.7ms", 32),
    _reference("data-mocov2-cls-1ms", 32),
    _reference("data-mocov2-cls-2ms", 32),
    _reference("data-mocov2-det-3ms", 64),
    _reference("data-mocov2-det-6ms", 64),
    _reference("data-mocov2-seg-3ms", 64),
    _reference("data-mocov2-seg-6ms", 64),
    *_published("raspi4", "cls-20ms", "cls-40ms", "det-30ms", "seg-40ms"),
    *_published("pixel3", "cls-10ms", "cls-20ms", "det-15ms", "seg-20ms"),
    *_published("titan-rtx", "cls-8ms", "det-9ms", "seg-9ms"),
    *_published("gold-6240", "cls-25ms", "det-30ms", "seg-30ms"),
    *_published("eyeriss", "cls-5ms"),
)
