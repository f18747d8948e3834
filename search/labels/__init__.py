"""Labels as people have them: class folders or CSV, COCO, VOC or YOLO boxes, folders of masks; all as ``Samples``.

samples (the one form) · read (folders, splits) · classes · boxes · masks · checks · arrays (pictures for a network) ·
inputs (one picture, and where its points lie) · views (random windows for training)
"""
