"""``vaexprs web``: what it writes, and what it replaces."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

import vaexprs
from vaexprs import ArtifactError, OutputError, write_site
from vaexprs.cli import main

PAGE = Path(vaexprs.__file__).parent / "web" / "page"
PBMC = "pbmc_ifnb"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_site(PBMC, tmp_path_factory.mktemp("web") / "site")


def test_a_page_has_all_that_it_names(site: Path) -> None:
    assert (site / "model.onnx").read_bytes() == vaexprs.load_artifact(PBMC).model_bytes
    for path in site.iterdir():
        if path.suffix in (".mjs", ".html"):
            text = path.read_text(encoding="utf-8")
            named = re.findall(r'(?:from |href=|src=|new URL\()"(?!data:)(?:\./)?([^"]+)"', text)
            assert all((site / name).exists() for name in named), (path.name, named)


def test_it_is_small_without_the_model(site: Path) -> None:
    assert sum(p.stat().st_size for p in site.iterdir() if p.name != "model.onnx") < 400_000


def test_it_loads_nothing_from_elsewhere(site: Path) -> None:
    for path in site.iterdir():
        if path.suffix in (".mjs", ".html", ".css"):
            assert "//" not in re.sub(r"^ *//.*| // .*", "", path.read_text(), flags=re.M).replace(
                "https?|", ""
            ), path.name


def test_its_policy_is_strict(site: Path) -> None:
    text = (site / "index.html").read_text(encoding="utf-8")
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]*)"', text)
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == "'none'"
    assert rules["script-src"] == "'self' 'wasm-unsafe-eval'"
    assert rules["style-src"] == rules["connect-src"] == rules["worker-src"] == "'self'"
    assert not re.search(r"<script(?![^>]* src=)|<style| style=| on\w+=", text)


def test_names_of_the_model_reach_the_page_as_data(site: Path, tmp_path: Path) -> None:
    title = '</script><script>alert("1")</script>'
    made = write_site(PBMC, tmp_path / "site", title=title)
    settings = (made / "site.mjs").read_text(encoding="utf-8")
    assert json.loads(settings.removeprefix("export const site = ").rstrip(";\n"))["title"] == title
    assert (made / "index.html").read_bytes() == (site / "index.html").read_bytes()


def test_it_is_an_npm_package(site: Path) -> None:
    package = json.loads((site / "package.json").read_text(encoding="utf-8"))
    assert package["version"] == vaexprs.__version__
    assert all((site / path).exists() for path in package["exports"]["."].values())


def test_only_a_page_is_replaced(tmp_path: Path) -> None:
    folder = tmp_path / "site"
    write_site(PBMC, folder)
    with pytest.raises(OutputError, match="exists"):
        write_site(PBMC, folder)
    (folder / "style.css").write_text("changed")
    write_site(PBMC, folder, overwrite=True)
    assert (folder / "style.css").read_bytes() == (PAGE / "style.css").read_bytes()
    (folder / "CNAME").write_text("cells.example.org")
    with pytest.raises(OutputError, match="'CNAME', which is no part of a page"):
        write_site(PBMC, folder, overwrite=True)
    assert (folder / "CNAME").exists()


@pytest.mark.parametrize("kind", ["file", "folder", "zarr"])
def test_other_things_are_not_replaced(tmp_path: Path, kind: str) -> None:
    target = tmp_path / "site"
    if kind == "file":
        target.write_text("mine")
    else:
        target.mkdir()
        (target / ("zarr.json" if kind == "zarr" else "mine")).write_text("{}")
    with pytest.raises(OutputError, match="which a page cannot replace"):
        write_site(PBMC, target, overwrite=True)
    assert target.exists()


def test_nothing_is_left_of_a_page_that_failed(tmp_path: Path) -> None:
    bad = tmp_path / "bad.onnx"
    bad.write_bytes(b"\0")
    with pytest.raises(ArtifactError):
        write_site(bad, tmp_path / "site")
    assert list(tmp_path.iterdir()) == [bad]


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["web", PBMC, "-o", f"{tmp_path}/site/", "--title", "Blood", "--json"]) == 0
    out = capsys.readouterr()
    facts = json.loads(out.out)
    assert facts["output"] == str(tmp_path / "site")
    assert facts["bytes_without_model"] < 400_000 < facts["bytes"]
    assert "http.server" in out.err
    assert "Blood" in (tmp_path / "site" / "site.mjs").read_text(encoding="utf-8")
    assert main(["web", PBMC, "-o", f"{tmp_path}/site/"]) == 2
    assert main(["web", "nothing.onnx", "-o", f"{tmp_path}/other"]) == 2
    assert not (tmp_path / "other").exists()
