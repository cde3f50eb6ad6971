from __future__ import annotations

from promptmill.domain.json_schemas import close_schema, is_strict

OPEN = {
    "type": "object",
    "properties": {
        "properties": {"type": "string", "enum": ["a", "b"]},
        "items": {"type": "array", "items": {"type": "object", "properties": {"x": {"type": "number"}}}},
    },
    "$defs": {"other": {"type": "object", "properties": {}}},
}


def test_what_is_left_open_is_closed() -> None:
    found = close_schema(OPEN)
    assert found["additionalProperties"] is False
    assert found["required"] == ["properties", "items"]
    inner = found["properties"]["items"]["items"]
    assert (inner["additionalProperties"], inner["required"]) == (False, ["x"])
    assert found["$defs"]["other"]["additionalProperties"] is False
    assert set(found["properties"]) == {"properties", "items"}, "names of properties are no keywords"
    assert is_strict(found)
    assert not is_strict(OPEN)
    assert close_schema(found) == found


def test_what_the_schema_says_itself_is_kept() -> None:
    optional = {"type": "object", "properties": {"a": {}, "b": {}}, "required": ["a"]}
    assert close_schema(optional)["required"] == ["a"]
    assert not is_strict(close_schema(optional))
    wide = {"type": "object", "properties": {"a": {}}, "additionalProperties": True}
    assert close_schema(wide)["additionalProperties"] is True


def test_data_is_no_schema() -> None:
    data = {"enum": [{"properties": {"a": 1}}], "default": {"properties": {}}}
    assert close_schema(data) == data
    assert is_strict(data)
