"""What a graph is wrapped in: files, what travels inside, ORT format, Triton.

metadata · onnx_file · ort · triton
"""
