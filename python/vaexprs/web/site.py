"""Write the page: its own files, the artifact, and what differs from page to page.

The files in ``page/`` are plain ES modules; ``vaexprs.wasm.gz`` is the C interface of the core,
made by ``cpp/wasm/build.py``.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

from vaexprs._version import __version__
from vaexprs.artifact import Artifact, Source, load_artifact
from vaexprs.errors import OutputError
from vaexprs.files import check_output, whole_file
from vaexprs.style import colours

_PAGE = Path(__file__).parent / "page"
#: Colours that differ to colour-blind readers; then they repeat.
_N_COLOURS = 40


def write_site(
    source: Source,
    folder: str | os.PathLike[str],
    *,
    title: str | None = None,
    overwrite: bool = False,
) -> Path:
    """Write a static page that generates cells of an artifact in the browser.

    Any host of files serves it; it loads nothing from elsewhere and sends nothing. The cells are
    those of ``Generator(..., runtime="portable")``, bit for bit. The folder is an npm package, too,
    whose module ``vaexprs.mjs`` generates cells in Node.js and in pages of your own.

    Parameters
    ----------
    source
        Path of an artifact, name of a shipped one, bytes, a loaded `Artifact`, or a fit.
    folder
        The folder to write, which must not exist.
    title
        Name of the model on the page and in the names of files; by default that of its file.
    overwrite
        Replace a page that an earlier call wrote.

    Returns
    -------
    The folder.

    Raises
    ------
    ArtifactError
        If the source is not an artifact that can be served.
    OutputError
        If something is there that may not be replaced, or the folder cannot be written.
    """
    target = check_site(folder, overwrite=overwrite)
    artifact = load_artifact(source)
    made = _contents(artifact, title or _name_of(artifact))
    with whole_file(target, kind="site", overwrite=overwrite) as partial:
        shutil.copytree(_PAGE, partial)
        for name, data in made.items():
            (partial / name).write_bytes(data)
        check_site(folder, overwrite=overwrite)
    return target


def check_site(folder: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
    """Refuse a folder before any work starts; one that is replaced holds nothing but a page.

    Raises
    ------
    OutputError
        As `write_site`.
    """
    target = check_output(folder, kind="site", overwrite=overwrite)
    ours = {path.name for path in _PAGE.iterdir()} | {"model.onnx", "site.mjs", "package.json"}
    others = sorted(set(os.listdir(target)) - ours) if target.is_dir() else []
    if others:
        raise OutputError(
            f"{target} holds {others[0]!r}, which is no part of a page and would be lost: choose "
            "another folder, or move it."
        )
    return target


def _name_of(artifact: Artifact) -> str:
    return Path(artifact.path).stem if artifact.path else "model"


def _contents(artifact: Artifact, title: str) -> dict[str, bytes]:
    """Return the files that differ from page to page."""
    site = {"title": title, "model": "model.onnx", "colours": colours(_N_COLOURS)}
    package = {
        "name": "vaexprs",
        "version": __version__,
        "type": "module",
        "exports": {".": {"types": "./vaexprs.d.ts", "default": "./vaexprs.mjs"}},
        "license": "MIT",
    }
    texts = {
        "site.mjs": f"export const site = {json.dumps(site)};\n",
        "package.json": json.dumps(package, indent=2) + "\n",
    }
    return {"model.onnx": artifact.model_bytes} | {
        name: text.encode() for name, text in texts.items()
    }
