"""What is checked before an engine may be loaded."""

from __future__ import annotations

import hashlib
import json
import shlex
import stat
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import export.staging
from export.errors import EngineRefused, ExportError, MissingBackend, WriteFailed
from export.tensorrt.engine_file import EngineFile, Gpu, read_engine, rebuild_command, sidecar_of, write_engine
from export.tensorrt.seal import is_sealed, own_key, read_key, seal_of

CONTENT = b"plan"
GPU = Gpu(name="NVIDIA L4", compute_capability="sm89", driver="580.95.05")
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
def seal_key(tmp_path: Path) -> Path:
    return tmp_path / "home" / "engine.key"


@pytest.fixture
def load(onnx: Path, seal_key: Path):
    def call(path: Path, **changes: Any) -> tuple[EngineFile, bytes]:
        arguments = {"gpu": GPU, "installed": INSTALLED, "onnx": onnx, "seal_key": seal_key}
        return read_engine(path, **{**arguments, **changes})

    return call


def refusal(call, *args: Any, error: type[ExportError] = EngineRefused, **changes: Any) -> str:
    with pytest.raises(error) as caught:
        call(*args, **changes)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_what_is_written_is_what_is_read(engine, load, seal_key):
    write_engine(engine, CONTENT, key=own_key(seal_key))
    assert load(engine.path) == (engine, CONTENT)


def test_an_engine_may_move_with_its_sidecar(engine, load, seal_key, tmp_path):
    write_engine(engine, CONTENT, key=own_key(seal_key))
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
    changes, message, engine, load, seal_key, onnx
):
    write_engine(engine, CONTENT, key=own_key(seal_key))
    with pytest.raises(EngineRefused, match=message) as caught:
        load(engine.path, **changes)
    assert str(caught.value).endswith(f"build it again: {rebuild_command(engine, onnx, seal_key)}")


@pytest.mark.parametrize("driver", ["580.95.05", "580.105.1", "590.44", ""])
def test_a_newer_driver_or_one_that_nobody_can_name_is_accepted(driver, engine, load, seal_key):
    write_engine(engine, CONTENT, key=own_key(seal_key))
    assert load(engine.path, gpu=replace(GPU, driver=driver))[1] == CONTENT


def test_an_engine_for_several_compute_capabilities_runs_on_each_and_on_no_other(engine, load, seal_key):
    portable = replace(
        engine,
        backend="tensorrt_rtx",
        backend_version="1.7.1.116",
        compute_capabilities=("sm86", "sm89"),
        gpu=None,
        driver=None,
    )
    write_engine(portable, CONTENT, key=own_key(seal_key))
    for capability in ("sm86", "sm89"):
        assert load(portable.path, gpu=replace(GPU, name="any", compute_capability=capability))[1] == CONTENT
    assert "sm86 or sm89" in refusal(load, portable.path, gpu=replace(GPU, compute_capability="sm75"))


def test_without_a_gpu_or_the_library_nothing_is_loaded_and_the_fix_is_named(engine, load, seal_key):
    write_engine(engine, CONTENT, key=own_key(seal_key))
    assert "NVIDIA L4" in refusal(load, engine.path, error=MissingBackend, gpu=None)
    assert "pip install 'subnet-zoo[tensorrt]'" in refusal(load, engine.path, error=MissingBackend, installed={})


def test_a_stale_engine_is_refused(engine, load, seal_key, onnx):
    write_engine(engine, CONTENT, key=own_key(seal_key))
    onnx.write_bytes(b"another graph")
    assert "another graph" in refusal(load, engine.path)


@pytest.mark.parametrize("damage", [b"plam", b"pla", b"plan!", b""])
def test_an_engine_with_other_bytes_is_refused(damage, engine, load, seal_key):
    write_engine(engine, CONTENT, key=own_key(seal_key))
    engine.path.write_bytes(damage)
    assert "sha256" in refusal(load, engine.path)
    assert "sha256" in refusal(load, engine.path, trusted=True)


def test_a_forged_pair_of_engine_and_sidecar_is_refused(engine, load, seal_key):
    write_engine(engine, CONTENT, key=own_key(seal_key))
    seal = json.loads(sidecar_of(engine.path).read_text())["seal"]
    forged = replace(engine, sha256=hashlib.sha256(b"evil").hexdigest(), bytes=4)
    write_engine(forged, b"evil", key=b"0" * 32)
    assert "can run code" in refusal(load, engine.path)
    document = json.loads(sidecar_of(engine.path).read_text())
    sidecar_of(engine.path).write_text(json.dumps({**document, "seal": seal}))
    assert "can run code" in refusal(load, engine.path)


@pytest.mark.parametrize("field", ["onnx_sha256", "backend_version", "compute_capabilities", "gpu", "precision"])
def test_every_word_of_the_sidecar_is_sealed(field, engine, load, seal_key):
    write_engine(engine, CONTENT, key=own_key(seal_key))
    document = json.loads(sidecar_of(engine.path).read_text())
    other = {"compute_capabilities": ["sm90"], "precision": "int8"}.get(field, "other")
    sidecar_of(engine.path).write_text(json.dumps({**document, field: other}))
    assert "not built by this installation" in refusal(load, engine.path)


def test_an_engine_from_another_installation_needs_somebody_who_vouches(engine, load, tmp_path):
    write_engine(engine, CONTENT, key=own_key(tmp_path / "their.key"))
    assert "trusted=True" in refusal(load, engine.path)
    assert load(engine.path, trusted=True) == (engine, CONTENT)


def test_an_engine_without_a_seal_needs_somebody_who_vouches(engine, load, seal_key):
    write_engine(engine, CONTENT, key=None)
    own_key(seal_key)
    assert "trusted=True" in refusal(load, engine.path)
    assert "trusted=True" in refusal(load, engine.path, seal_key=None)
    assert load(engine.path, trusted=True, seal_key=None) == (engine, CONTENT)


def test_the_refusal_of_a_foreign_engine_repeats_no_word_of_its_sidecar(engine, load):
    hostile = replace(engine, backend_version="$(reboot)", compute_capabilities=("sm89; reboot",))
    write_engine(hostile, CONTENT, key=b"0" * 32)
    assert "reboot" not in refusal(load, engine.path)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "{}",
        "null",
        '{"schema": 1}',
        '{"schema": 2, "seal": null}',
        "NaN",
        '{"schema": 1, "seal": null, "path": "model.engine", "extra": 1}',
    ],
)
def test_a_sidecar_that_is_none_is_refused(text, engine, load):
    engine.path.write_bytes(CONTENT)
    sidecar_of(engine.path).write_text(text)
    assert "not an engine's sidecar" in refusal(load, engine.path, trusted=True)


def test_a_sidecar_with_an_unknown_key_or_another_name_is_refused(engine, load, tmp_path):
    write_engine(engine, CONTENT, key=None)
    document = json.loads(sidecar_of(engine.path).read_text())
    sidecar_of(engine.path).write_text(json.dumps({**document, "extra": 1}))
    assert "not an engine's sidecar" in refusal(load, engine.path, trusted=True)
    for name in ("../model.engine", "other.engine"):
        sidecar_of(engine.path).write_text(json.dumps({**document, "path": name}))
        assert "describes another file" in refusal(load, engine.path, trusted=True)


def test_an_engine_or_sidecar_that_is_missing_is_refused(engine, load, seal_key):
    assert "cannot be read" in refusal(load, engine.path)
    write_engine(engine, CONTENT, key=own_key(seal_key))
    engine.path.unlink()
    assert "cannot be read" in refusal(load, engine.path)


def test_the_command_that_rebuilds_says_all_that_the_engine_was_built_with(engine, onnx):
    rtx = replace(
        engine, backend="tensorrt_rtx", compute_capabilities=("sm86",), tf32=True, path=Path("my models/m.engine")
    )
    assert shlex.split(rebuild_command(rtx, onnx, Path("key"))) == [
        *("python", "-m", "export.tensorrt.build", str(onnx), "my models/m.engine", "--backend", "tensorrt_rtx"),
        *("--batch", "1", "8", "32", "--compute-capability", "sm86", "--tf32", "--seal-key", "key"),
    ]
    assert "--batch" not in rebuild_command(replace(engine, batch=None))


def test_a_full_disk_leaves_the_engine_of_before(engine, load, seal_key, monkeypatch):
    key = own_key(seal_key)
    write_engine(engine, CONTENT, key=key)
    written = iter([None])

    def full_at_the_second_file(file: int) -> None:
        if next(written, "full"):
            raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(export.staging.os, "fsync", full_at_the_second_file)
        with pytest.raises(WriteFailed, match="No space left"):
            write_engine(replace(engine, sha256=hashlib.sha256(b"new").hexdigest()), b"new", key=key)
    assert load(engine.path) == (engine, CONTENT)
    assert {path.name for path in engine.path.parent.iterdir()} == {
        "model.onnx",
        "model.engine",
        "model.engine.json",
        "home",
    }


def test_an_interruption_between_the_two_files_leaves_an_engine_that_is_refused(engine, load, seal_key, monkeypatch):
    key = own_key(seal_key)
    write_engine(engine, CONTENT, key=key)
    moves = iter([export.staging.move])

    def interrupted(draft: Path, path: Path) -> None:
        next(moves, _interrupt)(draft, path)

    with monkeypatch.context() as patch:
        patch.setattr("export.tensorrt.engine_file.move", interrupted)
        with pytest.raises(KeyboardInterrupt):
            write_engine(replace(engine, sha256=hashlib.sha256(b"new").hexdigest()), b"new", key=key)
    assert "sha256" in refusal(load, engine.path)
    assert not [path for path in engine.path.parent.iterdir() if path.name.endswith(".draft")]


def _interrupt(draft: Path, path: Path) -> None:
    raise KeyboardInterrupt


def test_a_seal_depends_on_every_value_and_on_the_key_but_not_on_the_order():
    document = {"a": 1, "b": [1, "x"], "c": None}
    seal = seal_of(document, b"k" * 32)
    assert is_sealed({"c": None, "b": [1, "x"], "a": 1}, seal, b"k" * 32)
    for other in ({**document, "a": 2}, {**document, "b": ["x", 1]}, {"a": 1, "b": [1, "x"]}):
        assert not is_sealed(other, seal, b"k" * 32)
    assert not is_sealed(document, seal, b"K" * 32)
    assert not is_sealed(document, "é", b"k" * 32)


def test_a_key_is_made_once_and_is_its_owners_alone(seal_key):
    key = own_key(seal_key)
    assert own_key(seal_key) == key == read_key(seal_key)
    assert len(key) == 32
    assert stat.S_IMODE(seal_key.stat().st_mode) == 0o600
    assert list(seal_key.parent.iterdir()) == [seal_key]


def test_a_key_made_meanwhile_by_another_process_is_kept(seal_key, monkeypatch):
    theirs = b"t" * 32

    def beaten(source: Path, destination: Path) -> None:
        destination.write_bytes(theirs)
        raise FileExistsError

    monkeypatch.setattr("export.tensorrt.seal.os.link", beaten)
    assert own_key(seal_key) == theirs
    assert list(seal_key.parent.iterdir()) == [seal_key]


def test_what_is_no_key_seals_nothing(seal_key):
    seal_key.parent.mkdir()
    seal_key.write_bytes(b"short")
    assert read_key(seal_key) is None
    with pytest.raises(WriteFailed, match="not a key"):
        own_key(seal_key)
    with pytest.raises(WriteFailed, match="cannot make the key"):
        own_key(seal_key / "inside" / "a file")
