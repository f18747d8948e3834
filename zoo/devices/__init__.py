"""Latency tables by device name, and how a person makes one.

names · tables (find or measure) · measure · times, onboard (from times of whole networks)
"""
