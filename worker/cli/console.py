"""The console of all commands: nothing that comes from outside controls the terminal."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from worker.core.text import visible


class SafeConsole(Console):
    """Writes out the control characters of everything that it prints. Its own colours are added later."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterator[Segment]:
        """Render an object, such as a line or a table."""
        for text, style, control in super().render(renderable, options):
            yield Segment(text if control else visible(text), style, control)
