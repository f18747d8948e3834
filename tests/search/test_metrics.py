from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from search.errors import WriteFailed
from search.oneshot.engine.watch import MetricsFile
from tests.search.small_supernets import no_file_above


def test_a_full_disk_is_one_line_with_the_fix_from_the_first_line_on(tmp_path: Path) -> None:
    file = MetricsFile(tmp_path / "metrics.csv", ("step", "loss"))
    trainer, module = (
        cast(Any, SimpleNamespace(global_step=0)),
        cast(Any, SimpleNamespace(metrics={"step": 0, "loss": 1.0})),
    )
    with (
        no_file_above(0),
        pytest.raises(WriteFailed, match=r"metrics.csv cannot be written .*; free some space, resume"),
    ):
        file.on_train_start(trainer, module)
    file.on_train_start(trainer, module)
    size = (tmp_path / "metrics.csv").stat().st_size
    with no_file_above(size), pytest.raises(WriteFailed, match=r"free some space, resume"):
        file.on_train_batch_end(trainer, module)
    file.on_train_batch_end(trainer, module)
    assert (tmp_path / "metrics.csv").read_text() == "step,loss\n0,1.0\n"
