"""Loss curves as a self-contained SVG, for light and dark backgrounds."""

from __future__ import annotations

from typing import NamedTuple

WIDTH, HEIGHT = 720, 300
LEFT, RIGHT, TOP, BOTTOM = 60, 16, 34, 34
MAX_POINTS = 2_000
LINES = {"train_loss": ("#b35c1e", "training loss"), "val_loss": ("#2f6fd0", "validation loss")}


class Point(NamedTuple):
    """The losses of one epoch; None where they are not finite."""

    epoch: int
    train_loss: float | None
    val_loss: float | None


def curves(points: list[Point], best: int) -> str:
    """The SVG, with the epoch `best` marked."""
    values = [value for point in points for value in point[1:] if value is not None]
    if not values:
        return _picture(_text(WIDTH / 2, HEIGHT / 2, "no finite loss was recorded", "middle"))
    low, high = min(values), max(values)
    first, last = points[0].epoch, points[-1].epoch

    def across(epoch: float) -> float:
        return LEFT + (epoch - first) / ((last - first) or 1) * (WIDTH - LEFT - RIGHT)

    def up(value: float) -> float:
        return HEIGHT - BOTTOM - (value - low) / ((high - low) or 1) * (HEIGHT - TOP - BOTTOM)

    parts = []
    for share in (0, 0.25, 0.5, 0.75, 1):
        y, value = up(low + share * (high - low)), low + share * (high - low)
        parts.append(f'<path d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}" stroke="#8888" />')
        parts.append(_text(LEFT - 6, y + 4, f"{value:.4g}", "end"))
    parts.append(_text(LEFT, HEIGHT - 12, f"epoch {first}", "start"))
    parts.append(_text(WIDTH - RIGHT, HEIGHT - 12, f"epoch {last}", "end"))
    step = -(-len(points) // MAX_POINTS)
    for place, (name, (colour, label)) in enumerate(LINES.items()):
        drawn = [(point.epoch, getattr(point, name)) for point in points[::step]]
        line = " ".join(f"{across(epoch):.1f},{up(value):.1f}" for epoch, value in drawn if value is not None)
        if line:
            parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2" />')
            parts.append(f'<path d="M{LEFT + 160 * place} 14h24" stroke="{colour}" stroke-width="3" />')
            parts.append(_text(LEFT + 160 * place + 30, 18, label, "start"))
    parts.append(f'<path d="M{across(best):.1f} {TOP}V{HEIGHT - BOTTOM}" stroke="#888" stroke-dasharray="4 3" />')
    anchor = "end" if across(best) > WIDTH / 2 else "start"
    parts.append(_text(across(best) + (-5 if anchor == "end" else 5), TOP + 10, f"best: epoch {best}", anchor))
    return _picture("\n".join(parts))


def _picture(content: str) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" '
        f'font-family="sans-serif" font-size="12" fill="#777">\n<title>Losses over epochs</title>\n{content}\n</svg>\n'
    )


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{text}</text>'
