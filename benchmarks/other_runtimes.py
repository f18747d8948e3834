"""Does an exported file answer alike everywhere? ONNX Runtime in Python against other runtimes and languages.

    python benchmarks/other_runtimes.py PACKAGE|MODEL.onnx [--node-modules DIR]

What is installed runs, what is not is listed with how to get it:

    OpenVINO, from Python and from C++ (with g++)     pip install openvino
    ONNX Runtime in Node.js, native and WebAssembly   npm install --ignore-scripts onnxruntime-node onnxruntime-web

Every output for 16 images of seeded noise (one batch of them, where the graph fixes it) is compared with that of
onnxruntime in Python. Passes (exit 0) when all that ran agree: cosine >= 0.99999 and relative L2 <= 1e-4; exit 4 when
one does not.
"""

import argparse
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from export import Tolerance, compare_outputs
from export.formats.onnx_file import read_onnx
from hardware_profiles import OnnxRunner

HERE = Path(__file__).parent
IMAGES = 16

Outputs = Mapping[str, NDArray[np.float32]]


class Absent(Exception):  # noqa: N818 - the name says the condition
    """A runtime that is not installed; the message says how to get it."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """One batch for one file; ``node_modules`` is where JavaScript packages lie."""

    model: Path
    name: str
    images: NDArray[np.float32]
    node_modules: Path


def openvino_python(case: Case) -> tuple[str, Outputs]:
    if importlib.util.find_spec("openvino") is None:
        raise Absent("pip install openvino")
    import openvino

    config = {"INFERENCE_PRECISION_HINT": "f32"}
    compiled = openvino.Core().compile_model(str(case.model), "CPU", config)
    found = compiled({case.name: case.images})
    return f"OpenVINO {version('openvino')}", {port.any_name: np.array(found[port]) for port in compiled.outputs}


def openvino_cpp(case: Case) -> tuple[str, Outputs]:
    spec = importlib.util.find_spec("openvino")
    compiler = shutil.which("g++")
    if spec is None or not spec.submodule_search_locations or compiler is None:
        raise Absent("pip install openvino, and a g++")
    package = Path(spec.submodule_search_locations[0])
    library = next((package / "libs").glob("libopenvino.so.*"), None)
    if library is None:
        raise Absent("pip install openvino (this one has no C++ library)")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        case.images.tofile(folder / "input.bin")
        flags = ["-std=c++17", "-O1", "-I", package / "include", library, f"-Wl,-rpath,{library.parent}"]
        _run([compiler, HERE / "run_onnx.cpp", *flags, "-o", folder / "run_onnx"])
        said = _run([folder / "run_onnx", case.model, folder, *map(str, case.images.shape)])
        shapes = {name: [int(size) for size in sizes] for name, *sizes in map(str.split, said.splitlines())}
        return f"OpenVINO {version('openvino')}", _read(folder, shapes)


def node(package: str) -> Callable[[Case], tuple[str, Outputs]]:
    def run(case: Case) -> tuple[str, Outputs]:
        program = shutil.which("node")
        if program is None or not (case.node_modules / package).is_dir():
            raise Absent(f"npm install --ignore-scripts {package}, and --node-modules DIR/node_modules")
        about = json.loads((case.node_modules / package / "package.json").read_text("utf-8"))
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch)
            case.images.tofile(folder / "input.bin")
            (folder / "input.json").write_text(json.dumps({"name": case.name, "shape": case.images.shape}))
            command = [program, HERE / "run_onnx.cjs", package, case.model, folder]
            _run(command, env={**os.environ, "NODE_PATH": str(case.node_modules.resolve())})
            return f"{package} {about['version']}", _read(folder, json.loads((folder / "outputs.json").read_text()))

    return run


RUNTIMES = {
    "OpenVINO, Python": openvino_python,
    "OpenVINO, C++": openvino_cpp,
    "ONNX Runtime, Node.js": node("onnxruntime-node"),
    "ONNX Runtime, WebAssembly": node("onnxruntime-web"),
}


def reference(model: Path) -> tuple[str, NDArray[np.float32], Outputs]:
    """The input's name, noise of its shape (a dynamic batch gets all images at once), and onnxruntime's outputs."""
    (tensor,) = read_onnx(model).inputs
    batch, *rest = tensor.shape
    if tensor.data_type != "FLOAT" or len(rest) != 3 or not all(isinstance(size, int) for size in rest):
        raise SystemExit(f"{model} takes {tensor.data_type} {tensor.shape}; give a model of float32 images")
    shape = [IMAGES if isinstance(batch, str) else batch, *(int(size) for size in rest)]
    images = np.random.default_rng(0).standard_normal(shape, dtype=np.float32)
    with OnnxRunner(model, threads=1) as runner:
        return tensor.name, images, runner.run({tensor.name: images})


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--node-modules", type=Path, default=Path("node_modules"))
    args = parser.parse_args()
    model = args.model / "onnx" / "model.onnx" if args.model.is_dir() else args.model
    name, images, expected = reference(model)
    case = Case(model=model, name=name, images=images, node_modules=args.node_modules)
    agreed = True
    for title, run in RUNTIMES.items():
        try:
            ran, found = run(case)
        except Absent as error:
            print(json.dumps({"runtime": title, "absent": str(error)}), flush=True)
            continue
        comparison = compare_outputs(expected, found, Tolerance(min_cosine=0.99999, max_relative_l2=1e-4))
        agreed &= comparison.passed
        row = {
            "runtime": title,
            "version": ran,
            "agrees": comparison.passed,
            "relative_l2": max(output.relative_l2 for output in comparison.outputs),
            "min_cosine": min(output.min_cosine for output in comparison.outputs),
            "outputs": [output.output for output in comparison.outputs],
            "images": len(images),
        }
        print(json.dumps(row), flush=True)
    return 0 if agreed else 4


def _run(command: list[str | Path], env: Mapping[str, str] | None = None) -> str:
    done = subprocess.run(command, capture_output=True, text=True, env=env, check=False)
    if done.returncode:
        raise SystemExit(f"{Path(command[0]).name} failed: {' '.join(done.stderr.split())[-500:]}")
    return done.stdout


def _read(folder: Path, shapes: Mapping[str, list[int]]) -> Outputs:
    return {name: np.fromfile(folder / f"{name}.bin", np.float32).reshape(shape) for name, shape in shapes.items()}


if __name__ == "__main__":
    sys.exit(main())
