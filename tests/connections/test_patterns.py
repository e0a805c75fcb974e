"""Paths and patterns of files in a connection."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.connections.patterns import fault, folder_of, is_pattern, matches


@pytest.mark.parametrize(
    ("pattern", "path", "expected"),
    [
        ("2026/*.parquet", "2026/a.parquet", True),
        ("2026/*.parquet", "2026/x/a.parquet", False),
        ("2026/**/*.parquet", "2026/a.parquet", True),
        ("2026/**/*.parquet", "2026/x/y/a.parquet", True),
        ("**", "a/b", True),
        ("a/*/c", "a/b/c", True),
        ("[a-c].csv", "b.csv", True),
        ("[!a].csv", "a.csv", False),
        ("[[]a].csv", "[a].csv", True),
        ("a?b", "a/b", False),
        ("a.csv", "aXcsv", False),
        ("[z-a].csv", "a.csv", False),
    ],
)
def test_wildcards_match_within_a_folder_and_two_stars_across_folders(pattern: str, path: str, expected: bool) -> None:
    assert matches(pattern, path) is expected


@pytest.mark.parametrize(
    "path", ["", "/a", "a//b", "../a", "a/..", "./a", "a/", "s3://b/a", "a\nb", "a\0", "..\\a", "x" * 1_001]
)
def test_a_path_that_could_leave_the_connection_is_refused(path: str) -> None:
    assert fault(path) is not None


SEGMENT = st.text("abc.é _-", min_size=1, max_size=6).filter(lambda part: part not in (".", ".."))
PATHS = st.lists(SEGMENT, min_size=1, max_size=4).map("/".join)


@given(PATHS)
def test_a_path_without_wildcards_matches_itself_alone(path: str) -> None:
    assert fault(path) is None
    assert not is_pattern(path)
    assert matches(path, path)
    assert matches("**", path)
    assert not matches(path, f"x/{path}")


@given(PATHS, st.integers(0, 3))
def test_every_match_is_in_the_folder_that_is_listed(path: str, wildcard: int) -> None:
    parts = path.split("/")
    parts[min(wildcard, len(parts) - 1)] = "*"
    pattern = "/".join(parts)

    assert matches(pattern, path)
    assert path.startswith(folder_of(pattern))


def test_a_pattern_of_many_stars_is_matched_quickly() -> None:
    began = time.process_time()

    assert not matches("*a" * 200 + "b", "a" * 900)
    assert not matches("**/" * 200 + "b", "a/" * 400 + "c")

    assert time.process_time() - began < 5
