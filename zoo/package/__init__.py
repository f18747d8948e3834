"""A package on disk: a folder that holds a network, its card, its artefacts and what proves them.

versions · staging (whole or not at all) · manifest · card · readme · golden · select (which files)
· folder (write, load)
"""
