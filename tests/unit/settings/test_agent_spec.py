"""Agent specs say what is wrong, where, and how to fix it."""

import pytest
from pydantic import TypeAdapter

from mas_core.errors import SpecInvalid
from mas_core.model.policy import RateLimit
from mas_core.settings.agent_spec import AgentSpec, agent_spec_schema, load_specs

WORD_COUNTER = """\
agent_id: word-counter
exec: [wc, -w]
mode: per_message
field: text
types: [text.count]
permissions:
  - from: operator
    types: ["text.*"]
  - to: [notebook, "role:writers"]
limits: {per_minute: 7}
roles: [counters]
restart: always
"""


def test_a_spec_is_read_with_its_rules_roles_and_limits(tmp_path):
    """What a spec says about the policy names the spec as its source."""
    (tmp_path / "word-counter.yaml").write_text(WORD_COUNTER)

    (spec,) = load_specs(tmp_path)
    policy = spec.policy()

    assert spec.command == ["wc", "-w"]
    assert spec.restart.policy == "always"
    assert [(rule.sender, rule.target, rule.type) for rule in policy.rules] == [
        ("operator", "word-counter", "text.*"),
        ("word-counter", "notebook", "*"),
        ("word-counter", "role:writers", "*"),
    ]
    assert {rule.source for rule in policy.rules} == {f"file:{tmp_path.name}/word-counter.yaml"}
    assert policy.limits == {"word-counter": RateLimit(per_minute=7, per_hour=1000)}
    assert policy.roles == {"counters": ("word-counter",)}


def test_instances_are_a_number_or_a_range(tmp_path):
    """Both are told on unchanged to the process of an instance."""
    (tmp_path / "a.yaml").write_text("agent_id: a\nclass_path: x:Y\ninstances: 3\n")
    (tmp_path / "b.yaml").write_text(
        "agent_id: b\nclass_path: x:Y\ninstances: {max: 8, scale_on: backlog, target: 5}\n"
    )
    fixed, scaled = load_specs(tmp_path)

    assert (fixed.instances.min, fixed.instances.max, fixed.instances.is_scaled) == (3, 3, False)
    assert (scaled.instances.min, scaled.instances.max, scaled.instances.target) == (1, 8, 5)
    for spec in (fixed, scaled):
        told = spec.model_dump(mode="json", by_alias=True, exclude_unset=True)
        assert AgentSpec.model_validate(told).instances == spec.instances


def test_reading_a_file_again_gives_the_same_rule_ids(tmp_path):
    """Rule ids follow from what the rule says, so that a reload changes only what was changed."""
    (tmp_path / "a.yaml").write_text(WORD_COUNTER)
    first = load_specs(tmp_path)[0].policy().rules
    (tmp_path / "a.yaml").write_text(WORD_COUNTER.replace("notebook", "diary"))
    second = load_specs(tmp_path)[0].policy().rules

    assert first[0].id == second[0].id
    assert first[1].id != second[1].id


@pytest.mark.parametrize(
    ("text", "line", "words", "hint"),
    [
        ("agent_id: a\nclass_paht: x:Y\n", 2, "unknown field 'class_paht'", "did you mean class_path?"),
        ("agent_id: a\nclass_path: os.system\n", 2, "no class path", "write  module:Class"),
        ("agent_id: a\nclass_path: ../../x:Y\n", 2, "no class path", "write  module:Class"),
        ("agent_id: a\nexec: wc -w\n", 2, "must be a list", "write  exec: [wc, -w]"),
        ("agent_id: a\n", 1, "either class_path or exec", "write  class_path"),
        ("agent_id: a\nclass_path: x:Y\nexec: [x]\n", 1, "either class_path or exec", "write  class_path"),
        ("class_path: x:Y\n", 1, "'agent_id' is missing", "add a line  agent_id"),
        ("agent_id: A B\nclass_path: x:Y\n", 1, "cannot be the id", "ids have 1 to 63"),
        ("agent_id: a\nclass_path: x:Y\ninstances: -1\n", 3, "greater than or equal to 0", ""),
        (
            "agent_id: a\nclass_path: x:Y\ninstances: many\n",
            3,
            "a number or a mapping",
            "write  instances: 2",
        ),
        (
            "agent_id: a\nclass_path: x:Y\ninstances: true\n",
            3,
            "a number or a mapping",
            "write  instances: 2",
        ),
        (
            "agent_id: a\nclass_path: x:Y\ninstances: {min: 3, max: 2}\n",
            3,
            "min 3 is more than max 2",
            "write  instances",
        ),
        (
            "agent_id: a\nclass_path: x:Y\ninstances:\n  max: 2\n  scale_no: x\n",
            5,
            "unknown field 'instances.scale_no'",
            "did you mean scale_on?",
        ),
        (
            "agent_id: a\nclass_path: x:Y\nlimits:\n  per_minut: 3\n",
            4,
            "per_minut",
            "did you mean per_minute?",
        ),
        ("agent_id: a\nclass_path: x:Y\nrestart: often\n", 3, "'always', 'on-failure' or 'never'", ""),
        (
            "agent_id: a\nclass_path: x:Y\npermissions:\n  - types: [a]\n",
            4,
            "needs to or from",
            "write  - to",
        ),
        ("agent_id: a\nclass_path: x:Y\nmode: stream\n", 1, "only stand with exec", ""),
    ],
)
def test_a_wrong_spec_names_line_and_fix(tmp_path, text, line, words, hint):
    """Each mistake is told in the words of the file."""
    (tmp_path / "a.yaml").write_text(text)

    with pytest.raises(SpecInvalid) as caught:
        load_specs(tmp_path)

    assert caught.value.path == str(tmp_path / "a.yaml")
    assert caught.value.line == line
    assert words in caught.value.message
    assert hint in "\n".join(caught.value.hint)


def test_all_wrong_files_are_told_at_once(tmp_path):
    """One run of the check is enough to find every mistake, doubled ids included."""
    (tmp_path / "a.yaml").write_text("agent_id: a\nclass_path: x:Y\n")
    (tmp_path / "b.yaml").write_text("agent_id: a\nclass_path: x:Y\n")
    (tmp_path / "c.yml").write_text("agent_id: c\nexec: x\ninstances: many\n")
    (tmp_path / "d.yaml").write_text("agent_id: d\nagent_id: e\n")

    with pytest.raises(SpecInvalid) as caught:
        load_specs(tmp_path)

    found = [(problem["path"][-6:], problem["line"]) for problem in caught.value.details["problems"]]
    assert sorted(found) == [("/c.yml", 2), ("/c.yml", 3), ("b.yaml", 1), ("d.yaml", 2)]


def test_the_schema_knows_the_fields_as_they_are_written():
    """Editors complete `exec` and `from`, and refuse unknown fields."""
    schema = agent_spec_schema()

    assert {"agent_id", "class_path", "exec", "restart"} <= set(schema["properties"])
    assert schema["additionalProperties"] is False
    assert "from" in schema["$defs"]["SpecPermission"]["properties"]
    assert TypeAdapter(dict).validate_python(schema)["title"] == "Agent spec"
