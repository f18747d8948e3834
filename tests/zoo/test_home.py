from pathlib import Path

import pytest

from zoo.errors import BadHome
from zoo.home import home_folder, zoo_home


def test_the_environment_names_the_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZOO_HOME", str(tmp_path / "home"))
    assert zoo_home() == tmp_path / "home"
    assert not zoo_home().exists()
    assert home_folder("packages").is_dir()


def test_without_it_the_home_is_the_users_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ZOO_HOME", raising=False)
    assert zoo_home().is_absolute() and zoo_home().name == "subnet-zoo"


def test_a_home_that_cannot_be_made_says_which_variable_to_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("x")
    monkeypatch.setenv("ZOO_HOME", str(tmp_path / "file"))
    with pytest.raises(BadHome, match="set ZOO_HOME"):
        home_folder("packages")


def test_a_user_without_a_home_is_told_which_variable_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HOME", "ZOO_HOME", "XDG_CACHE_HOME", "USERPROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("os.path.expanduser", lambda path: path)  # what it does where the list of users has no line
    with pytest.raises(BadHome, match="set ZOO_HOME to a folder you can write"):
        zoo_home()
