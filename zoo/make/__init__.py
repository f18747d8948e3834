"""What produces a package: search, pretrain, darts; bundle puts what was trained into the zoo.

images, job (what is asked for) · confirm (the clock has the last word) · search · settings (of a recipe) · dry_run ·
pretrain · darts_seed, darts · finetune (with labels) · bundle
"""
