"""Report: pages to look at. One HTML file each, which needs no network.

write (packages -> page) · facts (what a package's files tell) · charts (Vega-Lite specifications) · pictures (what a
network makes of the user's images) · catalogue (the zoo as a page)

``vega.js`` is Vega, Vega-Lite and vega-embed (BSD-3-Clause) in one file, made by ``make vega``.
"""
