"""The picture in the README: what a finished quick start prints, as SVG. Run `make quickstart` first.

python -m benchmarks.picture
"""

from __future__ import annotations

import io
import re
import sys
from pathlib import Path

from rich.console import Console

from manyheads.cli import console
from manyheads.cli.app import run
from manyheads.quickstart import FOLDER, TEXTS

TARGET = Path("docs/images/quickstart.svg")


def main() -> int:
    """Print the scores and two answers again, into a picture. The code of the first command that fails, else 0."""
    screen = Console(record=True, width=76, file=io.StringIO(), highlight=False, markup=False, emoji=False)
    console.out.__dict__.update(screen.__dict__)  # every command prints through this one object
    for arguments in (["train", str(FOLDER / "recipe.yaml")], ["predict", str(FOLDER / "run"), *TEXTS]):
        if code := run(arguments):
            return code
    console.out.width = 76  # tables had set that of a file
    console.out.print()  # the frame cuts the last line's feet off
    TARGET.parent.mkdir(parents=True, exist_ok=True)
    picture = console.out.export_svg(title="make quickstart")
    TARGET.write_text(re.sub(r"@font-face \{.*?\}\s*", "", picture, flags=re.DOTALL), encoding="utf-8")  # no font from afar
    return 0


if __name__ == "__main__":
    sys.exit(main())
