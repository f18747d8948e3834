"""Cells that a DARTS search found: from probabilities to a genotype and its cost.

recipe · log · derive
"""
