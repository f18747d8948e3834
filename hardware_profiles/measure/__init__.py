"""A latency table measured on this machine.

probe, processor (this machine) · runtimes (installed) · plan (what to time) · models · precision · table (time them)
"""
