"""Training a whole network on labels: losses, and the loop on Lightning.

losses (of each task) · head (where a classifier's begins) · loop (optimizer, schedule, average of weights, early stop,
checkpoints)
"""
