"""A latency table measured on this machine.

onnx_bytes · probe · precision · runtimes · models · plan · resume · table
"""
