"""What is done with a model: export, evaluate, benchmark.

source, subject (what is meant by a name or a folder) · export · evaluate · benchmark
"""
