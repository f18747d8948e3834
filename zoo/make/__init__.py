"""What produces a package: search, pretrain, darts; bundle puts what was trained into the zoo.

images, request (what is asked for) · confirm (the clock has the last word) · search · pretrain · darts_seed, darts
· bundle
"""
