import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hardware_profiles import BadTimes, MissingOp, block_ms, estimate_ms, list_tables
from search.nets import NETS
from search.nets.heads import head_ops
from search.types import Task
from zoo.devices.public import fit_published, read_published
from zoo.devices.tables import table_of
from zoo.devices.times import read_times, times_text

NET = NETS["mobile"]
RNG = np.random.default_rng(0)
NETWORKS = [NET.random(32, RNG) for _ in range(4)]
OPTIONS = " ".join(map(str, NETWORKS[0].choices))


def written(folder: Path, text: str | bytes) -> Path:
    path = folder / "times.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


@pytest.mark.parametrize("name", ["mobile", "resnet"])
def test_times_that_were_written_are_read_back(tmp_path: Path, name: str) -> None:
    net = NETS[name]
    networks = [net.random(32, np.random.default_rng(i)) for i in range(4)]
    read = read_times(written(tmp_path, times_text(networks, [1.5, 0.1, 1e-3, 7.0])), net, 32)
    assert read.architectures == tuple(networks) and read.latency_ms == (1.5, 0.1, 1e-3, 7.0)
    assert read.networks(net)[0] == net.ops(networks[0])


def test_order_of_columns_labels_blank_lines_and_a_byte_order_mark_do_not_matter(tmp_path: Path) -> None:
    plain = read_times(written(tmp_path, f"architecture,latency_ms\n{OPTIONS},2\n"), NET, 32)
    other = f"\ufefflatency_ms, network,architecture\r\n2.0,my net,  {OPTIONS} \r\n\r\n"
    assert read_times(written(tmp_path, other), NET, 32) == plain


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "has no column architecture, but nothing"),
        ("architecture,latency\n", "has no column latency_ms, but 'architecture', 'latency'"),
        ("architecture,latency_ms,owner\n", "column 'owner' is not known"),
        ("architecture,latency_ms,latency_ms\n", "comes twice"),
        ("architecture,latency_ms\n", "holds no network; `zoo devices sample"),
        (f"architecture,latency_ms\n{OPTIONS},\n", "line 2: latency_ms is ''"),
        (f"architecture,latency_ms\n{OPTIONS},nan\n", "line 2: latency_ms is 'nan'"),
        (f"architecture,latency_ms\n{OPTIONS},-3\n", "line 2: latency_ms is '-3'"),
        (f"architecture,latency_ms\n{OPTIONS},0\n", "above 0"),
        (f"architecture,latency_ms\n{OPTIONS},inf\n", "above 0"),
        (f"architecture,latency_ms\n{OPTIONS},3 ms\n", "'3 ms'"),
        (f"architecture,latency_ms\n{OPTIONS},1\n{OPTIONS},2\n", "line 3: the network of line 2 again"),
        (f"architecture,latency_ms\n{OPTIONS} skip,1\n", "23 options, mobile has 22 choices"),
        (f"architecture,latency_ms\n{OPTIONS.replace('k', 'q', 1)},1\n", "mobile has "),
        (f"architecture,latency_ms\n{OPTIONS},1,2\n", "line 2: 3 columns, the heading has 2"),
        ('architecture,latency_ms\n"a,1\n', "line 2"),
        (b"architecture,latency_ms\n\xff\xfe", "not UTF-8"),
    ],
)
def test_a_bad_file_is_refused_on_one_line_that_names_it(tmp_path: Path, text: str | bytes, said: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(BadTimes) as error:
        read_times(path, NET, 32)
    assert said in str(error.value) and str(error.value).startswith(str(path)) and "\n" not in str(error.value)


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
