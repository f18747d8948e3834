"""The device kit: a zip file that times networks on a machine which cannot run us, and its result as a table.

build (make the file) · script, which becomes the file's program · result (read what comes back)
"""
