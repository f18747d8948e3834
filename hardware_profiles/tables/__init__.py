"""Latency tables as files: read strictly, found by device, resized.

strict_yaml · files · find · resize
"""
