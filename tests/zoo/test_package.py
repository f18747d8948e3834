import contextlib
import io
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from safetensors.torch import load_file, save_file

import zoo.package.folder
from search.nets import Backbone
from tests.zoo.small_files import resealed
from zoo.catalogue.get import get
from zoo.errors import BadPackage, OutputExists, VerificationFailed, ZooError
from zoo.package.card import read_card
from zoo.package.folder import load_package, write_package
from zoo.types import ModelCard

FILES = {
    "README.md",
    "config.json",
    "golden.safetensors",
    "model.safetensors",
    "numerics.yaml",
    "onnx/model.onnx",
    "perf.yaml",
}


def test_a_package_has_the_documented_files(pristine: Path) -> None:
    assert {path.relative_to(pristine).as_posix() for path in pristine.rglob("*") if path.is_file()} == FILES
    assert set(json.loads((pristine / "config.json").read_text())["manifest"]) == FILES - {"config.json"}


def test_a_loaded_package_is_what_was_written(pristine: Path, card: ModelCard, backbone: Backbone) -> None:
    model = get(pristine, verify=True)
    assert replace(model.card, reports=()) == replace(card, reports=())
    assert model.card == read_card(pristine)
    assert model.card.reports == (replace(card.reports[0], path=Path("onnx/model.onnx")),)
    x = torch.randn(3, 3, 16, 16)
    assert not model.training
    with torch.inference_mode():
        assert torch.equal(model(x), backbone(x))
        assert {name: tuple(m.shape) for name, m in model.features(x).items()} == {
            name: tuple(m.shape) for name, m in backbone.features(x).items()
        }


def test_writing_a_loaded_package_again_gives_the_same_files(pristine: Path, tmp_path: Path) -> None:
    model = get(pristine)
    reports = tuple(replace(report, path=pristine / report.path) for report in model.card.reports)
    write_package(tmp_path / "again", card=replace(model.card, reports=reports), backbone=model.backbone)
    for file in FILES:
        assert (tmp_path / "again" / file).read_bytes() == (pristine / file).read_bytes(), file


@pytest.mark.parametrize("file", sorted(FILES))
@pytest.mark.parametrize("damage", ["missing", "empty", "truncated", "longer", 0.0, 0.3, 0.7, 1.0])
def test_damage_to_any_file_is_one_line_of_complaint(package: Path, file: str, damage: str | float) -> None:
    content = (package / file).read_bytes()
    if damage == "missing":
        (package / file).unlink()
    elif isinstance(damage, float):  # one byte, so far into the file
        changed = bytearray(content)
        changed[int(damage * (len(content) - 1))] ^= 1
        (package / file).write_bytes(changed)
    else:
        (package / file).write_bytes(
            {"empty": b"", "truncated": content[: len(content) // 2]}.get(damage, content + b" ")
        )
    with pytest.raises(BadPackage) as caught:
        load_package(package)
    assert Path(file).name in str(caught.value) and len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"schema": 2}, "schema 2; this version reads 1"),
        ({"schema": None}, "schema None"),
        ({"surprise": 1}, "surprise"),
        ({"images": {"count": "many", "skipped": 0, "fingerprint": ""}}, "images.count"),
        ({"architecture": {"net": "mobile", "choices": [], "resolution_px": 32, "depth": 3}}, "architecture"),
        ({"manifest": {"../escape": {"bytes": 1, "sha256": ""}}}, "not a path inside"),
        ({"manifest": {"/etc/passwd": {"bytes": 1, "sha256": ""}}}, "not a path inside"),
        ({"manifest": {"C:\\x": {"bytes": 1, "sha256": ""}}}, "not a path inside"),
    ],
)
def test_a_config_of_another_shape_is_refused_even_when_its_digest_is_right(
    package: Path, change: dict[str, object], complaint: str
) -> None:
    body = json.loads((package / "config.json").read_text()) | change
    body.pop("sha256")
    (package / "config.json").write_text(zoo.package.card._sealed(body))
    with pytest.raises(BadPackage, match=re.escape(complaint)) as caught:
        load_package(package)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("text", ["", "[]", "null", "{", '{"schema": 1}', "[" * 100_000, '{"architectures": ["BERT"]}'])
def test_someone_elses_config_is_no_package(package: Path, text: str) -> None:
    (package / "config.json").write_text(text)
    with pytest.raises(BadPackage, match=r"config\.json"):
        load_package(package)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("schema: 1", "schema: 9"),
        ("bytes:", "weight:"),
        ("threads: 1", "threads: one"),
        ("artefacts:", "!!python/object/apply:os.getcwd []\nx:"),
        ("path: onnx/model.onnx", "path: ../../etc/passwd"),
    ],
)
def test_a_perf_file_of_another_shape_is_refused(package: Path, old: str, new: str) -> None:
    text = (package / "perf.yaml").read_text()
    assert old in text
    (package / "perf.yaml").write_text(text.replace(old, new))
    resealed(package)
    with pytest.raises(BadPackage):
        load_package(package)


def test_weights_of_another_architecture_are_refused(package: Path) -> None:
    weights = load_file(package / "model.safetensors")
    weights.popitem()
    save_file(weights, package / "model.safetensors")
    resealed(package)
    with pytest.raises(BadPackage, match="does not fit the architecture"):
        load_package(package)


def test_an_unknown_net_is_refused(package: Path, card: ModelCard) -> None:
    resealed(package, architecture=replace(card.architecture, net="other"))
    with pytest.raises(BadPackage, match="net 'other' is unknown"):
        load_package(package)


def test_verify_finds_weights_that_are_not_those_of_the_golden_outputs(package: Path) -> None:
    weights = load_file(package / "model.safetensors")
    name = next(name for name, tensor in weights.items() if tensor.dtype == torch.float32 and tensor.ndim == 4)
    save_file({**weights, name: weights[name] * 1.1}, package / "model.safetensors")
    resealed(package)
    load_package(package)
    with pytest.raises(VerificationFailed, match="does not reproduce"):
        load_package(package, verify=True)


def test_verify_finds_an_artefact_that_is_not_the_network(package: Path) -> None:
    golden = load_file(package / "golden.safetensors")
    save_file({**golden, "embedding": golden["embedding"].flip(0)}, package / "golden.safetensors")
    resealed(package)
    with pytest.raises(VerificationFailed, match="embedding"):
        load_package(package, verify=True)


def test_a_failure_midway_leaves_nothing(
    card: ModelCard, backbone: Backbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: object, **kwargs: object) -> str:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(zoo.package.folder, "config_text", fail)
    with pytest.raises(OSError, match=r"No space.*out"):  # which disk is full
        write_package(tmp_path / "out", card=card, backbone=backbone)
    assert list(tmp_path.iterdir()) == []


def test_a_package_is_overwritten_only_when_told(card: ModelCard, backbone: Backbone, tmp_path: Path) -> None:
    write_package(tmp_path / "out", card=card, backbone=backbone)
    with pytest.raises(OutputExists):
        write_package(tmp_path / "out", card=card, backbone=backbone)
    write_package(tmp_path / "out", card=card, backbone=backbone, overwrite=True)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_nothing_private_and_no_path_is_in_a_package(pristine: Path, tmp_path: Path) -> None:
    for file in FILES:
        content = (pristine / file).read_bytes()
        assert str(tmp_path.parents[1]).encode() not in content and str(Path.home()).encode() + b"/" not in content, (
            file
        )


def test_the_readme_has_a_valid_head_and_both_times(pristine: Path, card: ModelCard) -> None:
    text = (pristine / "README.md").read_text("utf-8")
    _, head, body = text.split("---\n", 2)
    assert yaml.safe_load(head)["license"] == "apache-2.0"
    measured = card.reports[0].measured
    assert measured is not None
    row = next(line for line in body.splitlines() if line.startswith("| `onnx/model.onnx` | fp32"))
    assert " 0.500 " in row and f" {measured.median_ms:.3f} " in row and "bench" in row
    for table in re.findall(r"(?:^\|.*\n)+", body, re.MULTILINE):
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}) == 1, table
    assert "non-commercial: research" in body and "cifar10" in body and "seed 7" in body


def test_the_readmes_snippets_run_and_agree(pristine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    snippets = re.findall(r"```python\n(.*?)```", (pristine / "README.md").read_text("utf-8"), re.DOTALL)
    package = Path(shutil.copytree(pristine, tmp_path / "package"))
    pixels = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(package / "photo.jpg")
    monkeypatch.chdir(package)
    plain: dict[str, object] = {}
    ours: dict[str, object] = {}
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(snippets[0], plain)
        exec(snippets[1], ours)
    assert "(1, 1504)" in printed.getvalue() and "p0" in printed.getvalue()
    torch.testing.assert_close(torch.from_numpy(plain["x"]), ours["x"], rtol=0, atol=1e-5)


def test_every_complaint_of_a_package_is_a_zoo_error(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "absent", Path("x" * 5000)):
        with pytest.raises(ZooError):
            load_package(folder)
