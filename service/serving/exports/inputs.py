"""Preprocessing as a torch module: raw columns to the inputs of a network, as in training. Needs only torch.

In a bundle this file is called inputs.py.
"""

from __future__ import annotations

import math
import sys
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from service.serving.exports.cells import MISSING, OTHER

LARGEST = float(torch.finfo(torch.float32).max)
FARTHEST = sys.float_info.max
SMOOTH_CLIP = 3.0  # bound of robustly scaled numbers
BEYOND = 2.0  # bin widths that a value beyond the bins counts for
DAY = 86_400.0  # seconds
CYCLES = (1.0, 7.0, 365.2425)  # days


class Inputs(nn.Module):
    """Preprocessing: columns to the network's inputs, as in training; `features` as in model.json."""

    origin: Tensor
    unit: Tensor
    fill: Tensor
    mean: Tensor
    scale: Tensor
    first_day: Tensor
    cycles: Tensor
    full_turn: Tensor
    order: Tensor

    def __init__(self, features: list[dict[str, Any]]) -> None:
        super().__init__()
        self.numeric = [feature for feature in features if feature["categories"] is None]
        self.texts = [feature for feature in features if feature["categories"] is not None]
        self.coded = [place for place, feature in enumerate(self.texts) if feature["embedding_size"]]
        self.dates = [place for place, feature in enumerate(self.numeric) if feature["type"] == "datetime"]
        self.stepped = [place for place, feature in enumerate(self.numeric) if feature["knots"] is not None]
        self.robust = [place for place, feature in enumerate(self.numeric) if feature["smooth_clip"]]
        self.binned = [place for place, feature in enumerate(self.numeric) if feature["bins"]]
        for name in ("origin", "fill", "mean", "scale"):
            self._hold(name, [feature[name] for feature in self.numeric])
        # Not Python's numbers, which torch.onnx rounds to float32.
        self._hold("first_day", [feature["origin"] / DAY for feature in self.numeric])
        self._hold("cycles", list(CYCLES))
        self._hold("full_turn", 2 * math.pi)
        self._hold("unit", [DAY if feature["type"] == "datetime" else 1.0 for feature in self.numeric])
        for place in self.stepped:
            at, scores = self.numeric[place]["knots"]
            quarters = [value / 4 for value in at]  # so that no difference overflows
            self._hold(f"at{place}", quarters[:-1])
            self._hold(f"apart{place}", [max(b - a, 5e-324) for a, b in pairwise(quarters)])
            self._hold(f"rise{place}", [b - a for a, b in pairwise(scores)])
        for place in self.binned:
            self._hold_bins(place, self.numeric[place])
        for place, feature in enumerate(self.texts):
            if feature["values"] is not None:
                self._hold(f"values{place}", feature["values"])
        self.register_buffer("order", torch.tensor(self._order(features), dtype=torch.int64), persistent=False)

    def _hold(self, name: str, values: list[Any] | float) -> None:
        self.register_buffer(name, torch.tensor(values, dtype=torch.float64), persistent=False)

    def _hold_bins(self, place: int, feature: dict[str, Any]) -> None:
        """Lower edge, width and bounds of each input of a piecewise-linear encoding; those without a bin stay 0."""
        bins, unused = max(len(feature["edges"]) - 1, 0), [0.0] * feature["bins"]
        quarters = [value / 4 for value in feature["edges"]]
        self._hold(f"low{place}", [*quarters[:-1], *unused][: len(unused)])
        self._hold(f"wide{place}", [*(b - a for a, b in pairwise(quarters)), *(1.0 for _ in unused)][: len(unused)])
        least, most = [0.0] * bins, [1.0] * bins
        if bins:
            least[0], most[-1] = -BEYOND, 1.0 + BEYOND
        self._hold(f"least{place}", [*least, *unused][: len(unused)])
        self._hold(f"most{place}", [*most, *unused][: len(unused)])

    def forward(self, numbers: Tensor, codes: Tensor) -> Tensor:
        """(B, inputs) float32; numbers and codes: see `Standalone.forward`."""
        blocks = []
        if self.numeric:
            missing = ~(numbers.abs() <= FARTHEST)  # NaN and infinite
            values = torch.where(missing, self.fill, (numbers - self.origin) / self.unit)
            scaled = torch.clamp((values - self.mean) / self.scale, -LARGEST, LARGEST)
            blocks += [self._clipped(scaled).float() if self.robust else scaled.float(), missing.float()]
            blocks += [self._score(values[:, place : place + 1], place) for place in self.stepped]
            blocks += [self._waves(values[:, place : place + 1], place) for place in self.dates]
            blocks += [self._bins(values[:, place : place + 1], place) for place in self.binned]
        for place, feature in enumerate(self.texts):
            if place in self.coded:
                continue
            if feature["values"] is not None:
                blocks.append(self._values(codes[:, place], place))
                continue
            known = torch.tensor([*range(len(feature["categories"])), OTHER, MISSING])
            blocks.append((codes[:, place : place + 1] == known).float())
        if not blocks:
            return numbers.float()
        return torch.cat(blocks, dim=1).index_select(1, self.order)

    def codes(self, codes: Tensor) -> Tensor:
        """(B, coded columns) int64: 0 for texts without a code, then categories, all other texts, and missing."""
        found = []
        for place in self.coded:
            feature, own = self.texts[place], codes[:, place]
            categories = len(feature["categories"])
            other = categories + 1 if feature["other"] else 0
            missing = categories + feature["other"] + 1 if feature["indicator"] else 0
            found.append(torch.where(own == OTHER, other, torch.where(own == MISSING, missing, own + 1)))
        return torch.stack(found, dim=1)

    def _score(self, values: Tensor, place: int) -> Tensor:
        """(B, 1) quantile transform: linear between knots, constant beyond them."""
        at, apart, rise = (getattr(self, f"{name}{place}") for name in ("at", "apart", "rise"))
        share = torch.clamp((values / 4 - at) / apart, 0.0, 1.0)
        score: Tensor = (share * rise).sum(dim=1, keepdim=True) + self.numeric[place]["knots"][1][0]
        return score.float()

    def _clipped(self, scaled: Tensor) -> Tensor:
        """(B, numeric columns) those of `robust` with a smooth clip, and 0 where the training rows had one value."""
        chosen = torch.tensor([place in self.robust for place in range(len(self.numeric))])
        smooth = torch.where(self.scale == 0, 0.0, scaled / torch.sqrt(1 + (scaled / SMOOTH_CLIP) ** 2))
        return torch.where(chosen, smooth, scaled)

    def _bins(self, values: Tensor, place: int) -> Tensor:
        """(B, bins) piecewise-linear encoding."""
        low, wide, least, most = (getattr(self, f"{name}{place}") for name in ("low", "wide", "least", "most"))
        return torch.maximum(torch.minimum((values / 4 - low) / wide, most), least).float()

    def _values(self, codes: Tensor, place: int) -> Tensor:
        """(B, inputs + 1) numbers of the text, the last ones for texts without any; then whether it is missing."""
        values: Tensor = getattr(self, f"values{place}")
        known = torch.where(codes < 0, len(values) - 1, codes)
        return torch.cat([values.index_select(0, known), (codes == MISSING).unsqueeze(1)], dim=1).float()

    def _waves(self, values: Tensor, place: int) -> Tensor:
        """(B, 6) sine and cosine of the time of day, week and year."""
        days = values + self.first_day[place]
        turns = [days / cycle for cycle in self.cycles.unbind()]
        angles = [self.full_turn * (turn - torch.floor(turn)) for turn in turns]
        return torch.cat([wave for angle in angles for wave in (torch.sin(angle), torch.cos(angle))], dim=1).float()

    def _order(self, features: list[dict[str, Any]]) -> list[int]:
        """The position of each input in the concatenated blocks of `forward`."""
        numbers = len(self.numeric)
        stepped_from, dates_from = 2 * numbers, 2 * numbers + len(self.stepped)
        bins_from = dates_from + 6 * len(self.dates)
        order: list[int] = []
        number, place = 0, bins_from + sum(feature["bins"] for feature in self.numeric)
        for feature in features:
            if feature["embedding_size"]:
                continue
            if feature["values"] is not None:
                width = len(feature["values"][-1])
                order += range(place, place + width + feature["indicator"])
                place += width + 1
                continue
            if feature["categories"] is not None:
                width = len(feature["categories"])
                order += range(place, place + width + feature["other"])
                order += [place + width + 1] * feature["indicator"]
                place += width + 2
                continue
            order.append(stepped_from + self.stepped.index(number) if number in self.stepped else number)
            if number in self.dates:
                start = dates_from + 6 * self.dates.index(number)
                order += range(start, start + 6)
            order += range(bins_from, bins_from + feature["bins"])
            bins_from += feature["bins"]
            order += [numbers + number] * feature["indicator"]
            number += 1
        return order
