"""Choosing networks of a supernet: what each costs, and which is best under a budget.

costs · evolution · find (the search loop)
"""
