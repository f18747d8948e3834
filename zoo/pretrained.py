"""The three methods that users of the Hub expect of a model, as in ``huggingface_hub.PyTorchModelHubMixin``.

``config.json`` and ``model.safetensors`` are the same files in a package, so no method converts anything.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from zoo.model import Model
    from zoo.push import Pushed


class Pretrained:
    """Mixed into ``Model``."""

    folder: Path

    @classmethod
    def from_pretrained(cls, name: str | Path, *, revision: str | None = None, verify: bool = False) -> Model:
        """The model in a folder, or at ``org/name`` on the Hub.

        Args:
            name: a package's folder, or ``org/name``.
            revision: on the Hub, a tag, a branch or a commit.
            verify: replay its golden tensors first.

        Raises:
            BadPackage: it is damaged, or no package.
            HubError: it is not there, may not be seen, or cannot be reached.
        """
        from zoo.catalogue import get

        return get(f"{name}@{revision}" if revision else name, verify=verify)

    def save_pretrained(self, folder: str | Path, *, overwrite: bool = False) -> Path:
        """Copy the package into a folder; weights that were changed in memory are not in it.

        Raises:
            OutputExists: the folder is not empty and may not be replaced.
        """
        from zoo.card import CONFIG
        from zoo.folders import staged
        from zoo.package_folder import read_manifest, shrink_package

        with staged(Path(folder), mark=CONFIG, overwrite=overwrite) as draft:
            there = [file for file in read_manifest(self.folder)[1] if (self.folder / file).is_file()]
            for file in (CONFIG, *there):
                (draft / file).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(self.folder / file, draft / file)
            shrink_package(draft, there)
        return Path(folder)

    def push_to_hub(self, repo: str, *, private: bool = False, message: str | None = None) -> Pushed:
        """Publish the package; see ``zoo.push``.

        Raises:
            HubError: no token, no permission, no connection, ...
        """
        from zoo.push import push

        return push(self.folder, repo, private=private, message=message)
