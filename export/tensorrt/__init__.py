"""TensorRT engines: build, keep with what they need, check, load, time.

build · engine_file · runner · try_engine
"""
