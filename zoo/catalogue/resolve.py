"""Lookup: what a name stands for and what is known of it, without making or loading anything, and without torch."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from zoo.catalogue import Entry, find_entry
from zoo.catalogue.cache import find_cached
from zoo.catalogue.list import nearest_models
from zoo.devices.names import REFERENCE, device_id
from zoo.errors import BadName, BadPackage, UnknownName
from zoo.hub.address import Address, find_address
from zoo.names import Name, parse_name, shown
from zoo.package.card import CONFIG, Packaged, is_package, read_card


def card_of(name: str | Path) -> Packaged:
    """The card of a package folder, of org/name on the Hub, or of a package in the cache; nothing is made.

    Raises:
        UnknownName: there is none.
    """
    if (folder := as_folder(name)) is not None:
        return Packaged(card=read_card(folder), folder=folder)
    if (address := on_hub(name)) is not None:
        from zoo.hub.pull import pull_card

        return pull_card(address)
    question = as_question(str(name))
    if (found := find_cached(question, images=None, supernet=None)) is None:
        raise UnknownName(f"{question} has not been made yet; `zoo get {name} --images DIR` makes it")
    return found


def entry_of(name: str | Path) -> Entry | None:
    """The entry of the curated catalogue that answers a name.

    Raises:
        UnknownName: the text is no name.
    """
    return find_entry(as_question(str(name)))


def as_folder(name: str | Path) -> Path | None:
    """The package that ``name`` is a path of; None where it is no path.

    Raises:
        BadPackage: it is a path, but not of a package.
    """
    text = str(name)
    if not text:
        return None
    if is_package(Path(text)):
        return Path(text)
    if isinstance(name, Path) or (os.sep in text and on_hub(name) is None) or text.startswith("."):
        raise BadPackage(f"{shown(text)} is no package: it has no {CONFIG}; name a folder that `zoo search` made")
    return None


def on_hub(name: str | Path) -> Address | None:
    """The address on the Hub that ``name`` is; None where it is a path that exists, or has not that form."""
    text = str(name)
    if isinstance(name, Path) or os.path.exists(text.partition("@")[0]):  # noqa: PTH110 - False for any odd text
        return None
    return find_address(text)


def as_question(text: str) -> Name:
    """The name, its device made definite: its own, else that of the catalogue's entry, else this machine.

    Raises:
        UnknownName: it is no name; the three nearest.
        UnknownDevice: nobody knows the device.
    """
    try:
        name = parse_name(text)
    except BadName as error:
        raise UnknownName(f"{error}; nearest: {', '.join(nearest_models(text))}") from None
    if name.device is None and (entry := find_entry(name)) is not None:
        return entry.question
    return replace(name, device=device_id(name.device or REFERENCE))
