"""What the demo shows: a live board on a terminal, plain lines where there is none."""

import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from consumer.demo.account import Entry
from consumer.demo.figures import Figures
from consumer.demo.setting import ACCOUNT, LOG_NAME
from consumer.service.service import Started

BAR_WIDTH = 64
PLAIN_EVERY_SECONDS = 2.0


class Board:
    """Steps that are done, the one under way, and the figures. Use as a context manager while they change."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._began = time.monotonic()
        self._done: list[Text] = []
        self._doing: Spinner | None = None
        self._figures: Figures | None = None
        self._plain_at = 0.0
        self._live = (
            Live(console=console, refresh_per_second=8, get_renderable=self._render) if console.is_terminal else None
        )

    def __enter__(self) -> Self:
        if self._live:
            self._live.start()
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._doing = None
        if self._live:
            self._live.stop()

    def doing(self, text: str) -> None:
        """Say what is under way."""
        if self._live:
            self._doing = Spinner("dots", Text(text, style="cyan"))
        else:
            self._print_plain(text)

    def done(self, text: str) -> None:
        """Say what has been reached, with the seconds since the start."""
        seconds = time.monotonic() - self._began
        self._doing = None
        if self._live:
            self._done.append(Text.assemble(("  ✓ ", "green"), text, (f"  {seconds:.1f} s", "dim")))
        else:
            self._print_plain(text)

    def figures(self, figures: Figures) -> None:
        """Show the latest figures; without a terminal only every other second."""
        self._figures = figures
        if not self._live and time.monotonic() - self._plain_at >= PLAIN_EVERY_SECONDS:
            self._plain_at = time.monotonic()
            self._print_plain(" · ".join(f"{name} {count:,}" for name, count, _ in _rows(figures)))

    def _print_plain(self, text: str) -> None:
        self._console.print(Text(f"{time.monotonic() - self._began:6.1f} s  {text}"), soft_wrap=True)

    def _render(self) -> RenderableType:
        parts: list[RenderableType] = [Text("callbreaker demo", style="bold"), *self._done]
        if self._doing:
            row = Table.grid(padding=(0, 1))
            row.add_row(" ", self._doing)
            parts.append(row)
        if self._figures:
            parts += [Text(), _bar(self._figures), _legend(), Text(), _table(self._figures)]
        return Group(*parts)


def show_account(console: Console, entries: Sequence[Entry]) -> None:
    """Print the account, each line with whether it agrees."""
    console.print()
    console.print(Text("The account", style="bold"))
    for entry in entries:
        mark = ("✓", "green") if entry.agrees else ("✗ WRONG", "bold red")
        console.print(
            Text.assemble(
                "  ", mark, f" {entry.what:27}", (f"{entry.count:>8,}", "bold"), "   ", (entry.beside, "dim")
            ),
            soft_wrap=True,
        )
    console.print()


def show_ways_on(console: Console, started: Started, configuration: Path, stopped: str | None) -> None:
    """Print where to look further, for as long as the demo stays up."""
    commands = [f"callbreaker orders --config {configuration}"]
    if stopped:
        commands.append(f"callbreaker explain {ACCOUNT} {stopped} --config {configuration}")
    rows = [
        ("page", f"{started.url}/"),
        ("token", started.token or ""),
        *(("try", command) for command in commands),
        ("log", str(configuration.with_name(LOG_NAME))),
    ]
    for name, value in rows:
        console.print(Text.assemble("  ", (f"{name:6}", "dim"), value), soft_wrap=True)
    console.print(Text("\nCtrl-C ends everything.", style="dim"))


def _rows(figures: Figures) -> list[tuple[str, int, str]]:
    return [
        ("webhooks taken", figures.webhooks_taken, ""),
        ("calls seen", figures.calls_seen, ""),
        ("waiting", figures.waiting, "cyan"),
        ("ringing or talking", figures.ongoing, "yellow"),
        ("done", figures.done, "green"),
        ("stopped by opt-out", figures.stopped_by_opt_out, "magenta"),
        ("requests made", figures.requests, ""),
        ("call ids in them", figures.ids, ""),
        ("confirmed", figures.confirmed, "magenta"),
        ("missed", figures.missed, "red" if figures.missed else ""),
    ]


def _table(figures: Figures) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(min_width=20)
    table.add_column(justify="right", min_width=8)
    table.add_column(min_width=20)
    table.add_column(justify="right", min_width=8)
    rows = _rows(figures)
    for left, right in zip(rows[:5], rows[5:], strict=True):
        cells = [
            (Text(f"  {name}", style="dim"), Text(f"{count:,}", style=style)) for name, count, style in (left, right)
        ]
        table.add_row(*cells[0], *cells[1])
    return table


_PARTS = (("waiting", "cyan"), ("ringing or talking", "yellow"), ("done", "green"), ("stopped", "magenta"))


def _bar(figures: Figures) -> Text:
    """Draw the provider's calls, each part as wide as its share."""
    counts = (figures.waiting_there, figures.ongoing, figures.done, figures.cut)
    total = max(1, sum(counts))
    bar = Text("  ")
    drawn = reached = 0
    for count, (_, style) in zip(counts, _PARTS, strict=True):
        reached += count
        width = round(reached * BAR_WIDTH / total) - drawn
        bar.append("█" * width, style=style)
        drawn += width
    return bar


def _legend() -> Text:
    return Text("  ").join([Text(), *(Text.assemble(("■ ", style), (name, "dim")) for name, style in _PARTS)])
