"""Names of models that `fit` makes from files, data sets and targets."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.client.fit import model_name
from service.spec.model import LABEL


@pytest.mark.parametrize(
    ("data", "target", "name"),
    [
        ("examples/penguins.csv", "species", "penguins"),
        (Path("a/Kunden_2026 (Kopie).csv.gz"), "y", "kunden-2026-kopie"),
        ("Größe.parquet", "y", "groe"),
        ("データ.csv", "y", "y"),
        (b"a,b\n1,2\n", "Body Mass (g)", "body-mass-g"),
        ((None, None), "y", "y"),
        (b"", "目標", "model"),
        (".csv", "___", "model"),
    ],
)
def test_a_name_is_made_from_the_file_or_the_target(data: object, target: str, name: str) -> None:
    assert model_name(data, target) == name


@given(st.text(), st.none() | st.text())
def test_every_name_is_a_dns_label(file: str, target: str | None) -> None:
    assert re.fullmatch(LABEL, model_name(file.replace("\0", ""), target))
