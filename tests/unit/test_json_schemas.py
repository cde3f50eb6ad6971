from __future__ import annotations

from promptmill.domain.json_schemas import closed, is_strict

OPEN = {
    "type": "object",
    "properties": {
        "properties": {"type": "string", "enum": ["a", "b"]},
        "items": {"type": "array", "items": {"type": "object", "properties": {"x": {"type": "number"}}}},
    },
    "$defs": {"other": {"type": "object", "properties": {}}},
}


def test_what_is_left_open_is_closed() -> None:
    found = closed(OPEN)
    assert found["additionalProperties"] is False
    assert found["required"] == ["properties", "items"]
    inner = found["properties"]["items"]["items"]
    assert (inner["additionalProperties"], inner["required"]) == (False, ["x"])
    assert found["$defs"]["other"]["additionalProperties"] is False
    assert set(found["properties"]) == {"properties", "items"}, "names of properties are no keywords"
    assert is_strict(found)
    assert not is_strict(OPEN)
    assert closed(found) == found


def test_what_the_schema_says_itself_is_kept() -> None:
    optional = {"type": "object", "properties": {"a": {}, "b": {}}, "required": ["a"]}
    assert closed(optional)["required"] == ["a"]
    assert not is_strict(closed(optional))
    wide = {"type": "object", "properties": {"a": {}}, "additionalProperties": True}
    assert closed(wide)["additionalProperties"] is True


def test_data_is_no_schema() -> None:
    data = {"enum": [{"properties": {"a": 1}}], "default": {"properties": {}}}
    assert closed(data) == data
    assert is_strict(data)
