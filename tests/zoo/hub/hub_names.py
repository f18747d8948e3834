"""What the tests of the Hub call things."""

from zoo.hub.address import Address

TOKEN = "hf_abcdefghijklmnopqrstuvwxyz012345"
REPO = "acme/signs"
ADDRESS = Address(repo=REPO)
