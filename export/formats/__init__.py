"""What a graph is wrapped in: files, what travels inside, ORT format, Triton.

onnx_file · ort · triton
"""
