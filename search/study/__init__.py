"""A study of architectures: each variant trained alone without labels, then asked by labelled sets how good it is.

The question is that of Girish et al., arXiv:2203.08130: does the network that is best on one set win on the others?
"""
