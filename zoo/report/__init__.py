"""Report: pages to look at. One HTML file each, which needs no network.

write (packages -> page) · facts (what a package's files tell) · charts (Vega-Lite specifications) · look_alikes (images
that a network takes for similar) · catalogue (the zoo as a page)

``vega.js`` is Vega, Vega-Lite and vega-embed (BSD-3-Clause) in one file, made by ``make vega``.
"""
