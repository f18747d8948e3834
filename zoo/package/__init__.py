"""A package on disk: a folder that holds a network, its card, its artefacts and what proves them.

staging (whole or not at all) · manifest · card · bounds (on what it says) · history (of the search) · readme · golden
· folder (write, load)
"""
