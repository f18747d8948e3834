"""Cells that a DARTS search found: from probabilities to a genotype, its cost and its picture.

recipe · log · costs · derive · draw
"""
