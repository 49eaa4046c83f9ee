"""The wheel is whole: installed in a fresh environment it runs the demo from another folder."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest
import torch

from tftrace.capture.check import route

from ..support.compiled import compiled_part

ROOT = Path(__file__).parents[2]


def call(*command: str | Path, cwd: Path) -> str:
    own = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}  # it would lead to our sources
    words = list(map(str, command))
    done = subprocess.run(
        words, cwd=cwd, env=own, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=1200
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def wheel_in(folder: Path) -> Path:
    call(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, ROOT, cwd=folder)
    return next(folder.glob("tftrace-*.whl"))


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return wheel_in(tmp_path_factory.mktemp("wheel"))


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
    assert {
        "tftrace/language/zh/help.toml",
        "tftrace/tui/app.tcss",
        "tftrace/export/html/assets/report.css",
        "tftrace/py.typed",
        "tftrace/recipes/format/_expanded.json",
    } <= names
    assert not [n for n in names if n.startswith(("tests/", "examples/", "recipes/"))]


def install(wheel: Path, fresh: Path, folder: Path) -> None:
    call(fresh / "python", "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", wheel, cwd=folder)
    # Lend it this environment's libraries, all but tftrace itself (a .pth entry does not read the .pth files it names).
    site = next((fresh.parent / "lib").glob("python*")) / "site-packages"
    (site / "lent.pth").write_text(f"{Path(torch.__file__).parents[1]}\n")


def test_the_demo_runs_from_a_fresh_environment(wheel: Path, fresh: Path, tmp_path: Path) -> None:
    install(wheel, fresh, tmp_path)
    where = call(fresh / "python", "-c", "import tftrace; print(tftrace.__file__)", cwd=tmp_path)
    assert where.startswith(str(fresh.parent))
    out = call(fresh / "tftrace", "demo", cwd=tmp_path)
    assert "BertForSequenceClassification" in out and "✓ holds" in out


def test_what_is_compiled_is_in_the_wheel_where_it_can_be(wheel: Path) -> None:
    names, suffix = zipfile.ZipFile(wheel).namelist(), sysconfig.get_config_var("EXT_SUFFIX")
    sources = [path.relative_to(ROOT).with_suffix("") for path in ROOT.glob("tftrace/**/*.c")]
    able = [f"{source.as_posix()}{suffix}" in names for source in sources]
    # THEN all are there or none, as in this environment's own installation
    assert len(able) == 6 and set(able) == {compiled_part(route) is not None}
    assert able[0] is not wheel.name.endswith("-none-any.whl") and not [n for n in names if n.endswith((".c", ".h"))]


@pytest.mark.slow
def test_without_a_compiler_there_is_a_wheel_for_every_machine(
    fresh: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CC", "no-such-compiler")
    built = wheel_in(tmp_path)
    assert built.name.endswith("-py3-none-any.whl")
    assert not [n for n in zipfile.ZipFile(built).namelist() if n.endswith((".so", ".pyd"))]
    install(built, fresh, tmp_path)
    assert "✓ holds" in call(fresh / "tftrace", "demo", cwd=tmp_path)


@pytest.mark.slow
def test_the_wheel_brings_its_own_dependencies(wheel: Path, fresh: Path, tmp_path: Path) -> None:
    constraints = ROOT / "constraints.txt"
    call(fresh / "python", "-m", "pip", "install", "--quiet", "-c", constraints, wheel, cwd=tmp_path)
    for name in ("bert", "gpt2", "transformer"):
        assert "✓ holds" in call(fresh / "tftrace", "demo", name, cwd=tmp_path)
