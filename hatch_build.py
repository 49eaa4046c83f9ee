"""Compiles the package's files of C into the wheel, each by itself, and expands the recipes. Where something cannot be
made, tftrace does the same in Python, and recording costs a little more; with TFTRACE_REQUIRE_COMPILED=1 in the
environment the build fails."""

from __future__ import annotations

import os
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface
from setuptools import Distribution, Extension

SOURCES = (
    "tftrace/capture/check/_route.c",
    "tftrace/capture/measure/_prints.c",
    "tftrace/capture/measure/_stats.c",
    "tftrace/capture/quick/_quick.c",
    "tftrace/recipes/evaluate/_products.c",
    "tftrace/trace/_columns.c",
)
EXPANDED = "tftrace/recipes/format/_expanded.json"


class CustomBuildHook(BuildHookInterface):
    """Runs before a wheel is put together, also for `pip install -e`, where what is compiled lies beside its source."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile, and say that the wheel is for this platform and this Python."""
        self._temporary = tempfile.TemporaryDirectory()
        self._expand(version == "editable", build_data)
        compiled = {source: str(Path(source).with_suffix(sysconfig.get_config_var("EXT_SUFFIX"))) for source in SOURCES}
        if version == "editable":  # what is there is of an older source, and a program that runs may have it loaded
            for beside in compiled.values():
                Path(self.root, beside).unlink(missing_ok=True)
        if sys.implementation.name != "cpython" or sysconfig.get_config_var("Py_GIL_DISABLED"):
            self._without("its compiled parts", "they are for CPython with its global lock")
            return
        made = {}
        for source, beside in compiled.items():
            try:
                made[beside] = self._made(source, Path(self._temporary.name))
            except (Exception, SystemExit) as error:  # no compiler, no headers of Python, …
                self._without(Path(source).name, error)
        if version == "editable":
            for beside, library in made.items():
                Path(self.root, beside).write_bytes(library.read_bytes())
            return
        if not made:
            return
        build_data["force_include"].update({str(library): beside for beside, library in made.items()})
        build_data["pure_python"], build_data["infer_tag"] = False, True

    def _expand(self, editable: bool, build_data: dict[str, Any]) -> None:
        """Keep the recipes as they are when expanded; what does this is ours, and needs nothing but Python."""
        file = Path(self.root, EXPANDED) if editable else Path(self._temporary.name, "expanded.json")
        sys.path.insert(0, self.root)
        try:
            from tftrace.recipes.format import expanded, library

            expanded.store(library.read_all(library.folder()), library.folder(), file)
        except Exception as error:
            self._without("its expanded recipes", error)
            return
        finally:
            sys.path.remove(self.root)
        if not editable:
            build_data["force_include"][str(file)] = EXPANDED

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Remove what was compiled."""
        if temporary := getattr(self, "_temporary", None):
            temporary.cleanup()

    def _without(self, part: str, why: object) -> None:
        said = f"tftrace goes without {part}: {why}"
        if os.environ.get("TFTRACE_REQUIRE_COMPILED", "0") not in ("", "0"):
            raise RuntimeError(f"{said} (TFTRACE_REQUIRE_COMPILED is set)")
        self.app.display_warning(said)

    def _made(self, source: str, folder: Path) -> Path:
        name = Path(source).stem
        headers = str(Path(self.root, "tftrace", "capture"))
        extension = Extension(name, [str(Path(self.root, source))], include_dirs=[headers])
        command: Any = Distribution({"name": "tftrace", "ext_modules": [extension]}).get_command_obj("build_ext")
        command.build_lib, command.build_temp = str(folder), str(folder / "temp")
        command.ensure_finalized()
        command.run()
        return Path(command.get_ext_fullpath(name))
