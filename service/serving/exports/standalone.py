"""A trained network with its preprocessing: raw rows in, predictions out. Needs only torch.

In a bundle this file is called load.py, beside layers.py, model.json and weights.pt:

    from load import load
    model = load()
    model.predict([{"bill_length_mm": 39.1, "island": "Torgersen"}])

or, from a terminal, `python load.py rows.csv`.
"""

from __future__ import annotations

import csv
import json
import math
import re
import sys
from datetime import UTC, datetime, time
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from service.training.modules import network

LARGEST = float(torch.finfo(torch.float32).max)
FARTHEST = sys.float_info.max
DAY = 86_400.0  # seconds
CYCLES = (1.0, 7.0, 365.2425)  # days
OTHER, MISSING = -1, -2  # codes of text values
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
FORMULA = re.compile(r"'+[=+\-@\t\r\uff1d\uff0b\uff0d\uff20]")


class Inputs(nn.Module):
    """Preprocessing: columns to the network's inputs, as in training; `features` as in model.json."""

    origin: Tensor
    unit: Tensor
    fill: Tensor
    mean: Tensor
    scale: Tensor
    order: Tensor

    def __init__(self, features: list[dict[str, Any]]) -> None:
        super().__init__()
        self.numeric = [feature for feature in features if feature["categories"] is None]
        self.texts = [feature for feature in features if feature["categories"] is not None]
        self.one_hot = [place for place, feature in enumerate(self.texts) if not feature.get("embedding_size")]
        self.coded = [place for place, feature in enumerate(self.texts) if feature.get("embedding_size")]
        self.dates = [place for place, feature in enumerate(self.numeric) if feature["type"] == "datetime"]
        self.stepped = [place for place, feature in enumerate(self.numeric) if feature["knots"] is not None]
        for name in ("origin", "fill", "mean", "scale"):
            self._hold(name, [feature[name] for feature in self.numeric])
        self._hold("unit", [DAY if feature["type"] == "datetime" else 1.0 for feature in self.numeric])
        for place in self.stepped:
            at, scores = self.numeric[place]["knots"]
            quarters = [value / 4 for value in at]  # so that no difference overflows
            self._hold(f"at{place}", quarters[:-1])
            self._hold(f"apart{place}", [max(b - a, 5e-324) for a, b in pairwise(quarters)])
            self._hold(f"rise{place}", [b - a for a, b in pairwise(scores)])
        self.register_buffer("order", torch.tensor(self._order(features), dtype=torch.int64), persistent=False)

    def _hold(self, name: str, values: list[float]) -> None:
        self.register_buffer(name, torch.tensor(values, dtype=torch.float64), persistent=False)

    def forward(self, numbers: Tensor, codes: Tensor) -> Tensor:
        """(B, inputs) float32.

        `numbers`: (B, numeric columns) float64, NaN where missing, dates in seconds since 1970; `codes`: (B, text
        columns) int64, the index of each text among its column's categories, or OTHER, or MISSING.
        """
        blocks = []
        if self.numeric:
            missing = ~(numbers.abs() <= FARTHEST)  # NaN and infinite
            values = torch.where(missing, self.fill, (numbers - self.origin) / self.unit)
            scaled = torch.clamp((values - self.mean) / self.scale, -LARGEST, LARGEST)
            blocks += [scaled.float(), missing.float()]
            blocks += [self._score(values[:, place : place + 1], place) for place in self.stepped]
            blocks += [self._waves(values[:, place : place + 1], place) for place in self.dates]
        for place in self.one_hot:
            known = torch.tensor([*range(len(self.texts[place]["categories"])), OTHER, MISSING])
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

    def _waves(self, values: Tensor, place: int) -> Tensor:
        """(B, 6) sine and cosine of the time of day, week and year."""
        days = values + self.numeric[place]["origin"] / DAY
        angles = [2 * math.pi * (days / cycle - torch.floor(days / cycle)) for cycle in CYCLES]
        return torch.cat([wave for angle in angles for wave in (torch.sin(angle), torch.cos(angle))], dim=1).float()

    def _order(self, features: list[dict[str, Any]]) -> list[int]:
        """The position of each input in the concatenated blocks of `forward`."""
        numbers = len(self.numeric)
        stepped_from, dates_from = 2 * numbers, 2 * numbers + len(self.stepped)
        texts_from = dates_from + 6 * len(self.dates)
        order: list[int] = []
        number, place = 0, texts_from
        for feature in features:
            if feature.get("embedding_size"):
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
            order += [numbers + number] * feature["indicator"]
            number += 1
        return order


class Standalone(nn.Module):
    """Raw columns in, predictions out; `description`: the content of model.json."""

    def __init__(self, description: dict[str, Any]) -> None:
        super().__init__()
        self.description = description
        self.target = description["target"]
        self.inputs = Inputs(description["features"])
        self.network = network(description["layers"])

    def forward(self, numbers: Tensor, codes: Tensor) -> Tensor:
        """(B, classes) probabilities, or (B,) values in the target's unit, float64; see `Inputs.forward`."""
        embedded = [self.inputs.codes(codes)] if self.inputs.coded else []
        outputs = self.network(self.inputs(numbers, codes), *embedded).double()
        if self.target["classes"] is not None:
            return torch.softmax(outputs, dim=1)
        value: Tensor = outputs[:, 0] * self.target["scale"] + self.target["mean"]
        return value

    def tensors(self, rows: list[dict[str, Any]]) -> tuple[Tensor, Tensor]:
        """The arguments of `forward`, from rows by column name; absent columns are missing values."""
        nulls = set(self.description["null_values"])
        numbers = [[number(row.get(f["column"]), f, nulls) for f in self.inputs.numeric] for row in rows]
        codes = [[code(row.get(f["column"]), f, nulls) for f in self.inputs.texts] for row in rows]
        shape = len(rows), -1
        return (
            torch.tensor(numbers, dtype=torch.float64).reshape(shape if self.inputs.numeric else (len(rows), 0)),
            torch.tensor(codes, dtype=torch.int64).reshape(shape if self.inputs.texts else (len(rows), 0)),
        )

    @torch.inference_mode()
    def predict(self, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """One `{"prediction": ...}` per row, for classification with `"probabilities": {class: probability}`."""
        classes = self.target["classes"]
        answers = self(*self.tensors(rows)).tolist()
        if classes is None:
            return [{"prediction": answer} for answer in answers]
        names = [str(each).lower() if isinstance(each, bool) else str(each) for each in classes]
        return [
            {"prediction": classes[each.index(max(each))], "probabilities": dict(zip(names, each, strict=True))}
            for each in answers
        ]


def number(value: Any, feature: dict[str, Any], nulls: set[str]) -> float:
    """A cell of a numeric column; text is parsed as in CSV. Raises ValueError with the column's name."""
    if value is None or (isinstance(value, str) and value in nulls):
        return math.nan
    try:
        if feature["type"] == "datetime":
            return seconds(str(value))
        if feature["type"] == "boolean" and isinstance(value, str):
            return float({"true": 1, "false": 0}[value.lower()] if value.lower() in ("true", "false") else value)
        return float(value)
    except ValueError as error:
        raise ValueError(f"column {feature['column']!r}: {value!r} is no {feature['type']}") from error


def seconds(text: str) -> float:
    """Seconds since 1970 of an ISO 8601 date or a time of day; UTC if it has no time zone."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        at = datetime.combine(EPOCH, time.fromisoformat(text))
    return ((at if at.tzinfo else at.replace(tzinfo=UTC)) - EPOCH).total_seconds()


def code(value: Any, feature: dict[str, Any], nulls: set[str]) -> int:
    """The category code of a cell of a text column."""
    if value in feature["categories"]:
        place: int = feature["categories"].index(value)
        return place
    return MISSING if value is None or value in nulls else OTHER


def original(name: str) -> str:
    """A column's name without the apostrophe that protects it from formula injection in a CSV file."""
    if not FORMULA.match(name):
        return name
    try:
        float(name.lstrip("'"))
    except ValueError:
        return name.removeprefix("'")
    return name


def load(folder: str | Path = Path(__file__).parent) -> Standalone:
    """Load the network of a bundle's folder."""
    model = Standalone(json.loads((Path(folder) / "model.json").read_text(encoding="utf-8")))
    model.network.load_state_dict(torch.load(Path(folder) / "weights.pt", weights_only=True), strict=True)
    return model.eval()


def main(path: str, folder: str | Path = Path(__file__).parent) -> None:
    """Print the prediction for each row of a CSV file."""
    with Path(path).open(encoding="utf-8-sig", newline="") as file:
        rows = csv.DictReader(file)
        rows.fieldnames = list(map(original, rows.fieldnames or ()))
        answers = load(folder).predict(list(rows))
    names = [f"probability of {name}" for name in answers[0].get("probabilities", {})] if answers else []
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(["prediction", *names])
    writer.writerows([each["prediction"], *each.get("probabilities", {}).values()] for each in answers)


if __name__ == "__main__":
    main(*sys.argv[1:])
