"""Figures and how they are shown."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured figure; ``wanted`` says what it should be and ``met`` whether it is, where there is such a wish."""

    name: str
    value: float
    unit: str
    wanted: str = ""
    met: bool | None = None


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which ``share`` of the values lie."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


def show(figures: Iterable[Figure]) -> bool:
    """Print a table; says whether every wish was met."""
    table = Table(box=None, header_style="dim")
    for name, justify in (("figure", "left"), ("measured", "right"), ("", "left"), ("wanted", "left"), ("", "left")):
        table.add_column(name, justify=justify)  # type: ignore[arg-type]  # rich's literal type
    all_met = True
    for figure in figures:
        mark = {None: "", True: "[green]met[/green]", False: "[red]missed[/red]"}[figure.met]
        all_met = all_met and figure.met is not False
        table.add_row(figure.name, f"{figure.value:,.2f}", figure.unit, figure.wanted, mark)
    Console().print(table)
    return all_met
