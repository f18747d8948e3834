"""What the memory model says a network holds at once, against what ONNX Runtime really takes for one run.

    python benchmarks/memory.py                       # 12 networks of each net at 64 px
    python benchmarks/memory.py --net resnet --resolution 96

Linux only: a fresh process loads the network with the runtime's own arena off and every buffer of 4 kB or more mapped
on its own, resets the kernel's high-water mark of resident memory, runs once and reads the mark. `plain` runs the
operators as the model counts them; `fused` lets the runtime fuse a sum into a convolution, which saves a map, and
change layouts, which costs one.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from onnx_memory import peak_activation_bytes
from scipy.stats import kendalltau

from hardware_profiles import Latency, LatencyTable, probe_device, to_onnx_bytes
from search.nets import NETS, Net
from search.subnets.costs import CostModel
from zoo.devices.this_machine import spread

CHILD = """
import re, sys
import numpy as np, onnxruntime
def kilobytes(name):
    return int(re.search(rf"{name}:\\s+(\\d+) kB", open("/proc/self/status").read())[1])
options = onnxruntime.SessionOptions()
options.enable_cpu_mem_arena = options.enable_mem_pattern = False
options.intra_op_num_threads = 1
if sys.argv[2] == "plain":
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
session = onnxruntime.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
inputs = {session.get_inputs()[0].name: np.ones(session.get_inputs()[0].shape, np.float32)}
for _ in range(3):
    session.run(None, inputs)
peaks = []
for _ in range(5):
    open("/proc/self/clear_refs", "w").write("5")
    before = kilobytes("VmRSS")
    session.run(None, inputs)
    peaks.append(kilobytes("VmHWM") - before)
print(sorted(peaks)[2] * 1024)
"""
MALLOC = {"MALLOC_MMAP_THRESHOLD_": "4096", "MALLOC_TRIM_THRESHOLD_": "0", "MALLOC_TOP_PAD_": "0"}


def measured_bytes(path: Path, level: str) -> int:
    command = [sys.executable, "-c", CHILD, str(path), level]
    return int(subprocess.run(command, env=os.environ | MALLOC, capture_output=True, text=True, check=True).stdout)


def cost_model(net: Net, resolution_px: int) -> CostModel:
    """Times do not matter here."""
    once = Latency(median_ms=1, p90_ms=1, samples=1)
    table = LatencyTable(
        device=probe_device(threads=1),
        net=net.name,
        resolution_px=resolution_px,
        entries=dict.fromkeys(net.op_keys(resolution_px), once),
        overhead_ms=0,
        scale=1,
        validation=None,
        measured_at="never",
    )
    return CostModel(net, table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--net", action="append", help="again for more; mobile, resnet and cell by default")
    parser.add_argument("--resolution", type=int, default=64)
    parser.add_argument("--networks", type=int, default=12)
    asked = parser.parse_args()
    for name in asked.net or ("mobile", "resnet", "cell"):
        net, px = NETS[name], asked.resolution
        architectures = spread(net, px, asked.networks, seed=0)
        costs = cost_model(net, px)(net.encode(architectures))
        predicted = (costs.peak_memory_bytes - 4 * costs.params).astype(float)
        measured: dict[str, list[int]] = {"graph": [], "plain": [], "fused": []}
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "model.onnx"
            for architecture in architectures:
                path.write_bytes(to_onnx_bytes(net.build(architecture).eval(), (1, 3, px, px)))
                measured["graph"].append(peak_activation_bytes(path.read_bytes()))
                for level in ("plain", "fused"):
                    measured[level].append(measured_bytes(path, level))
        print(f"{name} at {px} px: predicted {predicted.min() / 1e3:.0f}-{predicted.max() / 1e3:.0f} kB")
        for what, values in measured.items():
            ratio, tau = np.array(values) / predicted, kendalltau(predicted, values).statistic
            spread_text = f"{np.median(ratio):.2f} ({ratio.min():.2f}-{ratio.max():.2f})"
            print(f"  {what} / predicted: median {spread_text}, Kendall tau {tau:.3f}")


if __name__ == "__main__":
    main()
