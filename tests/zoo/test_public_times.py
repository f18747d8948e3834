"""Public files of times: which rows count, what is refused, and the devices that come along."""

import csv
from dataclasses import replace
from pathlib import Path

import pytest

from hardware_profiles import BadTimes, MissingOp, block_ms, estimate_ms, list_tables
from search.nets import NETS
from search.nets.heads import head_ops
from search.types import Task
from zoo.devices.public import fit_published, read_published
from zoo.devices.tables import table_of

HEAD = "model,device,runtime,precision,latency_ms,compute_unit,layers,layers_cpu"
MODELS = ("resnet18", "resnet50", "mobilenet_v2", "mnasnet05", "googlenet", "squeezenet1_1", "densenet121", "regnet")


def write(path: Path, *more: str, head: str = HEAD, models=MODELS) -> Path:
    rows = [f"{name},My Board,qnn_dlc,float,{i + 2}.5,NPU,50," for i, name in enumerate(models)]
    path.write_text("\n".join([head, *rows, *more]) + "\n", "utf-8")
    return path


def test_rows_that_are_not_the_network_are_left_out_by_rule(tmp_path):
    extra = [
        "unknown_net,My Board,qnn_dlc,float,1,NPU,50,",
        "shufflenet_v2,My Board,qnn_dlc,float,1,CPU,50,",
        "vit,My Board,qnn_dlc,float,9,NPU,900,",
        "resnet18,My Board,qnn_dlc,w8a16,1,NPU,50,",
    ]
    published = read_published(write(tmp_path / "t.csv", *extra))
    model, left_out = fit_published(published, "torchvision", "my-board")
    assert model.validation.networks == len(MODELS) and model.device.precision == "fp16"
    assert dict(left_out) == {
        "not in torchvision": 1,
        "runs on another unit in part": 1,
        "no convolutional network": 1,
    }


def test_an_int8_network_that_falls_back_is_left_out(tmp_path):
    int8 = [f"{name},My Board,qnn_dlc,w8a8,{i + 1},NPU,50," for i, name in enumerate((*MODELS, "inception_v3"))]
    int8[0] = "resnet18,My Board,qnn_dlc,w8a8,9.0,NPU,50,"
    published = read_published(write(tmp_path / "t.csv", *int8))
    model, left_out = fit_published(published, "torchvision", "my-board-int8")
    assert left_out == {"its int8 falls back": 1} and model.validation.networks == len(MODELS)


@pytest.mark.parametrize(
    ("more", "head", "said"),
    [
        (["resnet101,My Board,qnn_dlc,float,fast,NPU,9,"], HEAD, "line 10: latency_ms is 'fast'"),
        (["resnet101,My Board,qnn_dlc,float,nan,NPU,9,"], HEAD, "line 10: latency_ms is 'nan'"),
        (["resnet101,My Board,qnn_dlc,float,-1,NPU,9,"], HEAD, "line 10: latency_ms is '-1'"),
        (["resnet101,My Board"], HEAD, "line 10"),
        ([], HEAD.replace("latency_ms", "time"), "no column latency_ms"),
        ([], HEAD.replace("device", "x").replace("runtime", "y"), "no column infer_img_size"),
    ],
)
def test_a_malformed_file_is_refused_with_its_line(tmp_path, more, head, said):
    with pytest.raises(BadTimes, match=said):
        read_published(write(tmp_path / "t.csv", *more, head=head))


def test_a_single_model_and_an_unknown_device_are_refused(tmp_path):
    published = read_published(write(tmp_path / "t.csv", models=MODELS[:1]))
    with pytest.raises(BadTimes, match="1 models are too few"):
        fit_published(published, "torchvision", "my-board")
    with pytest.raises(BadTimes, match="nearest: my-board"):
        fit_published(published, "torchvision", "My Board")


def test_times_of_one_device_in_large_batches_are_scaled_to_a_smaller_one(tmp_path):
    path = tmp_path / "timm-rtx3090-amp.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["model", "infer_img_size", "infer_step_time", "infer_batch_size"])
        writer.writerows([name, 224, 64 * (i + 1), 1024] for i, name in enumerate(("resnet18", "resnet50")))
    (one,) = read_published(path)
    assert (one.id, one.precision, one.rows[1].latency_ms, one.rows[1].batch) == ("rtx-3090", "fp16", 128, 1024)


def test_the_devices_of_today_price_photo_networks_at_every_size():
    devices = {file.device_id: file.head() for file in list_tables() if file.net == "any"}
    assert devices.keys() >= {
        *("galaxy-s24", "galaxy-s25", "snapdragon-8-elite-gen5", "snapdragon-7-gen4-int8"),
        *("rb3-gen2-int8", "iq-9075", "sa8295p", "i9-10940x", "rtx-3090", "rtx-5090"),
    }
    assert len(devices) >= 12
    net = NETS["mobile-photo"]
    for device, head in devices.items():
        assert head.device.reference and head.device.license in ("BSD-3-Clause", "Apache-2.0")
        if head.device.precision != "int8":
            assert head.validation.median_percent <= 12, device
    for px in (96, 320):
        table = table_of("galaxy-s24", "mobile-photo", px)
        times = [estimate_ms(table, net.ops(one)) for one in (net.smallest(px), net.largest(px))]
        assert 0.2 < times[0] < times[1] < 5


def test_the_blocks_of_heads_are_priced_for_any_number_of_classes():
    table = table_of("iq-9075", "mobile-photo", 224)
    channels = {"p3": 32, "p4": 112, "p5": 352}
    few, many = (head_ops(Task.DET, channels, classes, 224, 224) for classes in (1, 500))
    assert 0 < block_ms(table, few).sum() < block_ms(table, many).sum()
    with pytest.raises(MissingOp):
        block_ms(table, [replace(few[0], kind="unheard_of")])


def test_a_board_that_was_timed_at_32_px_is_estimated_at_photo_sizes_and_says_how_far_off():
    net = NETS["mobile-photo"]
    tables = [table_of("raspi4", "mobile-photo", px) for px in (96, 224)]
    assert all(table.device.source == "estimated" and table.validation is None for table in tables)
    assert all(5 < table.scaling.mape_percent < 30 and table.scaling.from_px == 32 for table in tables)
    small, large = (estimate_ms(table, net.ops(net.largest(table.resolution_px))) for table in tables)
    assert 2.5 * small < large < 1000
