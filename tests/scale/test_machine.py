"""A machine that writes, crashes, resumes and merges in any order never loses or changes a cell."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from scale.compare import contents, in_folder
from vaexprs import Generator, OutputError, write_exprs
from vaexprs.files import partial_of
from vaexprs.scale.merge import merge
from vaexprs.scale.parts import open_parts

pytest.importorskip("zarr")

N_CELLS, N_PARTS, BLOCK = 200, 3, 16


@pytest.mark.usefixtures("kept_always")
@pytest.mark.parametrize("suffix", [".h5ad", ".zarr"])
def test_any_order_of_ends(
    suffix: str, tiny_artifact: Any, killed: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for store in ("h5ad.Hdf5Store", "zarr_store.ZarrStore"):
        monkeypatch.setattr(f"vaexprs.sinks.{store}.chunk", 300)
    # What the disk does is not asked here, and waiting for it takes most of the time.
    monkeypatch.setattr("vaexprs.files._sync_file", lambda path: None)
    generator = Generator(tiny_artifact(n_genes=12), n_threads=1, block_size=BLOCK)
    single = Path(write_exprs(generator, tmp_path / f"single{suffix}", N_CELLS, seed=1))
    expected = contents(single)

    class Machine(RuleBasedStateMachine):
        """One file and one part store, each absent, unfinished or whole."""

        def __init__(self) -> None:
            super().__init__()
            self.folder = Path(tempfile.mkdtemp(dir=tmp_path))
            self.file, self.parts = self.folder / f"cells{suffix}", self.folder / "run.parts"

        def teardown(self) -> None:
            shutil.rmtree(self.folder)

        def is_unfinished(self, target: Path) -> bool:
            return (partial_of(target) / "journal").exists()

        @rule(n_blocks=st.integers(1, N_CELLS // BLOCK), overwrite=st.booleans())
        def the_file_is_killed(self, n_blocks: int, overwrite: bool) -> None:
            there = self.file.exists()
            if there and not overwrite:
                return
            left = in_folder(self.folder)
            if killed(
                generator, self.file, N_CELLS, n_blocks, seed=1, resume=True, overwrite=overwrite
            ):
                assert self.file.exists() == there
                assert left.keys() <= in_folder(self.folder).keys()
            else:  # fewer blocks were left
                assert contents(self.file) == expected

        @rule()
        def the_file_goes_on(self) -> None:
            write_exprs(generator, self.file, N_CELLS, seed=1, resume=True)
            assert contents(self.file) == expected

        @rule(seed=st.integers(2, 3), resume=st.booleans())
        def another_request_changes_nothing(self, seed: int, resume: bool) -> None:
            before = in_folder(self.folder)
            if not (self.file.exists() or self.is_unfinished(self.file)):
                return
            with pytest.raises(OutputError):
                write_exprs(generator, self.file, N_CELLS, seed=seed, resume=resume)
            assert in_folder(self.folder) == before

        @precondition(lambda self: self.is_unfinished(self.file))
        @rule()
        def the_file_is_started_anew(self) -> None:
            with pytest.raises(OutputError):
                write_exprs(generator, self.file, N_CELLS, seed=1)
            write_exprs(generator, self.file, N_CELLS, seed=1, overwrite=True)
            assert contents(self.file) == expected
            assert not partial_of(self.file).exists()

        @rule(k=st.integers(1, N_PARTS), n_blocks=st.integers(1, 4))
        def a_part_is_killed(self, k: int, n_blocks: int) -> None:
            how: dict[str, Any] = {"shard": (k, N_PARTS), "part_format": suffix[1:]}
            if not (self.parts.exists() and k in open_parts(self.parts).there()):
                assert killed(generator, self.parts, N_CELLS, n_blocks, seed=1, resume=True, **how)

        @rule(k=st.integers(1, N_PARTS))
        def a_part_is_made(self, k: int) -> None:
            how: dict[str, Any] = {"shard": (k, N_PARTS), "part_format": suffix[1:]}
            write_exprs(generator, self.parts, N_CELLS, seed=1, resume=True, **how)
            assert k in open_parts(self.parts).there()

        @precondition(lambda self: self.parts.exists())
        @rule()
        def the_parts_are_merged(self) -> None:
            there = open_parts(self.parts).there()
            out = self.folder / f"merged{suffix}"
            if len(there) < N_PARTS:
                with pytest.raises(OutputError, match="lacks"):
                    merge(self.parts, out)
            else:
                merge(self.parts, out, overwrite=True)
                assert contents(out) == expected

        @invariant()
        def a_file_is_whole_or_absent(self) -> None:
            if self.file.exists():
                assert contents(self.file) == expected

    Machine.TestCase.settings = settings(
        max_examples=6 if suffix == ".h5ad" else 3, stateful_step_count=8,
        deadline=None, derandomize=True,
        phases=(Phase.generate,),
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    Machine.TestCase("runTest").runTest()
