"""Whether an artefact does what the network does, in the memory it may use.

outputs (run torch and the artefact) · contained (a stranger's) · detections · compare (judge) · drift · memory
"""
