"""A latency table from times of whole networks.

work · calibrate · diverse (which networks to time) · fit · adapt
"""
