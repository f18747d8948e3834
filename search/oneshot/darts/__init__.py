"""DARTS without labels (Kaplan & Giryes 2020, section 3), driven by NNI.

space · latency · loss · strategy (NNI's) · search
"""
