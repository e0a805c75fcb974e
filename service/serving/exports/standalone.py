"""A trained model with its preprocessing: raw rows in, predictions out. Needs only torch.

In a bundle this file is called load.py, beside the modules that it imports, model.json and weights.pt:

    from load import load
    model = load()
    model.predict([{"bill_length_mm": 39.1, "island": "Torgersen"}])

    model.predict_file("rows.csv")

or, from a terminal, `python load.py rows.csv`.
"""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from service.errors import InvalidData
from service.serving.exports.cells import MISSING, OTHER, code, number, with_numbers
from service.serving.exports.csv_columns import read_columns
from service.serving.exports.inputs import Inputs
from service.training.modules import network

MAX_LOG_RATE = 80.0  # bound of outputs that are logarithms
SMALLEST = float(torch.finfo(torch.float32).tiny)  # of probabilities whose logarithm is taken


class Columns:
    """The columns of raw rows; `features`: with `column`, `type` and, for texts, `categories`."""

    def __init__(self, features: list[dict[str, Any]]) -> None:
        self.numeric = [feature for feature in features if feature["categories"] is None]
        self.texts = [feature for feature in features if feature["categories"] is not None]
        self.places = [{text: place for place, text in enumerate(feature["categories"])} for feature in self.texts]


class Reader(nn.Module):
    """The inputs of networks with the same preprocessing; `columns`: those of the whole model."""

    def __init__(self, features: list[dict[str, Any]], columns: Columns) -> None:
        super().__init__()
        self.inputs = Inputs(features)
        self._find("numbers_at", self.inputs.numeric, columns.numeric)
        self._find("codes_at", self.inputs.texts, columns.texts)
        texts = {feature["column"]: feature["categories"] for feature in columns.texts}
        for place, feature in enumerate(self.inputs.texts):
            known, own = texts[feature["column"]], {text: code for code, text in enumerate(feature["categories"])}
            table = torch.tensor([MISSING, OTHER, *(own.get(text, OTHER) for text in known)])
            self.register_buffer(f"recoded{place}", None if list(own) == known else table, persistent=False)

    def _find(self, name: str, own: list[dict[str, Any]], all_: list[dict[str, Any]]) -> None:
        """Hold the places of these columns among those of the model, unless they are all of them in order."""
        order = {feature["column"]: place for place, feature in enumerate(all_)}
        places = [order[feature["column"]] for feature in own]
        held = None if places == [*range(len(all_))] else torch.tensor(places, dtype=torch.int64)
        self.register_buffer(name, held, persistent=False)

    def forward(self, numbers: Tensor, codes: Tensor) -> list[Tensor]:
        """The arguments of the networks; see `Standalone.forward`."""
        numbers, codes = self._own(numbers, self.numbers_at), self._recoded(self._own(codes, self.codes_at))
        return [self.inputs(numbers, codes), *([self.inputs.codes(codes)] if self.inputs.coded else [])]

    def _own(self, values: Tensor, places: Any) -> Tensor:
        return values if places is None else values.index_select(1, places)

    def _recoded(self, codes: Tensor) -> Tensor:
        """The codes of texts among the networks' own categories, which may be fewer than those of the model."""
        tables = [getattr(self, f"recoded{place}") for place in range(len(self.inputs.texts))]
        if all(table is None for table in tables):
            return codes
        own = [
            code if table is None else table.index_select(0, code - MISSING)
            for code, table in zip(codes.unbind(1), tables, strict=True)
        ]
        return torch.stack(own, dim=1)


class Member(nn.Module):
    """A network of a model."""

    mean: Tensor
    scale: Tensor
    low: Tensor | None
    high: Tensor

    def __init__(self, description: dict[str, Any]) -> None:
        super().__init__()
        self.target = description["target"]
        self.network = network(description["layers"])
        for name in ("mean", "scale", "low", "high"):
            value = None if self.target[name] is None else torch.tensor(self.target[name], dtype=torch.float64)
            self.register_buffer(name, value, persistent=False)

    def forward(self, *inputs: Tensor) -> Tensor:
        """(B, classes) probabilities, or (B,) values in the target's unit, float64; see `Reader.forward`."""
        outputs = self.network(*inputs).double()
        if self.target["classes"] is not None:
            return torch.softmax(outputs, dim=1)
        first = outputs[:, 0]
        if self.target["link"] == "log":
            first = torch.exp(torch.clamp(first, max=MAX_LOG_RATE))
        value = first * self.scale + self.mean
        return value if self.low is None else torch.minimum(torch.maximum(value, self.low), self.high)


class Standalone(nn.Module):
    """Raw columns in, predictions out; `description`: the content of model.json.

    The model is the weighted mean of the predictions of `members`; a description without members is its only one.
    Where there is a `temperature`, the logarithms of the mean probabilities are divided by it, which calibrates them.
    """

    weights: Tensor
    temperature: Tensor | None

    def __init__(self, description: dict[str, Any]) -> None:
        super().__init__()
        self.description = description
        self.target = description["target"]
        self.columns = Columns(description["features"])
        members = description.get("members", [description])
        distinct: list[list[dict[str, Any]]] = []
        for member in members:
            if member["features"] not in distinct:
                distinct.append(member["features"])
        self.readers = nn.ModuleList(Reader(features, self.columns) for features in distinct)
        self.read_by = [distinct.index(member["features"]) for member in members]
        self.members = nn.ModuleList(map(Member, members))
        weights = torch.tensor([member.get("weight", 1.0) for member in members], dtype=torch.float64)
        self.register_buffer("weights", weights, persistent=False)
        found = description.get("temperature")
        temperature = None if found is None else torch.tensor(found, dtype=torch.float64)
        self.register_buffer("temperature", temperature, persistent=False)

    def forward(self, numbers: Tensor, codes: Tensor) -> Tensor:
        """(B, classes) probabilities, or (B,) values in the target's unit, float64.

        `numbers`: (B, numeric columns) float64, NaN where missing, dates in seconds since 1970; `codes`: (B, text
        columns) int64, the index of each text among its column's categories, or OTHER, or MISSING.
        """
        mean: Tensor = self._mean(numbers, codes)
        if self.temperature is None:
            return mean
        return torch.softmax(torch.log(torch.clamp(mean, min=SMALLEST)) / self.temperature, dim=1)

    def _mean(self, numbers: Tensor, codes: Tensor) -> Any:
        """The weighted mean of the members; the preprocessing that members share is computed once."""
        inputs = [reader(numbers, codes) for reader in self.readers]
        answers = [member(*inputs[place]) for member, place in zip(self.members, self.read_by, strict=True)]
        if len(answers) == 1:
            return answers[0]
        mean = self.weights[0] * answers[0]
        for weight, answer in zip(self.weights[1:], answers[1:], strict=True):
            mean = mean + weight * answer
        return mean

    def load_weights(self, weights: dict[str, Tensor] | list[dict[str, Tensor]]) -> None:
        """Load the state dict of the network, or those of the members."""
        states = weights if isinstance(weights, list) else [weights]
        for member, state in zip(self.members, states, strict=True):
            member.get_submodule("network").load_state_dict(state, strict=True)

    def tensors(self, rows: list[dict[str, Any]]) -> tuple[Tensor, Tensor]:
        """The arguments of `forward`, from rows by column name; absent columns are missing values.

        Raises ValueError for a value that does not fit, and for a row without a column that has one of another name.
        """
        self._refuse_unknown(rows)
        nulls = with_numbers(self.description["null_values"])
        numbers = [[number(row.get(f["column"]), f, nulls) for row in rows] for f in self.columns.numeric]
        texts = zip(self.columns.texts, self.columns.places, strict=True)
        codes = [[code(row.get(f["column"]), f, places, nulls) for row in rows] for f, places in texts]
        return _stacked(numbers, len(rows), torch.float64), _stacked(codes, len(rows), torch.int64)

    def _refuse_unknown(self, rows: list[dict[str, Any]]) -> None:
        known = {feature["column"] for feature in self.description["features"]}
        for place, row in enumerate(rows):
            unknown, missing = row.keys() - known - {self.target["column"]}, known - row.keys()
            if unknown and missing:
                raise ValueError(f"row {place}: no column {min(unknown)!r} is known, and {min(missing)!r} is absent")

    def tensors_of_file(self, path: str | Path) -> tuple[Tensor, Tensor]:
        """The arguments of `forward`, from the rows of a CSV file; see `read_columns`."""
        rows, columns = read_columns(path, self.description)
        numbers = [columns[feature["column"]] for feature in self.columns.numeric]
        texts = zip(self.columns.texts, self.columns.places, strict=True)
        codes = [[code(text, f, places, set()) for text in columns[f["column"]]] for f, places in texts]
        return _stacked(numbers, rows, torch.float64), _stacked(codes, rows, torch.int64)

    def predict(self, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """One `{"prediction": ...}` per row, for classification with `"probabilities": {class: probability}`."""
        return self._answers(*self.tensors(rows))

    def predict_file(self, path: str | Path) -> list[dict[str, Any]]:
        """As `predict`, for each row of a CSV file. Raises InvalidData where the service would refuse the file."""
        return self._answers(*self.tensors_of_file(path))

    @torch.inference_mode()
    def _answers(self, numbers: Tensor, codes: Tensor) -> list[dict[str, Any]]:
        classes = self.target["classes"]
        answers = self(numbers, codes).tolist() if len(numbers) else []
        if classes is None:
            return [{"prediction": answer} for answer in answers]
        names = list(map(_text, classes))
        return [
            {"prediction": classes[each.index(max(each))], "probabilities": dict(zip(names, each, strict=True))}
            for each in answers
        ]


def load(folder: str | Path = Path(__file__).parent) -> Standalone:
    """Load the model of a bundle's folder."""
    model = Standalone(json.loads((Path(folder) / "model.json").read_text(encoding="utf-8")))
    model.load_weights(torch.load(Path(folder) / "weights.pt", weights_only=True))
    return model.eval()


def main(path: str, folder: str | Path = Path(__file__).parent) -> None:
    """Print the prediction for each row of a CSV file."""
    try:
        answers = load(folder).predict_file(path)
    except (InvalidData, OSError) as error:
        sys.exit(f"{path}: {error}")
    names = [f"probability of {name}" for name in answers[0].get("probabilities", {})] if answers else []
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(["prediction", *names])
    writer.writerows([_text(each["prediction"]), *each.get("probabilities", {}).values()] for each in answers)


def _stacked(columns: list[list[Any]], rows: int, kind: torch.dtype) -> Tensor:
    """(rows, columns) of these values."""
    return torch.tensor(columns, dtype=kind).reshape(len(columns), rows).T.contiguous()


def _text(value: Any) -> str:
    """As the service writes it: true, not True."""
    return str(value).lower() if isinstance(value, bool) else str(value)


if __name__ == "__main__":
    main(*sys.argv[1:])
