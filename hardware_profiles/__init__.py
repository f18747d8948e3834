"""How long networks take on devices: latency tables, made by measuring, kept as YAML, used to estimate.

types (the values) · ops, files, devices (tables as text, as files, by name) · estimate (use one) · resize (to another
resolution) · fit, adapt (make one from times of whole networks; whole_times, work, nnls, diverse) ·
measure (make one: probe, noise, runtimes, runners, precision, bench, plan, rounds, timing, calibrate, started) ·
kit (make one elsewhere) · torch_runner, onnx_bytes (what all of them time) · compute, memory (what needs no device)
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from hardware_profiles.errors import BadKit as BadKit
from hardware_profiles.errors import BadOp as BadOp
from hardware_profiles.errors import BadProfile as BadProfile
from hardware_profiles.errors import BadTimes as BadTimes
from hardware_profiles.errors import MeasureFailed as MeasureFailed
from hardware_profiles.errors import MissingOp as MissingOp
from hardware_profiles.errors import MissingRuntime as MissingRuntime
from hardware_profiles.errors import MissingTable as MissingTable
from hardware_profiles.errors import NoisyMachine as NoisyMachine
from hardware_profiles.errors import ProfileError as ProfileError
from hardware_profiles.errors import UnknownDevice as UnknownDevice
from hardware_profiles.ops import parse_op as parse_op
from hardware_profiles.types import Check as Check
from hardware_profiles.types import DeviceProfile as DeviceProfile
from hardware_profiles.types import Kind as Kind
from hardware_profiles.types import Latency as Latency
from hardware_profiles.types import LatencyTable as LatencyTable
from hardware_profiles.types import OpKey as OpKey
from hardware_profiles.types import Scaling as Scaling
from hardware_profiles.types import Source as Source
from hardware_profiles.types import TableHead as TableHead
from hardware_profiles.types import Validation as Validation

if TYPE_CHECKING:
    from hardware_profiles.estimate import block_ms as block_ms
    from hardware_profiles.estimate import estimate_ms as estimate_ms
    from hardware_profiles.estimate import margin as margin
    from hardware_profiles.estimate import part_ms as part_ms
    from hardware_profiles.fit.adapt import adapt_table as adapt_table
    from hardware_profiles.fit.adapt import pick_diverse as pick_diverse
    from hardware_profiles.fit.fit import fit_table as fit_table
    from hardware_profiles.measure.models import to_onnx_bytes as to_onnx_bytes
    from hardware_profiles.measure.probe import probe_device as probe_device
    from hardware_profiles.measure.table import Network as Network
    from hardware_profiles.measure.table import measure_table as measure_table
    from hardware_profiles.memory import Compute as Compute
    from hardware_profiles.memory import count_compute as count_compute
    from hardware_profiles.runners import OnnxRunner as OnnxRunner
    from hardware_profiles.runners import Runner as Runner
    from hardware_profiles.runners import ScriptedClock as ScriptedClock
    from hardware_profiles.runners import ScriptedRunner as ScriptedRunner
    from hardware_profiles.runners.torch_runners import TorchRunner as TorchRunner
    from hardware_profiles.tables.files import load_head as load_head
    from hardware_profiles.tables.files import load_table as load_table
    from hardware_profiles.tables.files import save_table as save_table
    from hardware_profiles.tables.find import TableFile as TableFile
    from hardware_profiles.tables.find import find_device as find_device
    from hardware_profiles.tables.find import find_table as find_table
    from hardware_profiles.tables.find import keep_table as keep_table
    from hardware_profiles.tables.find import list_tables as list_tables
    from hardware_profiles.tables.resize import resize_table as resize_table
    from hardware_profiles.timing.timing import time_call as time_call
    from hardware_profiles.timing.timing import time_runners as time_runners

# These need torch, onnxruntime, numpy or pydantic, which are imported when the name is first used. No function has the
# name of its file: importing the file would put the module in the function's place here.
_LAZY = {
    "Compute": "hardware_profiles.memory",
    "Network": "hardware_profiles.measure.table",
    "OnnxRunner": "hardware_profiles.runners",
    "Runner": "hardware_profiles.runners",
    "ScriptedClock": "hardware_profiles.runners",
    "ScriptedRunner": "hardware_profiles.runners",
    "TableFile": "hardware_profiles.tables.find",
    "TorchRunner": "hardware_profiles.runners.torch_runners",
    "adapt_table": "hardware_profiles.fit.adapt",
    "block_ms": "hardware_profiles.estimate",
    "count_compute": "hardware_profiles.memory",
    "estimate_ms": "hardware_profiles.estimate",
    "find_device": "hardware_profiles.tables.find",
    "find_table": "hardware_profiles.tables.find",
    "fit_table": "hardware_profiles.fit.fit",
    "keep_table": "hardware_profiles.tables.find",
    "list_tables": "hardware_profiles.tables.find",
    "load_head": "hardware_profiles.tables.files",
    "load_table": "hardware_profiles.tables.files",
    "margin": "hardware_profiles.estimate",
    "measure_table": "hardware_profiles.measure.table",
    "part_ms": "hardware_profiles.estimate",
    "pick_diverse": "hardware_profiles.fit.adapt",
    "probe_device": "hardware_profiles.measure.probe",
    "resize_table": "hardware_profiles.tables.resize",
    "save_table": "hardware_profiles.tables.files",
    "time_call": "hardware_profiles.timing.timing",
    "time_runners": "hardware_profiles.timing.timing",
    "to_onnx_bytes": "hardware_profiles.measure.models",
}


def __getattr__(name: str) -> object:
    """Import the module behind a heavy name."""
    if name not in _LAZY:
        raise AttributeError(f"module 'hardware_profiles' has no attribute {name!r}")
    return getattr(importlib.import_module(_LAZY[name]), name)
