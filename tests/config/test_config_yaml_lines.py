"""YAML as people write it: numbers are numbers, `no` is a word, a repeated key is an error with its line."""

import pytest

from kit.config.errors import ConfigError
from kit.config.yaml_lines import load_yaml, parse_yaml


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("2e-4", 2e-4),
        ("5e-05", 5e-5),
        ("1e6", 1e6),
        ("3.5", 3.5),
        (".5", 0.5),
        ("-3", -3),
        ("0x1f", 31),
        ("true", True),
        ("null", None),
        ("~", None),
        ("no", "no"),
        ("on", "on"),
        ("1_000", "1_000"),
        ("'1'", "1"),
        ("2024-01-01", "2024-01-01"),
        ("1.2.3", "1.2.3"),
        (".inf", float("inf")),
    ],
)
def test_plain_scalars_follow_yaml_1_2(text: str, value: object) -> None:
    parsed, _ = parse_yaml(f"key: {text}", "file.yaml")
    assert parsed == {"key": value}
    assert type(parsed["key"]) is type(value)


def test_every_key_and_item_knows_its_line() -> None:
    _, lines = parse_yaml("a:\n  - x\n  - b: 1\n    c: 2\n", "file.yaml")
    assert lines[("a",)] == 1
    assert lines[("a", 0)] == 2
    assert lines[("a", 1, "c")] == 4


def test_merge_keys_and_anchors_work() -> None:
    parsed, _ = parse_yaml("base: &b {x: 1}\nother:\n  <<: *b\n  y: 2\n", "file.yaml")
    assert parsed["other"] == {"x": 1, "y": 2}


def test_a_merged_key_may_be_given_again_however_often_it_is_merged() -> None:
    parsed, _ = parse_yaml("a: &a {x: 1}\nb: &b\n  <<: *a\n  x: 2\nc: *b\nd: {<<: *b, x: 3}\n", "file.yaml")
    assert parsed == {"a": {"x": 1}, "b": {"x": 2}, "c": {"x": 2}, "d": {"x": 3}}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: &a [*a]", "nested without end"),
        ("? [a, b]\n: 1", "is no key"),
        ("a: !!int abc", "is no number"),
        ("a: !!binary aGk=", "type bytes"),
    ],
)
def test_yaml_that_settings_have_no_use_for_is_refused(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_yaml(text, "file.yaml")


def test_repeated_keys_are_all_reported() -> None:
    with pytest.raises(ConfigError) as caught:
        parse_yaml("a: 1\nb: {c: 1, c: 2}\na: 3\n", "file.yaml")
    assert [problem.where for problem in caught.value.problems] == ["file.yaml:2", "file.yaml:3"]
    assert "first on line 1" in caught.value.problems[1].hint


def test_broken_yaml_names_the_line() -> None:
    with pytest.raises(ConfigError, match=r"file\.yaml:2: not valid YAML"):
        parse_yaml("a: [1\nb: 2", "file.yaml")


def test_a_python_object_is_refused(tmp_path) -> None:
    with pytest.raises(ConfigError, match="is not allowed"):
        parse_yaml("a: !!python/object/apply:os.system ['true']", "file.yaml")


def test_missing_and_undecodable_files(tmp_path) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        load_yaml(tmp_path / "absent.yaml")
    (tmp_path / "latin.yaml").write_bytes(b"name: caf\xe9")
    with pytest.raises(ConfigError, match="not UTF-8"):
        load_yaml(tmp_path / "latin.yaml")


def test_a_byte_order_mark_is_no_part_of_the_first_key(tmp_path) -> None:
    (tmp_path / "bom.yaml").write_bytes(b"\xef\xbb\xbfname: x\n")
    assert load_yaml(tmp_path / "bom.yaml")[0] == {"name": "x"}
