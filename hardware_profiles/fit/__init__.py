"""A latency table from times of whole networks.

work (of a block) · calibrate · fit · adapt (from the tables of known devices) · count (what a torch module computes)
· public (a cost model from published times) · price (blocks by a cost model)
"""
