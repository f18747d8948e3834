"""Runners: runtimes behind one interface. This imports ONNX Runtime alone; each of the others is a file to import.

runner (the interface) · onnx · openvino · tensorrt · torch_runners (a CUDA graph)
"""

from hardware_profiles.runners.onnx import OnnxRunner as OnnxRunner
from hardware_profiles.runners.onnx import onnxruntime_version as onnxruntime_version
from hardware_profiles.runners.runner import Arrays as Arrays
from hardware_profiles.runners.runner import Runner as Runner
from hardware_profiles.runners.runner import ScriptedClock as ScriptedClock
from hardware_profiles.runners.runner import ScriptedRunner as ScriptedRunner
