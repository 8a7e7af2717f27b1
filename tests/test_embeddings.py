"""UMAP and diffusion maps run in a process of their own, which no interrupt leaves behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from vaexprs import embeddings
from vaexprs.errors import DataError, MissingExtraError

SCORES = np.random.default_rng(0).normal(size=(40, 5)).astype(np.float32)


@pytest.fixture
def worker(monkeypatch):
    """Return a function that makes the given Python code the worker."""
    started = []

    def start(code):
        process = subprocess.Popen(
            [sys.executable, "-c", code],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            encoding="utf-8",
            start_new_session=True,
        )
        started.append(process)
        monkeypatch.setattr(embeddings, "_idle", [process])
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def ask(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    return embeddings._ask("umap", [SCORES], {})


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_an_interrupt_ends_the_worker_at_once(worker, tmp_path, monkeypatch):
    process = worker("import time; time.sleep(60)")
    threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()
    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        ask(tmp_path, monkeypatch)
    assert time.monotonic() - started < 10
    assert process.poll() is not None
    assert embeddings._idle == []
    assert not list(tmp_path.iterdir())


def test_a_worker_that_ends_is_a_sentence(worker, tmp_path, monkeypatch):
    worker("input()")
    with pytest.raises(DataError, match="ended without an answer"):
        ask(tmp_path, monkeypatch)
    worker("print('\"ValueError: too few\"', flush=True); input()")
    with pytest.raises(DataError, match="umap failed: ValueError: too few"):
        ask(tmp_path, monkeypatch)


def test_a_worker_computes_while_the_parent_works(worker, tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    answers = """
import json, numpy
folder = input()
numpy.savez(folder + "/made.npz", numpy.full((2, 2), {value}, "f4"))
print("null", flush=True)
input()
"""
    first = worker(answers.format(value=1))
    with embeddings.umap_begun(SCORES) as result:
        # Another request meanwhile has a worker of its own, and its own answer.
        worker(answers.format(value=2))
        assert embeddings.umap_plane(SCORES)[0].tolist() == [[2, 2], [2, 2]]
        assert result()[0].tolist() == [[1, 1], [1, 1]]
    assert first.poll() is None
    assert not list(tmp_path.iterdir())


def test_a_worker_that_has_answered_is_left_to_others(worker, tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    process = worker("""
import numpy
for value in (1, 2):
    numpy.savez(input() + "/made.npz", numpy.full((1, 2), value, "f4"))
    print("null", flush=True)
input()
""")
    with embeddings.umap_begun(SCORES) as first:
        assert first()[0].tolist() == [[1, 1]]
        second = embeddings.umap_begun(SCORES)
        result = second.__enter__()
    assert result()[0].tolist() == [[2, 2]]
    second.__exit__(None, None, None)
    assert process.poll() is None
    assert embeddings._idle == [process]


def test_a_worker_whose_answer_nobody_takes_is_killed(worker, tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    process = worker("import time; time.sleep(60)")
    with pytest.raises(ZeroDivisionError), embeddings.umap_begun(SCORES):
        raise ZeroDivisionError
    assert process.poll() is not None
    assert embeddings._idle == []
    assert not list(tmp_path.iterdir())


def test_a_missing_package_is_a_sentence_with_the_cure(monkeypatch):
    for name, call in (("umap", embeddings.umap_plane), ("scanpy", embeddings.diffusion_map)):
        monkeypatch.setitem(sys.modules, name, None)
        with pytest.raises(MissingExtraError, match=r"pip install 'vaexprs\[plot\]'"):
            call(SCORES)


@pytest.mark.slow
def test_the_worker_computes_what_this_process_would():
    pytest.importorskip("umap")
    pytest.importorskip("scanpy")
    settings = {"n_neighbors": 10, "random_state": 0}
    for method, arrays in (("umap", [SCORES, SCORES[:3]]), ("diffusion map", [SCORES])):
        found = embeddings._ask(method, arrays, settings)
        expected = embeddings._compute(method, arrays, settings)
        assert [part.shape for part in found] == [(len(array), 2) for array in arrays]
        for ours, theirs in zip(found, expected, strict=True):
            np.testing.assert_array_equal(ours, theirs)
    with pytest.raises(DataError, match="diffusion map failed: TypeError"):
        embeddings.diffusion_map(SCORES, nonsense=1)
    assert not list(Path.cwd().glob("*.npz"))
