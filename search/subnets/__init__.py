"""Choosing networks of a supernet: what each costs, and which is best under a budget.

costs · proposals (which networks to score next) · evolution (the search loop)
"""
