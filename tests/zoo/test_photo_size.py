"""Photos: inputs of any shape, the whole of a picture, and budgets that say something."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from PIL import Image

from hardware_profiles.estimate import estimate_ms
from hardware_profiles.tables.files import load_table, save_table
from hardware_profiles.tables.find import find_table as find_file
from hardware_profiles.tables.find import keep_table, list_tables, table_name
from hardware_profiles.tables.resize import resize_table
from hardware_profiles.types import Latency, LatencyTable
from search.images.read import read_images
from search.images.views import center
from search.labels.inputs import Input
from search.nets import NETS
from search.nets.heads import CLASSES, Whole, make_head
from search.nets.whole import Framed, Headed, all_head_ops, family_for
from search.subnets.costs import CostModel
from search.types import Budget, Task
from tests.zoo.small_files import run
from zoo.catalogue.get import get
from zoo.devices.fitted import find_table
from zoo.devices.this_machine import blocks_of, networks_of
from zoo.errors import BadRequest, MissingHeads
from zoo.home import own_tables
from zoo.make.job import check_size, prepare
from zoo.make.search import search
from zoo.report.facts import read_facts
from zoo.types import no_progress
from zoo.use.export import Options, export_package

PHOTO = NETS["mobile-photo"]
WIDE = (192, 128)  # width x height


def test_a_wide_input_has_blocks_of_the_maps_that_its_networks_make() -> None:
    for task in (Task.DET, Task.SEG):
        family = Headed(PHOTO, task, 3, WIDE[0])
        architecture = PHOTO.smallest(WIDE[1])
        whole = Whole(family.build(architecture).eval(), make_head(task, family.channels(architecture), 3).eval(), task)
        seen = shapes_of_maps(whole, WIDE)
        wanted = {(key.height_px, key.width_px) for key in family.ops(architecture)}
        assert wanted <= seen and all(3 * height == 2 * width for height, width in wanted)


def shapes_of_maps(whole: Whole, size: tuple[int, int]) -> set[tuple[int, int]]:
    """Height and width of what each convolution reads."""
    seen: set[tuple[int, int]] = set()
    for part in whole.modules():
        if isinstance(part, torch.nn.Conv2d):
            part.register_forward_pre_hook(lambda _, x: seen.add(tuple(x[0].shape[2:])))
    whole(torch.zeros(1, 3, *size[::-1]))
    return seen


def test_a_square_frame_is_the_net_itself() -> None:
    for px in (96, 160):
        assert Framed(PHOTO).parts(px) == PHOTO.parts(px) == Framed(PHOTO, px).parts(px)
        assert Headed(PHOTO, Task.DET, 5).parts(px) == Headed(PHOTO, Task.DET, 5, px).parts(px)


def test_a_cost_model_prices_wide_inputs_between_the_squares_around_them() -> None:
    family = {px: family_for(PHOTO, Task.DET, 20, px) for px in (None, WIDE[0])}
    ms = {}
    for height, width in ((128, None), (128, 192), (192, None)):
        table = find_table("galaxy-s24", net=PHOTO.name, resolution_px=height, width_px=width)
        assert table.width_px == width
        rows = PHOTO.encode([PHOTO.largest(height)])
        ms[height, width] = CostModel(family[width], table)(rows).predicted_ms[0]
    assert ms[128, None] < ms[128, 192] < ms[192, None]


def test_what_is_measured_of_a_wide_input_are_its_blocks() -> None:
    blocks = blocks_of(PHOTO, 96, (3,), 128)
    networks = networks_of(PHOTO, 96, 6, width_px=128, batch=1, seed=0, classes=(3,))
    assert all(network.input_nchw == (1, 3, 96, 128) for network in networks)
    assert all(key in blocks for network in networks for key in network.ops)


def wide_table(device: str = "wide-board", ms: float = 1.0) -> LatencyTable:
    square = find_table("galaxy-s24", net=PHOTO.name, resolution_px=128)
    keys = (*Framed(PHOTO, WIDE[0]).op_keys(WIDE[1]), *all_head_ops(PHOTO, WIDE[1], (CLASSES, 3), WIDE[0]))
    return LatencyTable(
        device=replace(square.device, id=device, source="measured"),
        net=PHOTO.name,
        resolution_px=WIDE[1],
        width_px=WIDE[0],
        entries={key: Latency(median_ms=ms, p90_ms=ms, samples=1) for key in keys},
        overhead_ms=0.0,
        scale=1.0,
        validation=None,
        measured_at="2026-01-01T00:00:00+00:00",
    )


def test_a_table_of_a_wide_input_is_kept_under_width_and_height_and_found_by_both(tmp_path: Path) -> None:
    table = wide_table()
    assert load_table(save_table(table, tmp_path / "x.yaml")) == table
    assert table_name(table) == "wide-board.mobile-photo-192x128px.yaml" == keep_table(table, tmp_path).name
    assert find_file("wide-board", net=PHOTO.name, resolution_px=128, width_px=192, folders=[tmp_path]) == table
    (file,) = [file for file in list_tables([tmp_path]) if file.device_id == "wide-board"]
    assert (file.net, file.resolution_px, file.width_px) == (PHOTO.name, 128, 192)


def test_a_measured_square_is_carried_over_to_a_wide_input_as_an_estimate() -> None:
    square = find_table("xeon-amx", net=PHOTO.name, resolution_px=160)
    wide = resize_table(square, *reversed(WIDE))
    ops = Headed(PHOTO, Task.DET, CLASSES, WIDE[0]).ops(PHOTO.largest(WIDE[1]))
    small = find_table("xeon-amx", net=PHOTO.name, resolution_px=128)
    large = find_table("xeon-amx", net=PHOTO.name, resolution_px=224)
    same = Headed(PHOTO, Task.DET, CLASSES)
    limits = [estimate_ms(t, same.ops(PHOTO.largest(t.resolution_px))) for t in (small, large)]
    assert wide.device.source == "estimated" and limits[0] < estimate_ms(wide, ops) < limits[1]


@pytest.mark.parametrize(
    ("size", "task", "net", "said"),
    [
        ((320, 100), Task.DET, "resnet-photo", "ask for 320x96"),
        ((64, 64), Task.CLS, "mobile-photo", "96 to 320 px in multiples of 32, not 64; ask for 96"),
        ((352, 352), Task.SEG, "mobile-photo", "ask for 320"),
        ((320, 192), Task.CLS, "mobile-photo", "sees a center square, not 320x192 px; ask for 320"),
        ((64, 32), Task.DET, "mobile", "mobile takes squares"),
    ],
)
def test_a_size_that_does_not_fit_is_refused_with_one_that_does(
    size: tuple[int, int], task: Task, net: str, said: str
) -> None:
    with pytest.raises(BadRequest, match=said):
        check_size(net, size, task)


@pytest.fixture(autouse=True)
def empty_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZOO_HOME", str(tmp_path / "home"))


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Pictures of odd sizes, each with a bright edge."""
    folder = tmp_path / "photos"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for i in range(64):
        height, width = int(rng.integers(33, 90)), int(rng.integers(33, 90))
        Image.fromarray(rng.integers(0, 200, (height, width, 3), dtype=np.uint8)).save(folder / f"{i:02}.png")
    return folder


def test_images_are_read_whole_in_any_shape(photos: Path) -> None:
    pixels = read_images(photos, size_px=(48, 80), letterbox=True).pixels
    assert pixels.shape == (64, 3, 48, 80)
    assert center(pixels, (48, 80)).shape == (64, 3, 48, 80)
    with pytest.raises(ValueError, match="one side unless images are letterboxed"):
        read_images(photos, size_px=(48, 80))


def test_a_detector_for_a_wide_input_sees_whole_photos_and_answers_in_their_pixels(
    photos: Path, tmp_path: Path, short: None
) -> None:
    keep_table(wide_table(), own_tables())
    made = search(
        photos, device="wide-board", budget="40ms", task="det", classes=3, resolution_px=WIDE, out=tmp_path / "out"
    )
    assert made.card.name == "data-mocov2-det-40ms-192x128px@wide-board"
    assert (made.card.preprocess.size_px, made.card.preprocess.fit) == ((128, 192), "letterbox")
    model = get(made.path, verify=True)
    graph = onnx.load(model.onnx_path).graph
    assert [d.dim_value for d in graph.input[0].type.tensor_type.shape.dim][2:] == [128, 192]
    for size in ((33, 91), (91, 33), (640, 9), (50, 50)):
        image = Image.fromarray(np.random.default_rng(1).integers(0, 256, (*size[::-1], 3), dtype=np.uint8))
        (found,) = model.predict([image])
        assert found.size_px == size
        assert all(0 <= b.x0_px <= b.x1_px <= size[0] and 0 <= b.y0_px <= b.y1_px <= size[1] for b in found.boxes)
    options = Options(precisions=())
    exported = export_package(made.path, target="edge", calibration=photos, out=tmp_path / "edge", options=options)
    assert exported.card.reports[0].target.input_nchw == (1, 3, 128, 192)
    assert {"wide-board", "galaxy-s24"} <= {time.device for time in read_facts(made.path).devices}


@pytest.mark.parametrize("size", [(301, 77), (77, 301), (199, 200), (1001, 640)])
@pytest.mark.parametrize("size_px", [(128, 192), (160, 160), (320, 96)])
def test_where_a_thing_lies_in_the_input_tells_where_it_lies_in_a_photo_of_any_odd_size(
    size: tuple[int, int], size_px: tuple[int, int]
) -> None:
    width, height = size
    pixels = np.zeros((height, width, 3), np.uint8)
    left, top, right, bottom = width // 4, height // 3, width - 5, height - 9
    pixels[top:bottom, left:right] = 255
    how = Input(size_px=size_px, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0), fit="letterbox")
    seen, placed = how.pixels(Image.fromarray(pixels)), how.place(size)
    assert seen.shape == (*size_px, 3)
    rows, columns = np.nonzero(seen[..., 0] > 190)
    found = [
        (columns.min() - placed.dx) / placed.scale,
        (rows.min() - placed.dy) / placed.scale,
        (columns.max() + 1 - placed.dx) / placed.scale,
        (rows.max() + 1 - placed.dy) / placed.scale,
    ]
    assert np.abs(np.array(found) - [left, top, right, bottom]).max() <= max(1.0, 1.5 / placed.scale)


def test_a_budget_that_limits_nothing_is_said_before_anything_is_scored(photos: Path, tmp_path: Path) -> None:
    for ms, limits in ((2.0, False), (0.5, True)):
        said: list[str] = []
        prepare(
            ["galaxy-s24"],
            [Budget(latency_ms=ms)],
            images=photos,
            task=Task.DET,
            supernet="resnet-photo-mocov2-taught",
            resolution_px=96 if not limits else None,
            threads=None,
            seed=0,
            progress=no_progress,
            say=said.append,
        )
        assert any("limits nothing on galaxy-s24" in line for line in said) != limits


NO_ROOM = "resnet-photo-mocov2-taught has hardly a network within the budget on {}, so mobile-photo-mocov2 is searched"


@pytest.mark.parametrize(
    ("device", "ms", "found", "told"),
    [
        ("rtx-5090", 1.0, "resnet-photo", ""),
        ("rtx-5090", 0.6, "mobile-photo", NO_ROOM),  # the smallest ResNet alone takes less
        ("rtx-5090", 0.1, "mobile-photo", NO_ROOM),
        ("q-6690-int8", 0.1, "resnet-photo", NO_ROOM),  # the other one is even farther from the budget
        ("raspi4", 200.0, "mobile-photo", "device '{}' has no table of resnet-photo"),
    ],
)
def test_unless_told_the_first_supernet_with_a_choice_within_the_budget_is_searched(
    photos: Path, device: str, ms: float, found: str, told: str
) -> None:
    said: list[str] = []
    (job,) = prepare(
        [device],
        [Budget(latency_ms=ms)],
        images=photos,
        task=Task.CLS,
        supernet=None,
        resolution_px=None,
        threads=None,
        seed=0,
        progress=no_progress,
        say=said.append,
    )
    assert job.ready.supernet.card.net == job.family.name == job.table.latencies.net == found
    assert told == "" or any(line.startswith(told.format(device)) for line in said)


def test_a_table_of_backbones_alone_has_no_detectors_and_says_what_to_do(photos: Path, tmp_path: Path) -> None:
    said = (
        r"no time for det_lateral .*; measure it: zoo devices measure .*without --supernet it is estimated for photos"
    )
    with pytest.raises(MissingHeads, match=said):
        search(photos, device="raspi4", budget="40ms", task="det", supernet="mobile-mocov2", out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (["--task", "det", "--classes", "0"], 2, "0 classes; a head has 1 to 10000"),
        (["--task", "seg", "--classes", "-1"], 2, "-1"),
        (["--task", "cls", "--classes", "3"], 2, "3 classes for task cls"),
        (["--task", "det", "--resolution", "100"], 2, "96 to 320 px in multiples of 32, not 100; ask for 96"),
        (["--task", "seg", "--resolution", "352"], 2, "ask for 320"),
        (["--resolution", "320x192"], 2, "sees a center square"),
        (["--resolution", "0"], 2, "is not a number of pixels above 0"),
        (["--resolution", "320x"], 2, "is not a number of pixels above 0"),
        (["--task", "det", "--device", "galaxy s24"], 1, "nearest: galaxy-s24"),
        (["--task", "det", "--device", "Galaxy-S24"], 1, "nearest: galaxy-s24"),
    ],
)
def test_bad_requests_are_one_line_and_leave_nothing(
    options: list[str], code: int, said: str, photos: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    result = run("search", "--images", photos, "--budget", "1ms", "-o", out, *options)
    lines = [line for line in result.stderr.splitlines() if line]
    assert result.exit_code == code and said in lines[-1] and not out.exists(), result.stderr
