"""Shadowed: somebody else's folder that Python finds in place of one of ours. Imports nothing of ours, for that."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path


def shadowed() -> str | None:
    """Where a folder of somebody else's, as in the working directory, is found in place of one of ours."""
    ours = Path(__file__).parents[1]
    for room in ("search", "export", "hardware_profiles"):
        spec = find_spec(room)
        places = [Path(place) for place in (spec.submodule_search_locations or ())] if spec else []
        if places and ours / room not in places:
            return f"{places[0]} hides the zoo's own {room}; start Python in another folder, or rename that one"
    return None
