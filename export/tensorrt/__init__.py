"""TensorRT engines: build, keep with what they need, check, load, time.

build · seal · engine_file · runner · try_engine
"""
