"""Fetch or publish in a process of its own, as often as told, without torch: ``fetch_worker.py fetch TIMES``."""

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from zoo.hub.address import Address
from zoo.hub.fetch import fetch
from zoo.hub.push import publish
from zoo.types import silent

ADDRESS = Address(repo="acme/signs")


def main(what: str, argument: str) -> None:
    if what == "fetch":
        with ThreadPoolExecutor(4) as pool:
            for fetched in pool.map(lambda _: fetch(ADDRESS), range(int(argument))):
                print(fetched.commit)
    else:
        folder = Path(argument)
        files = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        print(publish(files, ADDRESS, private=False, message="m", say=silent)[1])


if __name__ == "__main__":
    main(*sys.argv[1:])
