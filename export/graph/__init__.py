"""Making one ONNX graph: from torch, in less precision, with preprocessing or boxes inside.

to_onnx · pixels · nms · int8 · finish (all of that)
"""
