"""Timing that can be believed: warm-up, rounds in turns, noise told from work.

rounds · noise · timing
"""
