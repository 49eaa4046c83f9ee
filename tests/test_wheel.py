"""The wheel is whole: installed in a fresh environment it runs the demo from another folder."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[1]


def call(*command: str | Path, cwd: Path) -> str:
    done = subprocess.run(
        list(map(str, command)), cwd=cwd, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=1200
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    call(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, ROOT, cwd=folder)
    return next(folder.glob("tftrace-*.whl"))


@pytest.fixture
def fresh(tmp_path: Path) -> Path:
    call(sys.executable, "-m", "venv", tmp_path / "venv", cwd=tmp_path)
    return tmp_path / "venv" / ("Scripts" if os.name == "nt" else "bin")


def test_the_wheel_holds_recipes_and_demo_models(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    for recipe in (ROOT / "recipes").glob("*.toml"):
        assert f"tftrace/recipes/library/{recipe.name}" in names
    for demo in ("bert", "gpt2", "transformer"):
        for file in ("config.json", "model.safetensors", "tokenizer.json", "README.md"):
            assert f"tftrace/demo/{demo}/{file}" in names
    assert {"tftrace/tui/app.tcss", "tftrace/export/html/assets/report.css"} <= names
    assert not [n for n in names if n.startswith(("tests/", "examples/", "recipes/"))]


def test_the_demo_runs_from_a_fresh_environment(wheel: Path, fresh: Path, tmp_path: Path) -> None:
    call(fresh / "python", "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", wheel, cwd=tmp_path)
    # Lend it this environment's libraries, all but tftrace itself (a .pth entry does not read the .pth files it names).
    site = next((fresh.parent / "lib").glob("python*")) / "site-packages"
    (site / "lent.pth").write_text(f"{Path(torch.__file__).parents[1]}\n")
    where = call(fresh / "python", "-c", "import tftrace; print(tftrace.__file__)", cwd=tmp_path)
    assert where.startswith(str(fresh.parent))
    out = call(fresh / "tftrace", "demo", cwd=tmp_path)
    assert "BertForSequenceClassification" in out and "✓ holds" in out


@pytest.mark.slow
def test_the_wheel_brings_its_own_dependencies(wheel: Path, fresh: Path, tmp_path: Path) -> None:
    constraints = ROOT / "constraints.txt"
    call(fresh / "python", "-m", "pip", "install", "--quiet", "-c", constraints, wheel, cwd=tmp_path)
    for name in ("bert", "gpt2", "transformer"):
        assert "✓ holds" in call(fresh / "tftrace", "demo", name, cwd=tmp_path)
