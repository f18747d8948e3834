"""The tables that come with the package, and what their figures have to be."""

import pytest

from hardware_profiles import LatencyTable, TableFile, find_device, list_tables
from hardware_profiles.tables.find import ALIASES

FILES = list_tables()
FITTED = [file for file in FILES if file.net != "any" and file.head().device.source == "fitted"]
EXACT = ("raspi4", "pixel3", "eyeriss")
PHONES = ("samsung-a50", "essential-ph-1")


def test_every_kind_of_device_has_a_representative_of_today_that_is_of_that_kind():
    for alias, device_id in ALIASES.items():
        assert find_device(alias, FILES) == device_id
        (file,) = [file for file in FILES if (file.device_id, file.net) == (device_id, "any")]
        head = file.head()
        assert head.device.kind == alias and head.validation is not None
        assert head.validation.median_percent <= 12 and head.validation.kendall_tau >= 0.88


def test_the_devices_that_the_documentation_names_are_there():
    ids = {file.device_id for file in FILES}
    assert ids >= {*EXACT, *PHONES, "titan-rtx", "titan-rtx-b32", "2080ti", "2080ti-b64", "gold-6240", "silver-4114"}


@pytest.mark.parametrize("file", FITTED, ids=lambda file: file.device_id)
def test_a_fitted_table_predicts_a_thousand_unseen_networks_as_well_as_promised(file: TableFile):
    head = file.head()
    limit = 0.1 if head.device.id in EXACT else 11 if head.device.id in PHONES else 2.5
    assert head.validation.networks == 1000 and head.validation.mape_percent <= limit
    assert head.validation.spearman_rho is not None
    assert head.device.license == "MIT" and "HELP" in head.device.reference


@pytest.fixture(scope="module")
def tables() -> list[LatencyTable]:
    return [file.load() for file in FITTED[:3]]


def test_a_fitted_table_keeps_the_networks_of_its_plot_and_its_blocks(tables):
    for table in tables:
        assert len(table.checks) == 200
        assert len(table.entries) == 104
        errors = [abs(check.predicted_ms / check.measured_ms - 1) for check in table.checks]
        assert 100 * sum(errors) / 200 == pytest.approx(table.validation.mape_percent, rel=0.5)


@pytest.mark.parametrize("file", [file for file in FILES if file.net == "any"], ids=lambda file: file.device_id)
def test_a_cost_model_that_misses_its_goal_says_so(file: TableFile):
    head = file.head()
    good = head.validation.median_percent <= 12 and head.validation.kendall_tau >= 0.88
    assert good != ("short of" in head.device.reference) and head.device.license and "http" not in head.device.id


def test_a_server_of_today_is_measured_at_every_size_of_photos_with_heads():
    measured = [file.load() for file in FILES if file.device_id.startswith("xeon-amx")]
    assert {(t.resolution_px, t.device.precision, t.device.threads) for t in measured} == {
        *((px, "fp32", 1) for px in (96, 128, 160, 224, 320)),
        (224, "int8", 1),
        (224, "fp32", 2),
    }
    for table in measured:
        kinds = {key.kind for key in table.entries}
        assert {"det_lateral", "det_up", "det_predict", "seg_high", "seg_predict"} <= kinds
        if table.resolution_px in (160, 224) and table.device.precision == "fp32" and table.device.threads == 1:
            assert table.validation.networks >= 100 and table.validation.mape_percent <= 4
