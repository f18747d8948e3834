"""``python -m tests.search.two_searches OUT DEVICES``: a small search of cells within a budget, shared by processes."""

import sys
from pathlib import Path

from search.cells.derive import cell_costs
from search.oneshot.darts.search import search_cells
from search.running import Running
from tests.search.small_cells import tiny
from tests.search.small_supernets import made_up_table, stripes


def main(out: Path, devices: int) -> None:
    costs = cell_costs(made_up_table("cell", 16), cells=5, channels=8)
    recipe = tiny(batch=4, norm_groups=2, epochs=3)
    search_cells(
        recipe,
        stripes(32, 10),
        out,
        costs=costs,
        budget_ms=1.02 * costs.network_ms(costs.fastest),
        running=Running(devices=devices),
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
