from pathlib import Path

import numpy as np
import pytest

from hardware_profiles.errors import BadTimes
from search.nets import NETS
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
