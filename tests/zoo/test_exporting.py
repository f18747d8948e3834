"""`zoo export`: from a package, a name or a checkpoint to a package with all artefacts of a kind of device."""

import copy
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from PIL import Image

import export.delivery
import zoo.use.export
from export import ComparisonFailed, Delivered, UnsupportedTarget, read_document
from search.errors import NotEnoughImages
from search.images.read import read_images
from search.images.statistics import measure_statistics, save_statistics
from search.images.views import center
from search.nets import Backbone
from search.recalibrate import recalibrate
from tests.zoo.small_files import run
from zoo.catalogue.get import get
from zoo.errors import BadCheckpoint, BadPackage, BadRequest, OutputExists
from zoo.make.images import read_photos
from zoo.package.card import read_card, read_manifest
from zoo.package.folder import load_package, write_package
from zoo.types import ModelCard
from zoo.use.benchmark import benchmark
from zoo.use.export import Exported, Options, export_package

# Smooth, colored images, enough of them for both halves.
COUNT = 96
FP32 = Options(precisions=("fp32",))


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    for i in range(COUNT):
        coarse = Image.fromarray(rng.integers(0, 256, (3, 3, 3), dtype=np.uint8))
        coarse.resize((20, 20), Image.Resampling.BICUBIC).save(folder / f"{i:02d}.png")
    return folder


@pytest.fixture(scope="session")
def source(card: ModelCard, backbone: Backbone, photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A package of a network that was made for these photos."""
    how = card.preprocess
    network = copy.deepcopy(backbone)
    pixels = read_images(photos, size_px=how.size_px[0], min_images=COUNT).pixels
    recalibrate(network, [center(pixels, how.size_px[0], how.mean, how.std)])
    folder = tmp_path_factory.mktemp("source") / "package"
    write_package(folder, card=card, backbone=network)
    return folder


@pytest.fixture(scope="session")
def exported(source: Path, photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """An edge package that no test may change."""
    out = tmp_path_factory.mktemp("exported") / "edge"
    return export_package(source, target="edge", calibration=photos, out=out, options=Options(min_agreement=0.0))


def test_the_new_package_has_all_artefacts_with_their_evidence_and_verifies(exported: Exported) -> None:
    model = get(exported.path, verify=True)
    assert not exported.delivered.refused, [one.quantization for one in exported.delivered.failed]
    names = ["onnx/model.onnx", "onnx/model_int8.onnx", "onnx/model_fp16.onnx"]
    assert [report.path.as_posix() for report in model.card.reports] == names
    assert all(report.measured is not None and report.comparison.images == COUNT // 2 for report in model.card.reports)
    assert model.card.reports[1].quantization is not None


def test_the_report_and_the_page_are_in_the_package_and_its_manifest(exported: Exported) -> None:
    _, manifest = read_manifest(exported.path)
    assert {"EXPORT.md", "export.json"} <= set(manifest)
    delivered = read_document(Delivered, json.loads((exported.path / "export.json").read_text("utf-8")))
    assert [report.sha256 for report in delivered.reports] == [
        manifest[report.path.as_posix()].sha256 for report in exported.card.reports
    ]
    page = (exported.path / "EXPORT.md").read_text("utf-8")
    best = exported.delivered.recommended
    assert best is not None and f"Take `{best.path.name}`" in page


def test_metadata_tells_the_story_to_a_bare_runtime(exported: Exported) -> None:
    for report in exported.card.reports:
        session = onnxruntime.InferenceSession(exported.path / report.path, providers=["CPUExecutionProvider"])
        props = session.get_modelmeta().custom_metadata_map
        assert {"preprocess", "name", "net", "architecture", "task", "license", "supernet", "made_by"} <= set(props)


def test_nothing_private_is_in_any_file(exported: Exported, photos: Path) -> None:
    for path in exported.path.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert str(photos).encode() not in content, path.name
            assert str(exported.path.parent).encode() not in content, path.name
            assert b"/zoo-" not in content, path.name


def test_a_package_can_be_exported_again_from_its_own_export(exported: Exported, photos: Path, tmp_path: Path) -> None:
    again = export_package(exported.path, target="point", calibration=photos, out=tmp_path / "point", options=FP32)
    assert [report.path.name for report in again.card.reports] == ["model.onnx", "model.ort"]
    assert load_package(tmp_path / "point", verify=True).card.reports[1].target.format == "ort"


def test_options_change_what_is_made(pristine: Path, photos: Path, tmp_path: Path) -> None:
    options = Options(precisions=("fp32",), opset=15, batch=4, resolution_px=24, uint8_input=True, simplify=False)
    made = export_package(pristine, target="edge", calibration=photos, out=tmp_path / "out", options=options)
    (report,) = made.card.reports
    assert (report.target.opset, report.target.input_nchw, report.target.uint8_input) == (15, (4, 3, 24, 24), True)
    assert made.card.architecture.resolution_px == 24 and made.card.preprocess.size_px == (24, 24)
    session = onnxruntime.InferenceSession(made.path / report.path, providers=["CPUExecutionProvider"])
    assert (session.get_inputs()[0].shape, session.get_inputs()[0].type) == ([4, 24, 24, 3], "tensor(uint8)")
    load_package(tmp_path / "out", verify=True)


def test_a_trained_head_is_exported_with_the_network_and_its_classes(
    source: Path, photos: Path, tmp_path: Path
) -> None:
    head = get(source).with_head(3)
    made = export_package(
        source,
        target="edge",
        calibration=photos,
        out=tmp_path / "out",
        options=FP32,
        head=head,
        classes=["a", "b", "c"],
    )
    (report,) = made.card.reports
    assert [output.output for output in report.comparison.outputs] == ["logits"]
    assert report.comparison.top1_agreement == 1.0 and report.predicted_ms is None
    load_package(tmp_path / "out", verify=True)


def test_a_supernet_with_an_architecture_is_a_checkpoint(home: Path, photos: Path, tmp_path: Path) -> None:
    made = export_package(
        "mobile-mocov2", target="cloud", calibration=photos, out=tmp_path / "out", options=FP32, architecture="smallest"
    )
    assert made.card.name == "mobile-mocov2-smallest" and made.card.recipe.tries == ()
    assert made.card.reports[0].target.dynamic_batch
    load_package(tmp_path / "out", verify=True)


@pytest.mark.parametrize("architecture", [None, "biggest", "{}", "[1, 2]"])
def test_a_supernet_without_a_network_is_one_line(
    home: Path, photos: Path, tmp_path: Path, architecture: str | None
) -> None:
    with pytest.raises((BadCheckpoint, ValueError)) as caught:
        export_package(
            "mobile-mocov2", target="edge", calibration=photos, out=tmp_path / "out", architecture=architecture
        )
    assert len(str(caught.value).splitlines()) == 1 and not (tmp_path / "out").exists()


def test_a_package_has_its_architecture_already(pristine: Path, photos: Path, tmp_path: Path) -> None:
    with pytest.raises(BadCheckpoint, match="leave --architecture out"):
        export_package(pristine, target="edge", calibration=photos, out=tmp_path / "o", architecture="largest")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (Options(opset=19), "opset 19"),
        (Options(opset=12), "opset 12"),
        (Options(nms=True, batch=0), "dynamic"),
    ],
)
def test_what_cannot_be_made_is_refused_before_the_images_are_read(
    pristine: Path, tmp_path: Path, options: Options, message: str
) -> None:
    with pytest.raises(UnsupportedTarget, match=message):
        export_package(pristine, target="edge", calibration=tmp_path / "absent", out=tmp_path / "o", options=options)
    assert list(tmp_path.iterdir()) == []


def test_an_empty_folder_of_images_is_one_line(pristine: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(NotEnoughImages, match="0 usable images"):
        export_package(pristine, target="edge", calibration=tmp_path / "empty", out=tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["empty"]


def test_a_folder_that_is_not_empty_is_refused(pristine: Path, photos: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(OutputExists):
        export_package(pristine, target="edge", calibration=photos, out=tmp_path)


def break_the(precision: str, monkeypatch: pytest.MonkeyPatch) -> None:
    make = export.delivery.export

    def export_broken(module: object, images: object, **arguments: object) -> object:
        target = arguments["target"]
        if target.precision == precision:  # type: ignore[attr-defined]
            impossible = replace(target.tolerance, min_cosine=1.1)  # type: ignore[attr-defined]
            arguments["target"] = replace(target, tolerance=impossible)  # type: ignore[type-var]
        return make(module, images, **arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(export.delivery, "export", export_broken)


def test_a_failing_artefact_is_kept_aside_the_command_exits_4_and_the_rest_is_delivered(
    pristine: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    break_the("fp16", monkeypatch)
    arguments = ["--target", "edge", "--calibration", str(photos), "--quantize", "16", "-o", str(tmp_path / "out")]
    ran = run("export", pristine, *arguments, "--json")
    assert ran.exit_code == 4
    document = json.loads(ran.stdout)
    assert len(document["refused"]) == 1 and document["recommended"] == "onnx/model.onnx"
    assert (tmp_path / "out" / "failed" / "model_fp16.failed.onnx").is_file()
    assert not any("failed" in file for file in read_manifest(tmp_path / "out")[1])
    load_package(tmp_path / "out", verify=True)


def test_without_a_right_fp32_artefact_there_is_no_package_but_the_wrong_one_is_kept(
    pristine: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    break_the("fp32", monkeypatch)
    with pytest.raises(ComparisonFailed):
        export_package(pristine, target="edge", calibration=photos, out=tmp_path / "out", options=FP32)
    assert [path.name for path in tmp_path.iterdir()] == ["out.failed.onnx"]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(28, "No space left on device")])
def test_an_interruption_or_a_full_disk_leaves_nothing(
    pristine: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    def fail(*args: object, **kwargs: object) -> None:
        raise error

    monkeypatch.setattr(zoo.use.export, "write_package", fail)
    with pytest.raises(type(error)):
        export_package(pristine, target="edge", calibration=photos, out=tmp_path / "out", options=FP32)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "words",
    [["--quantize", "4"], ["--target", "phone"], ["--opset", "30"], ["--batch", "-1"], ["--min-agreement", "2"]],
)
def test_usage_errors_exit_2_on_one_line(pristine: Path, photos: Path, tmp_path: Path, words: list[str]) -> None:
    given = ["--target", "edge", "--calibration", str(photos), "-o", str(tmp_path / "out")]
    ran = run("export", pristine, *given, *words)
    assert ran.exit_code == 2
    assert not (tmp_path / "out").exists()


def test_every_artefact_is_timed_at_every_setting(exported: Exported) -> None:
    rows = benchmark(exported.path, threads=[1, 2], batches=[1, 4], rounds=1)
    # Static artefacts run at their own batch size only.
    assert [(row.file, row.threads, row.batch) for row in rows] == [
        (report.path.as_posix(), threads, 1) for threads in (1, 2) for report in exported.card.reports
    ]
    for row in rows:
        assert 0 < row.median_ms <= row.p90_ms and row.samples >= 3
        assert row.images_per_s == pytest.approx(1000 * row.batch / row.median_ms)
    assert all(any(row.is_fastest for row in rows if row.threads == threads) for threads in (1, 2))


def test_the_benchmark_command_prints_json_and_draws(exported: Exported, tmp_path: Path) -> None:
    plot = tmp_path / "plot.png"
    words = ["benchmark", str(exported.path), "--threads", "1", "--json", "--plot", str(plot)]
    ran = run(*words)
    assert ran.exit_code == 0, ran.stderr
    assert len(json.loads(ran.stdout)["rows"]) == 3
    with Image.open(plot) as picture:
        assert picture.format == "PNG"
    assert [path.name for path in tmp_path.iterdir()] == ["plot.png"]


def test_a_plot_of_another_kind_is_one_line(exported: Exported, tmp_path: Path) -> None:
    words = ["benchmark", str(exported.path), "--threads", "1", "--plot", str(tmp_path / "plot.txt")]
    assert run(*words).exit_code == 2


def test_a_damaged_artefact_is_not_timed(exported: Exported, tmp_path: Path) -> None:
    package = Path(shutil.copytree(exported.path, tmp_path / "package"))
    artefact = package / "onnx" / "model_int8.onnx"
    artefact.write_bytes(artefact.read_bytes()[:-1] + b"x")
    with pytest.raises(BadPackage, match="damaged"):
        benchmark(package, threads=[1], rounds=1)


def test_without_images_int8_is_left_out_and_said(pristine: Path, tmp_path: Path) -> None:
    said: list[str] = []
    made = export_package(pristine, target="edge", out=tmp_path / "out", say=said.append)
    assert [report.target.precision for report in made.card.reports] == ["fp32", "fp16"]
    assert not made.delivered.refused and made.delivered.drift is None
    assert any("int8 is left out" in line for line in said) and "int8 is left out" in made.delivered.notes[-1]
    load_package(tmp_path / "out", verify=True)
    for options in (Options(precisions=("int8",)), Options(resolution_px=24)):
        with pytest.raises(BadRequest, match="--calibration"):
            export_package(pristine, target="edge", out=tmp_path / "other", options=options)
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize(("passes", "precisions"), [(True, ["fp32", "int8", "fp16"]), (False, ["fp32", "fp16"])])
def test_a_name_that_was_searched_on_generated_images_gets_int8_of_such_images_where_it_passes(
    home: Path, card: ModelCard, backbone: Backbone, photos: Path, tmp_path: Path, passes: bool, precisions: list[str]
) -> None:
    folder = home / "supernets" / "mobile-mocov2"
    save_statistics(measure_statistics(read_images(photos, size_px=16).pixels), folder)
    how, px = card.preprocess, card.preprocess.size_px[0]
    network = copy.deepcopy(backbone)
    recalibrate(network, [center(read_photos(None, size_px=px, beside=folder).pixels, px, how.mean, how.std)])
    images = replace(card.images, fingerprint="generated: 64 dead leaves, seed 0")
    write_package(tmp_path / "source", card=replace(card, images=images), backbone=network)
    words = ["export", str(tmp_path / "source"), "--target", "edge", "-o", str(tmp_path / "out")]
    ended = run(*words, "--min-agreement", "0" if passes else "1")
    assert ended.exit_code == 0, ended.stderr
    about = read_card(tmp_path / "out")
    assert [report.target.precision for report in about.reports] == precisions
    assert all("compared on generated images" in report.notes for report in about.reports)
    told = "int8 got its ranges from them" if passes else "int8 did not pass with their ranges"
    assert told in ended.stderr
    assert not list(tmp_path.glob("out/failed/*"))
