"""Started: the turns that an unfinished measurement has had, in a file, so that the same command goes on."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

from hardware_profiles.errors import BadKit
from hardware_profiles.timing.rounds import Turn

SCHEMA = 1
_SAVE_SECONDS = 5.0
_MAX_BYTES = 50_000_000


class Started:
    """The file of one measurement.

    Args:
        path: of the file; it need not exist.
        settings: what is measured, with what and how; JSON values.
        clock: seconds.
    """

    def __init__(self, path: Path, settings: Mapping[str, Any], *, clock: Callable[[], float] = time.monotonic) -> None:
        self._path = path
        self._settings = json.loads(json.dumps(settings))
        self._clock = clock
        self._saved_at = -math.inf

    def load(self, names: Sequence[str]) -> dict[str, list[Turn]]:
        """The turns so far of each of ``names``; none where nothing was started.

        Raises:
            BadKit: the file is malformed, or of other settings.
        """
        turns: dict[str, list[Turn]] = {name: [] for name in names}
        if not self._path.exists():
            return turns
        try:
            with self._path.open("rb") as file:
                document = json.loads(file.read(_MAX_BYTES))
            schema, settings, had = document["schema"], document["settings"], document["turns"]
            found = {name: [_turn(value) for value in had.get(name, [])] for name in names}
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise BadKit(f"{self._path}: is no started measurement that this version can go on with; {_FIX}") from error
        if schema != SCHEMA or settings.keys() != self._settings.keys():
            raise BadKit(f"{self._path}: was started by another version; {_FIX}")
        for key, value in self._settings.items():
            if settings[key] != value:
                was, now = (json.dumps(v)[:60] for v in (settings[key], value))
                raise BadKit(f"{self._path}: was started with {key} {was}, now it is {now}; {_FIX}")
        return found

    def save(self, turns: Mapping[str, Sequence[Turn]], *, now: bool = False) -> None:
        """Write the turns, at most every 5 seconds unless ``now``.

        Raises:
            BadKit: the file cannot be written.
        """
        if not now and self._clock() - self._saved_at < _SAVE_SECONDS:
            return
        document = {"schema": SCHEMA, "settings": self._settings, "turns": turns}
        temporary = None
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with NamedTemporaryFile("w", dir=self._path.parent, prefix=f"{self._path.name}.", delete=False) as file:
                temporary = Path(file.name)
                json.dump(document, file)
            temporary.replace(self._path)
        except OSError as error:
            if temporary is not None:
                temporary.unlink(missing_ok=True)
            raise BadKit(f"{self._path}: cannot be written: {error.strerror}; choose another folder") from error
        self._saved_at = self._clock()

    def finish(self) -> None:
        """Remove the file: the measurement is complete."""
        self._path.unlink(missing_ok=True)


_FIX = "remove the file to start over"


def _turn(value: Any) -> Turn:
    """One turn, checked: two finite times in ns, the median first, and how many samples."""
    median_ns, p90_ns, samples = value
    if not (0 <= median_ns <= p90_ns < math.inf and type(samples) is int and samples > 0):
        raise ValueError(f"{value!r} is no turn")
    return float(median_ns), float(p90_ns), samples
