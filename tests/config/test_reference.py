from __future__ import annotations

import re
from collections.abc import Callable

from manyheads.config.fields import keys, sections
from manyheads.config.load import Loaded
from manyheads.config.reference import EXAMPLE, reference

PAGE = reference()


def test_every_key_of_every_section_is_on_the_page() -> None:
    rows = set(re.findall(r"^\| `([a-z_]+)` \|", PAGE, re.M))
    assert rows == {key for _, section in sections() for key in keys(section)}


def test_every_section_has_one_heading() -> None:
    headings = re.findall(r"^## (.*)$", PAGE, re.M)
    assert len(headings) == len(set(headings))
    for place, _ in sections():
        assert not place or any(f"`{'.'.join(place)}`" in heading for heading in headings)


def test_every_row_of_a_table_has_four_cells_and_a_meaning() -> None:
    for row in re.findall(r"^\| `.*$", PAGE, re.M):
        cells = re.split(r"(?<!\\)\|", row)[1:-1]
        assert len(cells) == 4, row
        assert cells[1].strip(), row
        assert cells[3].strip(), row


def test_defaults_and_bounds_are_told() -> None:
    assert "| `lr` | number > 0 ≤ 100 | `5e-05` | Peak learning rate. |" in PAGE
    assert "| `tasks` | sections by name | required |" in PAGE
    assert "| `tasks_per_step` | whole number or `all` | `1` |" in PAGE
    assert "| `betas` | list of 2 × number ≥ 0 < 1 | `[0.9, 0.999]` |" in PAGE


def test_the_example_stands_on_the_page_and_loads_without_a_warning(load: Callable[..., Loaded]) -> None:
    assert f"```yaml\n{EXAMPLE}```\n" in PAGE
    assert load(EXAMPLE).warnings == ()
