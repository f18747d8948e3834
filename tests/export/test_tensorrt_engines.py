"""What is checked before an engine may be loaded."""

from __future__ import annotations

import hashlib
import json
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tensorrt_double import GPU

import export.staging
from export.errors import EngineRefused, ExportError, MissingBackend, WriteFailed
from export.tensorrt.engine_file import EngineFile, read_engine, rebuild_command, sidecar_of, write_engine
from tests.conftest import refused

CONTENT = b"plan"
INSTALLED = {"tensorrt": "11.4.0.106", "tensorrt_rtx": "1.7.1.116"}


@pytest.fixture
def onnx(tmp_path: Path) -> Path:
    path = tmp_path / "model.onnx"
    path.write_bytes(b"graph")
    return path


@pytest.fixture
def engine(tmp_path: Path) -> EngineFile:
    """Of this GPU, this library and the graph ``b"graph"``."""
    return EngineFile(
        path=tmp_path / "model.engine",
        sha256=hashlib.sha256(CONTENT).hexdigest(),
        bytes=len(CONTENT),
        onnx_sha256=hashlib.sha256(b"graph").hexdigest(),
        backend="tensorrt",
        backend_version="11.4.0.106",
        compute_capabilities=("sm89",),
        gpu="NVIDIA L4",
        driver="580.95.05",
        precision="fp16",
        batch=(1, 8, 32),
        tf32=False,
    )


@pytest.fixture
def load(onnx: Path):
    def call(path: Path, **changes: Any) -> tuple[EngineFile, bytes]:
        arguments = {"gpu": GPU, "installed": INSTALLED, "onnx": onnx, "trusted": True}
        return read_engine(path, **{**arguments, **changes})

    return call


def refusal(call, *args: Any, error: type[ExportError] = EngineRefused, **changes: Any) -> str:
    with refused(error) as caught:
        call(*args, **changes)
    return str(caught.value)


def test_what_is_written_is_what_is_read(engine, load):
    write_engine(engine, CONTENT)
    assert load(engine.path) == (engine, CONTENT)


def test_an_engine_may_move_with_its_sidecar(engine, load, tmp_path):
    write_engine(engine, CONTENT)
    there = tmp_path / "elsewhere" / "model.engine"
    there.parent.mkdir()
    engine.path.rename(there)
    sidecar_of(engine.path).rename(sidecar_of(there))
    assert load(there) == (replace(engine, path=there), CONTENT)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"gpu": replace(GPU, name="NVIDIA L40")}, "built for NVIDIA L4 .* this is NVIDIA L40"),
        ({"gpu": replace(GPU, compute_capability="sm90")}, r"this is NVIDIA L4 \(sm90\)"),
        ({"gpu": replace(GPU, driver="570.1")}, "driver 580.95.05, and this is the older 570.1"),
        ({"installed": {"tensorrt": "11.5.0"}}, "built by tensorrt 11.4.0.106, and 11.5.0 is installed"),
    ],
)
def test_an_engine_for_another_machine_is_refused_with_the_command_that_rebuilds_it(
    changes, message, engine, load, onnx
):
    write_engine(engine, CONTENT)
    with pytest.raises(EngineRefused, match=message) as caught:
        load(engine.path, **changes)
    assert str(caught.value).endswith(f"build it again: {rebuild_command(engine, onnx)}")


@pytest.mark.parametrize("driver", ["580.95.05", "580.105.1", "590.44", ""])
def test_a_newer_driver_or_one_that_nobody_can_name_is_accepted(driver, engine, load):
    write_engine(engine, CONTENT)
    assert load(engine.path, gpu=replace(GPU, driver=driver))[1] == CONTENT


def test_an_engine_for_several_compute_capabilities_runs_on_each_and_on_no_other(engine, load):
    portable = replace(
        engine,
        backend="tensorrt_rtx",
        backend_version="1.7.1.116",
        compute_capabilities=("sm86", "sm89"),
        gpu=None,
        driver=None,
    )
    write_engine(portable, CONTENT)
    for capability in ("sm86", "sm89"):
        assert load(portable.path, gpu=replace(GPU, name="any", compute_capability=capability))[1] == CONTENT
    assert "sm86 or sm89" in refusal(load, portable.path, gpu=replace(GPU, compute_capability="sm75"))


def test_without_a_gpu_or_the_library_nothing_is_loaded_and_the_fix_is_named(engine, load):
    write_engine(engine, CONTENT)
    assert "NVIDIA L4" in refusal(load, engine.path, error=MissingBackend, gpu=None)
    assert "pip install 'subnet-zoo[tensorrt]'" in refusal(load, engine.path, error=MissingBackend, installed={})


def test_a_stale_engine_is_refused(engine, load, onnx):
    write_engine(engine, CONTENT)
    onnx.write_bytes(b"another graph")
    assert "another graph" in refusal(load, engine.path)


@pytest.mark.parametrize("damage", [b"plam", b"pla", b"plan!", b""])
def test_an_engine_with_other_bytes_is_refused(damage, engine, load):
    write_engine(engine, CONTENT)
    engine.path.write_bytes(damage)
    assert "sha256" in refusal(load, engine.path)
    assert "sha256" in refusal(load, engine.path)


def test_an_engine_needs_somebody_who_vouches(engine, load):
    write_engine(engine, CONTENT)
    assert "trusted=True" in refusal(load, engine.path, trusted=False)


def test_the_refusal_of_a_foreign_engine_repeats_no_word_of_its_sidecar(engine, load):
    hostile = replace(engine, backend_version="$(reboot)", compute_capabilities=("sm89; reboot",))
    write_engine(hostile, CONTENT)
    assert "reboot" not in refusal(load, engine.path, trusted=False)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "{}",
        "null",
        '{"schema": 1}',
        '{"schema": 2}',
        "NaN",
        '{"schema": 1, "path": "model.engine", "extra": 1}',
    ],
)
def test_a_sidecar_that_is_none_is_refused(text, engine, load):
    engine.path.write_bytes(CONTENT)
    sidecar_of(engine.path).write_text(text)
    assert "not an engine's sidecar" in refusal(load, engine.path)


def test_a_sidecar_with_an_unknown_key_or_another_name_is_refused(engine, load, tmp_path):
    write_engine(engine, CONTENT)
    document = json.loads(sidecar_of(engine.path).read_text())
    sidecar_of(engine.path).write_text(json.dumps({**document, "extra": 1}))
    assert "not an engine's sidecar" in refusal(load, engine.path)
    for name in ("../model.engine", "other.engine"):
        sidecar_of(engine.path).write_text(json.dumps({**document, "path": name}))
        assert "describes another file" in refusal(load, engine.path)


def test_an_engine_or_sidecar_that_is_missing_is_refused(engine, load):
    assert "cannot be read" in refusal(load, engine.path)
    write_engine(engine, CONTENT)
    engine.path.unlink()
    assert "cannot be read" in refusal(load, engine.path)


def test_the_command_that_rebuilds_says_all_that_the_engine_was_built_with(engine, onnx):
    rtx = replace(
        engine, backend="tensorrt_rtx", compute_capabilities=("sm86",), tf32=True, path=Path("my models/m.engine")
    )
    assert shlex.split(rebuild_command(rtx, onnx)) == [
        *("python", "-m", "export.tensorrt.build", str(onnx), "my models/m.engine", "--backend", "tensorrt_rtx"),
        *("--batch", "1", "8", "32", "--compute-capability", "sm86", "--tf32"),
    ]
    assert "--batch" not in rebuild_command(replace(engine, batch=None))


def test_a_full_disk_leaves_the_engine_of_before(engine, load, monkeypatch):
    write_engine(engine, CONTENT)
    written = iter([None])

    def full_at_the_second_file(file: int) -> None:
        if next(written, "full"):
            raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(export.staging.os, "fsync", full_at_the_second_file)
        with pytest.raises(WriteFailed, match="No space left"):
            write_engine(replace(engine, sha256=hashlib.sha256(b"new").hexdigest()), b"new")
    assert load(engine.path) == (engine, CONTENT)
    assert {path.name for path in engine.path.parent.iterdir()} == {"model.onnx", "model.engine", "model.engine.json"}


def test_an_interruption_between_the_two_files_leaves_an_engine_that_is_refused(engine, load, monkeypatch):
    write_engine(engine, CONTENT)
    moves = iter([export.staging.move])

    def interrupted(draft: Path, path: Path) -> None:
        next(moves, _interrupt)(draft, path)

    with monkeypatch.context() as patch:
        patch.setattr("export.tensorrt.engine_file.move", interrupted)
        with pytest.raises(KeyboardInterrupt):
            write_engine(replace(engine, sha256=hashlib.sha256(b"new").hexdigest()), b"new")
    assert "sha256" in refusal(load, engine.path)
    assert not [path for path in engine.path.parent.iterdir() if path.name.endswith(".draft")]


def _interrupt(draft: Path, path: Path) -> None:
    raise KeyboardInterrupt
