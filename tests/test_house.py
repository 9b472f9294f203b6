"""The drawing of the folders in README is that of the source, and no import in it leads upward."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import house


def test_readme_has_the_drawing_of_the_folders() -> None:
    shown = house.block(house.README.read_text("utf-8"))
    assert shown == f"\n```text\n{house.drawing()}```\n\n", "run python -m tests.house --write"


def test_an_import_of_what_stands_above_is_refused(tmp_path: Path) -> None:
    for file, line in {"upper/a.py": "from lower import b", "lower/b.py": "X = 1"}.items():
        (tmp_path / file).parent.mkdir()
        (tmp_path / file).write_text(f"{line}\n")
    places = {"upper": "", "lower": ""}
    assert house.imports(tmp_path, places) == {"upper": ["lower"], "lower": []}
    (tmp_path / "lower/b.py").write_text("def f():\n    import upper.a\n")
    with pytest.raises(house.Upward, match="lower stands below upper"):
        house.imports(tmp_path, places)
    (tmp_path / "lower/b.py").write_text("if TYPE_CHECKING:\n    import upper.a\n")
    assert house.imports(tmp_path, places)["lower"] == []
    (tmp_path / "upper/new").mkdir()
    (tmp_path / "upper/new/c.py").write_text("X = 1\n")
    with pytest.raises(house.Upward, match="in no folder of the drawing"):
        house.imports(tmp_path, places)
