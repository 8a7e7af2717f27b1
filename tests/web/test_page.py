"""The page in Chromium: no errors, the cells of the portable runtime, files, cancel, access."""

from __future__ import annotations

import io
import shutil
import subprocess
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import vaexprs
from vaexprs import Generator

playwright = pytest.importorskip("playwright.sync_api")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
DIGEST = Path(__file__).with_name("digest.mjs").read_text(encoding="utf-8")
HASH = DIGEST[DIGEST.index("async") :].rstrip().removesuffix(";")
GOLDEN = sorted((Path(__file__).resolve().parents[1] / "artifact" / "golden").glob("*.onnx"))
AXE = "axe-core@4.11.0"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


class Tab:
    """A tab with the page, its model open; whatever went wrong is in `problems`."""

    def __init__(self, browser: Any, address: str, *, width: int = 1280, dark: bool = False):
        self.context = browser.new_context(
            viewport={"width": width, "height": 800}, color_scheme="dark" if dark else "light"
        )
        self.page = self.context.new_page()
        self.problems: list[str] = []
        self.requests: list[str] = []
        self.page.on("console", lambda message: self.problems.append(message.text))
        self.page.on("pageerror", lambda error: self.problems.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(address)
        self.page.wait_for_selector("#generate:enabled")

    def generate(self, **fields: str) -> None:
        """Fill in the form and wait for the cells."""
        for name, value in fields.items():
            self.page.fill(f"#{name.replace('_', '-')}", value)
        self.page.click("#generate")
        self.page.wait_for_selector('#status:has-text("cells were made")')

    def download(self, button: str) -> zipfile.ZipFile:
        """Return the file that a button writes."""
        with self.page.expect_download() as download:
            self.page.click(button)
        return zipfile.ZipFile(io.BytesIO(Path(download.value.path()).read_bytes()))


@pytest.fixture
def tab(browser: Any, address: str) -> Iterator[Callable[..., Tab]]:
    opened: list[Tab] = []

    def open_tab(at: str = address, **options: Any) -> Tab:
        opened.append(Tab(browser, at, **options))
        return opened[-1]

    yield open_tab
    for one in opened:
        one.context.close()


def array(archive: zipfile.ZipFile, name: str) -> Any:
    return np.load(io.BytesIO(archive.read(f"{name}.npy")), allow_pickle=False)


def test_the_cells_are_those_of_the_portable_runtime(
    tab: Callable[..., Tab], address: str, portable_digest: Callable[..., str]
) -> None:
    here = tab()
    request = {
        "module": "./vaexprs.mjs",
        "model": "model.onnx",
        "conditions": {"cell_type": {"NK": 100, "B": 200}, "condition": "STIM"},
        "options": {"seed": 11},
    }
    made = here.page.evaluate(HASH, request)
    assert made == portable_digest("pbmc_ifnb", request["conditions"], seed=11)
    assert here.problems == []


def test_ten_thousand_cells_of_every_golden_artifact(
    tab: Callable[..., Tab], portable_digest: Callable[..., str]
) -> None:
    here = tab()
    for path in [*GOLDEN, Path(str(vaexprs.load_artifact("pbmc_ifnb").path))]:
        bundle = "model.onnx" if path.stem == "pbmc_ifnb" else list(path.read_bytes())
        request = {"module": "./vaexprs.mjs", "model": bundle, "conditions": {}}
        made = here.page.evaluate(HASH, request | {"options": {"nCells": 10_000, "seed": 5}})
        assert made == portable_digest(path, n_cells=10_000, seed=5), path.stem


@pytest.mark.parametrize("likelihood", ["gaussian", "bernoulli", "zigamma", "lognormal-library"])
def test_models_of_every_kind(
    tab: Callable[..., Tab], serve: Callable[..., str], likelihood: str
) -> None:
    here = tab(serve(GOLDEN[0].with_name(f"format-1-{likelihood}.onnx")))
    here.generate(n_cells="300")
    assert here.page.locator("#means tbody tr").count() > 0
    assert "First two principal components" in here.page.inner_text("#caption")
    assert array(here.download("#npz"), "shape")[0] == 300
    assert here.problems == []


def test_names_are_text_and_nothing_else(
    tab: Callable[..., Tab], serve: Callable[..., str], tiny_artifact: Any
) -> None:
    keys = {"__proto__": ["<img src=x onerror=alert(1)>", "toString"], "constructor": ["a", "b"]}
    here = tab(serve(tiny_artifact(keys=keys)))
    here.page.click("text=numbers per category")
    here.page.locator("#by-category input").nth(1).fill("0")
    here.page.select_option("#key-1", label="b")
    here.generate()
    rows = here.page.locator("#legend tbody tr").all_inner_texts()
    assert [row.split("\t")[:2] for row in rows] == [["<img src=x onerror=alert(1)>", "100"]]
    archive = here.download("#npz")
    assert array(archive, "obs/constructor").tolist() == [1] * 100
    assert array(archive, "categories/__proto__").tolist() == keys["__proto__"]
    here.page.click("text=by training frequencies")
    here.page.select_option("#key-0", label="toString")
    here.generate(n_cells="70")
    assert here.page.locator("#legend tbody tr").all_inner_texts()[0].split("\t")[:2] == [
        "toString",
        "70",
    ]
    assert here.problems == []


def test_a_run_its_tables_and_its_files(tab: Callable[..., Tab], address: str) -> None:
    here = tab()
    here.generate(n_cells="700", seed="12")
    expected = list(Generator("pbmc_ifnb", runtime="portable").blocks(n_cells=700, seed=12))
    data = np.concatenate([block.X.data for block in expected])
    indices = np.concatenate([block.X.indices for block in expected])
    archive = here.download("#npz")
    assert (array(archive, "data") == data).all()
    assert (array(archive, "indices") == indices).all()
    assert array(archive, "indptr").tolist()[-1] == len(data)
    assert array(archive, "shape").tolist() == [700, 2000]
    codes = np.concatenate([block.codes for block in expected])
    assert (array(archive, "obs/cell_type") == codes[:, 0]).all()
    spec = vaexprs.load_artifact("pbmc_ifnb").spec
    names = spec.conditions.keys[0].categories
    assert tuple(array(archive, "categories/cell_type")) == names
    assert tuple(array(archive, "var_names")) == spec.var_names
    rows = here.page.locator("#legend tbody tr").all_inner_texts()
    found = {name: int(n) for name, n, _ in (row.split("\t") for row in rows)}
    numbers = np.bincount(codes[:, 0], minlength=len(names))
    assert found == {n: k for n, k in zip(names, numbers.tolist(), strict=True) if k}
    # Three genes for each category that has cells; or those that are asked for.
    means = here.page.locator("#means tbody tr")
    assert means.count() == 3 * len(found)
    here.page.fill("#genes", "GNLY, NOTAGENE")
    here.page.press("#genes", "Enter")
    here.page.wait_for_selector('#genes-note:has-text("NOTAGENE")')
    assert here.problems == []
    assert all(url.startswith((address, "blob:", "data:")) for url in here.requests)


def test_scanpy_reads_the_files_of_10x(tab: Callable[..., Tab], tmp_path: Path) -> None:
    anndata = pytest.importorskip("scanpy")
    here = tab()
    here.page.click("text=numbers per category")
    inputs = here.page.locator("#by-category input")
    for place in range(inputs.count()):
        inputs.nth(place).fill("0" if place else "40")
    here.page.select_option("#key-1", label="CTRL")
    here.generate(seed="3")
    here.download("#mtx").extractall(tmp_path)
    cells = anndata.read_10x_mtx(tmp_path)
    generator = Generator("pbmc_ifnb", runtime="portable")
    first = generator.spec.conditions.keys[0].categories[0]
    plan = generator.plan([{"cell_type": first, "condition": "CTRL", "n_cells": 40}])
    dense = np.vstack([block.X.to_dense() for block in generator.blocks(plan, seed=3)])
    assert (cells.X.toarray() == dense).all()
    assert cells.obs_names[0] == "pbmc_ifnb-seed3_0"


def test_a_run_can_be_cancelled_and_repeated(tab: Callable[..., Tab]) -> None:
    here = tab()
    here.page.fill("#n-cells", "100000")
    here.page.click("#generate")
    here.page.wait_for_selector('#count:has-text("a second")')
    here.page.click("#cancel")
    status = here.page.inner_text("#status")
    assert status.startswith("Cancelled: ")
    assert 0 < int(status.split()[1].replace(",", "")) < 100_000
    assert here.page.is_enabled("#mtx")
    here.generate(n_cells="50", seed="1")
    assert here.page.inner_text("#status") == "50 cells were made."
    assert here.problems == []


@pytest.mark.parametrize(
    ("n_cells", "message"), [("2000000", "do not fit into a page"), ("0", None)]
)
def test_wrong_numbers_are_refused(
    tab: Callable[..., Tab], n_cells: str, message: str | None
) -> None:
    here = tab()
    here.page.fill("#n-cells", n_cells)
    here.page.click("#generate")
    if message is None:  # the browser itself says so
        assert here.page.locator("#n-cells:invalid").count() == 1
    else:
        here.page.wait_for_selector(f'#problem:has-text("{message}")')
    assert here.page.is_enabled("#generate")


@pytest.mark.parametrize("width", [390, 768])
def test_no_sideways_scroll(tab: Callable[..., Tab], width: int) -> None:
    here = tab(width=width)
    here.page.click("text=numbers per category")
    here.generate()
    assert here.page.evaluate("document.documentElement.scrollWidth") <= width


def test_by_keyboard_alone(tab: Callable[..., Tab]) -> None:
    here = tab()
    here.page.focus("#n-cells")
    here.page.keyboard.press("Control+A")
    here.page.keyboard.type("60")
    for _ in range(10):
        here.page.keyboard.press("Tab")
        if here.page.evaluate("document.activeElement.id") == "generate":
            break
    here.page.keyboard.press("Enter")
    here.page.wait_for_selector('#status:has-text("60 cells were made")')
    assert here.page.evaluate("document.activeElement.id") == "generate"


@pytest.fixture(scope="module")
def axe(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the source of axe-core, which is not ours to keep; skip where npm finds none."""
    npm, folder = shutil.which("npm"), tmp_path_factory.mktemp("axe")
    if npm is None:
        pytest.skip("npm is not installed")
    install = [npm, "install", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", folder]
    install += ["--fetch-retries=0", "--fetch-timeout=20000"]
    if subprocess.run([*install, AXE], capture_output=True).returncode:
        pytest.skip("npm cannot install axe-core here")
    return (folder / "node_modules" / "axe-core" / "axe.min.js").read_text(encoding="utf-8")


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_nothing_for_axe_to_find(tab: Callable[..., Tab], axe: str, dark: bool) -> None:
    here = tab(dark=dark)
    found = []
    here.page.evaluate(axe)
    for mode in ("by training frequencies", "numbers per category"):
        here.page.click(f"text={mode}")
        here.generate()
        answer = here.page.evaluate("axe.run()")
        found += [(v["id"], [n["html"] for n in v["nodes"]]) for v in answer["violations"]]
        assert len(answer["passes"]) > 20
    assert found == []
