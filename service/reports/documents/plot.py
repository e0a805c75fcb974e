"""A chart as SVG: axes, lines, bars, dots and cells in the units of the data. Colours are the page's CSS classes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from html import escape
from math import ceil, floor, log10

WIDTH, HEIGHT = 420, 280
LEFT, RIGHT, TOP, BOTTOM = 56, 24, 12, 40
TICKS = 5
CHARACTER = 7.0  # average width of a character, in pixels


class Plot:
    """One chart; ranges in the data's units, everything else in pixels."""

    def __init__(
        self,
        x: tuple[float, float],
        y: tuple[float, float],
        *,
        width: int = WIDTH,
        height: int = HEIGHT,
        left: int = LEFT,
        bottom: int = BOTTOM,
    ) -> None:
        self._x, self._y = _widened(x), _widened(y)
        self.width, self.height, self.left, self.bottom = width, height, left, bottom
        self._parts: list[str] = []

    def across(self, value: float) -> float:
        """The place of a value of x."""
        low, high = self._x
        return self.left + (value - low) / (high - low) * (self.width - self.left - RIGHT)

    def up(self, value: float) -> float:
        """The place of a value of y."""
        low, high = self._y
        return self.height - self.bottom - (value - low) / (high - low) * (self.height - TOP - self.bottom)

    def x_axis(self, label: str, shown: Callable[[float], str]) -> None:
        """Ticks and a label below."""
        for value in ticks(*self._x):
            self._text(self.across(value), self.height - self.bottom + 15, shown(value), "middle")
        self.x_label(label)

    def x_label(self, label: str) -> None:
        """A label below."""
        self._text((self.left + self.width - RIGHT) / 2, self.height - 6, label, "middle", "axis")

    def x_grid(self) -> None:
        """Vertical lines at the ticks."""
        for value in ticks(*self._x):
            x = self.across(value)
            self._parts.append(f'<path class="grid" d="M{x:.1f} {TOP}V{self.height - self.bottom}"/>')

    def y_axis(self, shown: Callable[[float], str]) -> None:
        """Ticks with grid lines."""
        for value in ticks(*self._y):
            y = self.up(value)
            self._parts.append(f'<path class="grid" d="M{self.left} {y:.1f}H{self.width - RIGHT}"/>')
            self._text(self.left - 6, y + 4, shown(value), "end")

    def line(self, points: Iterable[tuple[float, float]], style: str) -> None:
        """A line through the points."""
        path = "L".join(f"{self.across(x):.1f} {self.up(y):.1f}" for x, y in points)
        if path:
            self._parts.append(f'<path class="line {style}" d="M{path}"/>')

    def area(self, points: Iterable[tuple[float, float, float]], style: str) -> None:
        """The area between two values of y for each x."""
        listed = list(points)
        around = [(x, high) for x, _, high in listed] + [(x, low) for x, low, _ in reversed(listed)]
        path = "L".join(f"{self.across(x):.1f} {self.up(y):.1f}" for x, y in around)
        if path:
            self._parts.append(f'<path class="area {style}" d="M{path}Z"/>')

    def dot(self, x: float, y: float, style: str, hint: str = "") -> None:
        """A dot."""
        shape = f'<circle class="dot {style}" cx="{self.across(x):.1f}" cy="{self.up(y):.1f}" r="3.5">'
        self._parts.append(f"{shape}{_hint(hint)}</circle>")

    def bar(self, x: tuple[float, float], y: tuple[float, float], style: str, hint: str = "") -> None:
        """A rectangle."""
        self._parts.append(f'<rect class="{style}" {self._box(x, y)}>{_hint(hint)}</rect>')

    def cell(self, x: tuple[float, float], y: tuple[float, float], share: float, hint: str) -> None:
        """A rectangle as dark as `share` of the darkest."""
        self._parts.append(f'<rect class="cell" {self._box(x, y)} fill-opacity="{share:.3f}">{_hint(hint)}</rect>')

    def _box(self, x: tuple[float, float], y: tuple[float, float]) -> str:
        left, right = sorted(map(self.across, x))
        top, bottom = sorted(map(self.up, y))
        size = f'width="{max(right - left, 0.5):.1f}" height="{max(bottom - top, 0.5):.1f}"'
        return f'x="{left:.1f}" y="{top:.1f}" {size}'

    def text(self, x: float, y: float, text: str, anchor: str = "middle", style: str = "") -> None:
        """A text at a place in the data's units."""
        self._text(self.across(x), self.up(y) + 4, text, anchor, style)

    def left_label(self, y: float, text: str, style: str = "") -> None:
        """A label at the left of the plot, cut to the room there."""
        self._text(self.left - 8, self.up(y) + 4, cut(text, self.left - 8), "end", style)

    def column_label(self, x: float, text: str, pixels: float) -> None:
        """A label below a column of cells, cut to its width."""
        self._text(self.across(x), self.height - self.bottom + 16, cut(text, pixels), "middle")

    def legend(self, names: Sequence[str], x: float, y: float) -> None:
        """Names of the first lines `c0`, `c1`, ..., one above another, ending at a place in the data's units."""
        if len(names) < 2:
            return
        right, bottom = self.across(x), self.up(y)
        for place, name in enumerate(names):
            height = bottom - 15 * (len(names) - 1 - place)
            self._parts.append(f'<path class="line c{place}" d="M{right - 18:.1f} {height - 4:.1f}h18"/>')
            self._text(right - 24, height, cut(name, 150), "end")

    def rug(self, values: Sequence[float]) -> None:
        """Marks at the lower edge."""
        for value in values:
            x = self.across(value)
            self._parts.append(f'<path class="rug" d="M{x:.1f} {self.height - self.bottom}v-5"/>')

    def _text(self, x: float, y: float, text: str, anchor: str, style: str = "") -> None:
        of_class = f' class="{style}"' if style else ""
        self._parts.append(f'<text{of_class} x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{clean(text)}</text>')

    def svg(self, title: str) -> str:
        """The picture; `title` is for screen readers."""
        size = f'viewBox="0 0 {self.width} {self.height}" width="{self.width}" height="{self.height}"'
        return f'<svg {size} role="img" aria-label="{clean(title)}">{"".join(self._parts)}</svg>'


def clean(text: str) -> str:
    """Escaped text without control characters."""
    return escape("".join(each if each.isprintable() else " " for each in text))


def cut(text: str, pixels: float) -> str:
    """The text, or its beginning and an ellipsis where it is longer."""
    most = max(3, int(pixels / CHARACTER))
    return text if len(text) <= most else f"{text[: most - 1]}…"


def ticks(low: float, high: float) -> Sequence[float]:
    """Round values between both, about five."""
    step = 10.0 ** floor(log10((high - low) / TICKS))
    step *= next(factor for factor in (1, 2, 5, 10) if (high - low) / (step * factor) <= TICKS + 0.5)
    return [number * step for number in range(ceil(low / step - 1e-9), floor(high / step + 1e-9) + 1)]


def _widened(ends: tuple[float, float]) -> tuple[float, float]:
    low, high = ends
    largest = max(abs(low), abs(high))
    return (low, high) if high - low > 1e-9 * largest else (low - 0.01 * largest - 0.5, high + 0.01 * largest + 0.5)


def _hint(text: str) -> str:
    return f"<title>{clean(text)}</title>" if text else ""
