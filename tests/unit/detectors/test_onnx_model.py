"""The real model: persons and addresses, in any text, merged with their neighbours."""

from __future__ import annotations

import pytest

from promptmill.detectors.ner import CancelledSearchError, OnnxModel

FILLER = "The parcel was late again, and nobody answered the question that was asked about it. "


@pytest.fixture(scope="module")
def model() -> OnnxModel:
    return OnnxModel()


def found(model: OnnxModel, text: str) -> list[tuple[str, str]]:
    return [(span.type, text[span.start : span.end]) for span in model.find(text)]


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("My name is Maria Keller and I am waiting.", [("person", "Maria Keller")]),
        ("Dear Mr. Jean-Luc O'Neill, thank you.", [("person", "Jean-Luc O'Neill")]),
        ("My name is John F. Miller and I am waiting.", [("person", "John F. Miller")]),
        (
            "Ship it to 12 Rose Lane, Springfield, IL 62704 please.",
            [("address", "12 Rose Lane, Springfield, IL 62704")],
        ),
        (
            "I am Peter Novak and I live at 48 Mill Road, Cambridge.",
            [("person", "Peter Novak"), ("address", "48 Mill Road, Cambridge")],
        ),
        ("She moved from Chicago last year.", [("location", "Chicago")]),
        ("The parcel was late again.", []),
    ],
)
def test_names_and_places(model: OnnxModel, text: str, values: list[tuple[str, str]]) -> None:
    assert found(model, text) == values


def test_parts_in_different_windows_are_all_found(model: OnnxModel) -> None:
    names = ["Maria Keller", "Peter Novak", "Susan Clark", "James Wilson"]
    text = "".join(f"{FILLER * 12}My name is {name} and I am waiting. " for name in names)
    assert [value for _, value in found(model, text)] == names


@pytest.mark.parametrize("before", range(120, 168, 3))
def test_a_name_on_the_edge_of_a_window_is_whole(model: OnnxModel, before: int) -> None:
    text = "so " * before + "my name is Maria Keller and I am waiting. " + FILLER * 10
    assert ("person", "Maria Keller") in found(model, text)


def test_a_lone_letter_is_nobody(model: OnnxModel) -> None:
    assert all(sum(map(str.isalnum, value)) > 1 for _, value in found(model, "A: J. B: K, 5 and 1\nC: M.\n" * 5))


def test_a_search_is_given_up_between_windows(model: OnnxModel) -> None:
    asked: list[None] = []

    def third_time() -> bool:
        asked.append(None)
        return len(asked) == 3

    with pytest.raises(CancelledSearchError):
        model.find(FILLER * 100, is_cancelled=third_time)
    assert len(asked) == 3
