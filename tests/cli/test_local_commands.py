"""The commands that need no server: contexts, settings, specs, help."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

SPEC = "agent_id: {}\nclass_path: x:X\n"


@pytest.fixture
def project() -> Path:
    """A project in the current folder."""
    root = Path.cwd()
    (root / "mas.yaml").write_text("name: demo\nprofile: fast\n")
    (root / "agents.d").mkdir()
    (root / "agents.d" / "one.yaml").write_text(SPEC.format("one"))
    (root / "agents.d" / "x.py").write_text("class X:\n    pass\n")
    return root


def test_contexts_live_through_their_whole_life(mas, home):
    """Add, list, select, go back, rename, remove."""
    assert mas("context", "list", "-o", "json").json == []
    assert mas("context", "add", "a", "--url", "redis://:hunter2@h:1/0").code == 0
    assert mas("context", "add", "b", "--url", "-", "--protected", stdin="redis://h:2\n").code == 0
    assert mas("context", "list", "-o", "name").out == "a\nb\n"
    assert mas("context", "show", "-o", "json").json["name"] == "a"
    assert mas("context", "select", "b", "-o", "json").json["selected"] is True
    assert mas("context", "previous", "-o", "json").json["name"] == "a"
    assert mas("context", "rename", "a", "c", "-o", "json").json["selected"] is True
    assert mas("--context", "b", "context", "show", "-o", "json").json["url"] == "redis://h:2"
    assert mas("context", "remove", "c", "--yes").code == 0
    assert mas("context", "list", "-o", "name").out == "b\n"

    files = list((home / ".config" / "mas").rglob("*.yaml"))
    assert [oct(path.stat().st_mode)[-3:] for path in files] == ["600"] * len(files)


def test_a_password_in_a_context_is_never_shown(mas):
    """Not in a list, not in one, not in where, in no format."""
    mas("context", "add", "a", "--url", "redis://:hunter2@h:1/0")
    for words in (["context", "list"], ["context", "show", "a"], ["config", "where"]):
        for format_ in ("table", "json", "jsonl", "yaml", "csv", "name"):
            ran = mas(*words, "-o", format_, "--debug", "-vv")
            assert ran.code == 0
            assert "hunter2" not in ran.out + ran.err


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["show"], 6),
        (["show", "x"], 6),
        (["select", "x"], 6),
        (["previous"], 6),
        (["rename", "x", "y"], 6),
        (["remove", "x", "-y"], 6),
        (["add", "a", "--url", "redis://h"], 7),
        (["add", "x"], 2),
        (["add", "X!", "--url", "redis://h"], 2),
        (["add", "x", "--url", "redis://h", "--partitions", "0"], 2),
        (["rename", "a", "b"], 7),
        (["remove", "a"], 2),
        (["remove", "a", "b", "-y"], 2),
        (["remove", "b", "-y"], 2),
        (["remove", "a", "-o", "json"], 2),
    ],
)
def test_contexts_that_cannot_be(mas, words, code):
    """Each with its documented code, a hint, and nothing changed."""
    mas("context", "add", "a", "--url", "redis://h")
    mas("context", "add", "b", "--url", "redis://h", "--protected")
    if words[0] == "show" and len(words) == 1:
        mas("context", "remove", "a", "-y")
    before = mas("context", "list", "-o", "json").json

    ran = mas("context", *words)

    assert ran.code == code
    assert ran.out == ""
    assert before == mas("context", "list", "-o", "json").json


def test_several_contexts_are_removed_with_a_name(mas):
    """--confirm says it; a context that is not there stops everything."""
    mas("context", "add", "a", "--url", "redis://h")
    mas("context", "add", "b", "--url", "redis://h", "--protected")

    assert mas("context", "remove", "a", "b", "x", "--confirm", "b").code == 6
    assert mas("context", "remove", "a", "b", "--confirm", "b").code == 0
    assert mas("context", "list", "-o", "json").json == []


def test_a_context_is_copied_and_checked(mas, project):
    """A copy is another context; a file that cannot be used is 1, a server that does not answer 3."""
    mas("context", "add", "a", "--url", "redis://:hunter2@127.0.0.1:1", "--protected")

    assert mas("context", "copy", "a", "b", "-o", "json").json["protected"] is True
    assert mas("context", "copy", "a", "b").code == 7
    assert mas("context", "copy", "x", "c").code == 6
    checked = mas("context", "validate", "-o", "json")
    assert (checked.code, [(row["name"], row["ok"]) for row in checked.json]) == (
        0,
        [("a", True), ("b", True)],
    )
    reached = mas("context", "validate", "b", "--connect", "-o", "json")
    assert (reached.code, reached.json[0]["ok"]) == (3, False)
    assert "hunter2" not in reached.out + reached.err
    (Path.home() / ".config/mas/contexts/b.yaml").write_text("url: 7\n")
    assert mas("context", "validate").code == 1
    assert mas("context", "validate", "x").code == 6


def test_a_setting_is_printed_for_scripts(mas, project, monkeypatch):
    """Its value alone; a section as JSON; secrets only with --unmask."""
    monkeypatch.setenv("MAS_URL", "redis://:hunter2@h")

    assert mas("config", "get", "profile") == (0, "fast\n", "")
    assert mas("config", "get", "partitions").out == "1\n"
    assert mas("config", "get", "gateway.rate_limit").json["per_minute"] == 100
    assert mas("config", "get", "url").out == "redis://:****@h\n"
    assert mas("config", "get", "url", "--unmask").out == "redis://:hunter2@h\n"
    assert mas("config", "get", "profil", "-o", "json").error["hint"] == ["mas config get profile"]


@pytest.mark.parametrize(
    ("name", "field"), [("mas.yaml", "profile"), ("policy.yaml", "rules"), ("agent.yaml", "class_path")]
)
def test_the_schema_of_every_file_is_printed(mas, name, field):
    """With what each field is for."""
    schema = mas("config", "schema", name).json

    assert schema["properties"][field]["description"]
    assert mas("config", "schema", "other.yaml").code == 2


def test_bare_mas_says_where_one_is(mas, project):
    """Help and four facts, always with 0; --help is the help alone."""
    (project / "mas.yaml").write_text("name: demo\n")
    inside = mas()
    elsewhere = mas("--url", "redis://127.0.0.1:1")

    assert (inside.code, elsewhere.code) == (0, 0)
    assert "start it with: mas up" in inside.out
    assert "cannot be reached" in elsewhere.out
    assert "Here:" not in mas("--help").out
    (project / "mas.yaml").unlink()
    assert "mas init DIR" in mas().out
    assert "there is no context 'x'" in mas("-c", "x").out


def test_settings_and_their_sources(mas, project, monkeypatch, home):
    """Flag over environment over project file over user file over default."""
    (home / ".config" / "mas").mkdir(parents=True)
    (home / ".config" / "mas" / "config.yaml").write_text("namespace: mine\nprofile: ha\n")
    monkeypatch.setenv("MAS_PARTITIONS", "3")
    monkeypatch.setenv("MAS_URL", "redis://:hunter2@h")

    rows = {row["name"]: row for row in mas("config", "where", "-o", "json").json}

    assert rows["profile"] == {"name": "profile", "value": "fast", "source": "project"}
    assert rows["namespace"]["source"] == "user"
    assert rows["partitions"] == {"name": "partitions", "value": 3, "source": "env"}
    assert rows["gateway.rate_limit.per_minute"]["source"] == "default"
    assert rows["system.url"] == {"name": "system.url", "value": "redis://:****@h", "source": "MAS_URL"}
    shown = {row["name"]: row["value"] for row in mas("config", "show", "-o", "json").json}
    assert shown["profile"] == "fast"
    assert shown["url"] == "redis://:****@h"
    part = [row["name"] for row in mas("config", "where", "gateway.rate_limit", "-o", "json").json]
    assert part[:2] == ["gateway.rate_limit.per_minute", "gateway.rate_limit.per_hour"]
    assert all(name.startswith("gateway.rate_limit.") for name in part)
    assert mas("config", "where", "profil").code == 6


def test_a_project_is_found_by_flag_context_and_folder(mas, project, monkeypatch, tmp_path):
    """--config, --context, MAS_CONFIG_FILE, or walking up."""
    inner = project / "a" / "b"
    inner.mkdir(parents=True)
    monkeypatch.chdir(inner)
    assert mas("config", "show").code == 0

    monkeypatch.chdir(tmp_path)
    assert mas("config", "show").code == 2
    assert mas("--config", str(project / "mas.yaml"), "config", "show").code == 0
    mas("context", "add", "p", "--project", str(project))
    assert mas("-c", "p", "config", "show").code == 0
    mas("context", "add", "s", "--url", "redis://h")
    assert mas("-c", "s", "config", "show").code == 2
    monkeypatch.setenv("MAS_CONFIG_FILE", str(project))
    assert mas("config", "show").code == 0


def test_the_password_of_a_url_in_the_wrong_place_is_not_repeated(mas):
    """Errors end up in logs."""
    ran = mas("context", "add", "lo", "redis://me:hunter2@127.0.0.1:6379")

    assert ran.code == 2
    assert "redis://me:****@127.0.0.1:6379" in ran.err
    assert "hunter2" not in ran.err


@pytest.mark.parametrize("words", [("status",), ("discover",)])
def test_what_names_the_folders_of_secrets_can_be_typed(mas, words):
    """The flags of a hint are those of the command."""
    hints = json.loads(mas("--url", "memory://", *words, "-o", "json").err)["error"]["hint"]
    (typed,) = [hint for hint in hints if hint.startswith("mas context add NAME --")]

    assert f"  {typed.split()[4]} " in mas("context", "add", "--help").out


def test_without_a_project_nobody_is_told_to_start_one(mas):
    """The server of a URL is not for mas up to start."""
    ran = mas("--url", "redis://127.0.0.1:1", "status")

    assert ran.code == 3
    assert "mas config where" in ran.err
    assert "mas up" not in ran.err


def test_what_a_policy_says_of_the_scan_is_checked_with_the_project(mas, project):
    """Names of rules and of keys; mas up starts nothing with it."""
    (project / "policy.yaml").write_text("rules: []\ndlp:\n  email: redact\n  crad: block\n")
    ran = mas("config", "validate", "-o", "json")

    assert ran.code == 1
    assert ran.json == [
        {
            "path": str(project / "policy.yaml"),
            "line": 4,
            "message": "'crad' is neither a rule nor a category of the scan",
            "hint": "mas dlp rules",
        }
    ]
    assert mas("up").code == 2

    (project / "policy.yaml").write_text("dlp:\n  card: encrypt:finance\n")
    assert mas("config", "validate").code == 1


def test_what_is_wrong_in_a_project_is_named_with_line_and_fix(mas, project):
    """1 for a no, 0 when all is well."""
    assert mas("config", "validate", "-o", "json").json == []

    (project / "mas.yaml").write_text("name: demo\nprofle: fast\n")
    ran = mas("config", "validate", "-o", "json")

    assert ran.code == 1
    assert ran.json == [
        {
            "path": str(project / "mas.yaml"),
            "line": 2,
            "message": "unknown field 'profle'",
            "hint": "did you mean profile?",
        }
    ]


def test_specs_are_checked(mas, project):
    """The folder of the project, other folders, single files."""
    assert mas("agent", "validate").code == 0
    broken = project / "agents.d" / "two.yaml"
    broken.write_text("agent_id: two\nclas_path: x:Y\n")

    rows = mas("agent", "validate", "-o", "json").json

    assert {(row["path"], row["line"]) for row in rows} >= {(str(broken), 2)}
    assert mas("agent", "validate", str(broken.parent)).code == 1
    assert mas("agent", "validate", str(broken.parent / "one.yaml")).code == 0
    assert mas("agent", "validate", "nowhere.yaml").code == 1


def test_strict_tells_what_is_hardly_meant(mas, project):
    """It can be used, so only --strict says no; each with its line, and never with a value."""
    doubtful = project / "agents.d" / "two.yaml"
    lines = (
        "agent_id: two",
        "exec: [cat]",
        "ordered: true",
        "instances: 2",
        "stuck_after: 10",
        "handler_timeout: 60",
        "env: {SHOP_TOKEN: hush-hush, SHOP_URL: shop}",
        "permissions:",
        "  - to: [one, ome, 'role:clerks']",
        "    from: '*'",
    )
    doubtful.write_text("\n".join(lines) + "\n")
    assert mas("agent", "validate").code == 0

    ran = mas("agent", "validate", "--strict", "-o", "json")
    assert ran.code == 1
    assert "hush" not in ran.out
    found = [(row["line"], row["message"].partition(":")[0], row["hint"]) for row in ran.json]
    assert {row["path"] for row in ran.json} == {str(doubtful)}
    assert found == [
        (3, "ordered", "instances: 1"),
        (5, "stuck_after", "stuck_after: 60"),
        (7, "env", "export SHOP_TOKEN where mas up runs, which agents inherit"),
        (8, "permissions", "did you mean one?"),
    ]
    assert mas("agent", "validate", "--strict", str(doubtful.parent / "one.yaml")).code == 0
    (doubtful.parent / "three.yaml").write_text("agent_id: ome\nexce: [cat]\n")
    ran = mas("agent", "validate", "--strict", str(doubtful), "-o", "json")
    assert (ran.code, ran.json[0]["hint"]) == (1, "did you mean exec?")


def test_a_new_agent_is_valid_and_never_overwrites(mas, project):
    """A spec and a module that works, or a spec alone for what is there already."""
    assert mas("agent", "new", "three", "--capability", "count").code == 0
    assert mas("agent", "new", "three", "--exec", "wc -w").code == 7
    assert mas("agent", "new", "four", "--class", "x:X").code == 0
    assert mas("agent", "new", "five", "--exec", "wc -w").code == 0

    assert mas("agent", "validate", "-o", "json") == (0, "[]\n", "")
    assert (project / "agents.d" / "three.py").is_file()
    assert yaml.safe_load((project / "agents.d" / "five.yaml").read_text())["exec"] == ["wc", "-w"]


def test_a_new_program_runs_for_each_message_unless_said_otherwise(mas, project):
    """Most programs read their input to its end before they answer; the field they get can be named."""
    assert mas("agent", "new", "plain", "--exec", "wc -w").code == 0
    assert mas("agent", "new", "one-field", "--exec", "wc -w", "--field", "a: b").code == 0
    assert mas("agent", "new", "lines", "--exec", "cat", "--mode", "stream").code == 0

    assert mas("agent", "validate", "-o", "json") == (0, "[]\n", "")
    specs = {
        path.stem: yaml.safe_load(path.read_text())
        for path in (project / "agents.d").glob("*.yaml")
        if path.stem != "one"
    }
    assert {name: (spec["mode"], spec.get("field")) for name, spec in specs.items()} == {
        "plain": ("per_message", None),
        "one-field": ("per_message", "a: b"),
        "lines": ("stream", None),
    }


def test_a_new_agent_can_be_printed(mas, project):
    """And nothing is written."""
    printed = mas("agent", "new", "six", "--exec", "wc -w", "--print")
    both = mas("agent", "new", "six", "--print", "-o", "json").json

    assert yaml.safe_load(printed.out)["exec"] == ["wc", "-w"]
    assert set(both) == {"six.yaml", "six.py"}
    assert list((project / "agents.d").glob("six*")) == []


@pytest.mark.parametrize(
    "words",
    [
        ["a", "--class", "x:X", "--exec", "wc"],
        ["a", "--exec", ""],
        ["a", "--class", "x:Missing"],
        ["A B", "--class", "x:X"],
        ["a", "--class", "no path"],
        ["a", "--exec", "wc", "--capability", "not ok"],
        ["a", "--exec", "wc", "--mode", "often"],
        ["a", "--exec", "wc", "--mode", "stream", "--field", "text"],
        ["a", "--field", "text"],
        ["a", "--class", "x:X", "--mode", "stream"],
    ],
)
def test_a_spec_that_cannot_be_is_not_written(mas, project, words):
    """A usage error, and no file."""
    assert mas("agent", "new", *words).code == 2
    assert [path.name for path in (project / "agents.d").glob("*.yaml")] == ["one.yaml"]


def test_the_specification_describes_every_command(mas):
    """Names, summaries, impact, examples, exit codes, arguments, flags."""
    spec = mas("spec").json
    add = next(item for item in spec["commands"] if item["name"] == "context add")

    assert add["impact"] == "write"
    assert {"code": 7, "name": "conflict", "when": "there is a context of this name"} in add["exit_codes"]
    assert [item["name"] for item in add["arguments"]] == ["CONTEXT"]
    assert ["--protected"] in [flag["flags"] for flag in add["flags"]]
    assert [flag["env"] for flag in spec["shared_flags"] if "--output" in flag["flags"]] == ["MAS_OUTPUT"]
    assert [item["name"] for item in mas("spec", "--command", "version").json["commands"]] == ["version"]
    assert mas("spec", "--command", "nope").code == 6
    assert "context add" in mas("spec", "-o", "name").out.splitlines()


@pytest.mark.parametrize(
    "topic",
    [
        "exit-codes",
        "errors",
        "payloads",
        "output",
        "contexts",
        "flags",
        "selectors",
        "expressions",
        "time",
        "keys",
    ],
)
def test_every_topic_is_explained(mas, topic):
    """As text, as JSON, and named in the root help."""
    assert mas("help", topic).code == 0
    assert mas("help", topic, "-o", "json").json
    assert topic in mas("--help").out


def test_error_codes_are_explained(mas):
    """One by one and all together; a near miss is named."""
    found = mas("help", "errors", "forbidden", "-o", "json").json
    assert (found["exit"], found["retryable"]) == (5, False)
    assert {"forbidden", "read_only", "no_responder"} <= {
        row["code"] for row in mas("help", "errors", "-ojson").json
    }

    assert mas("help", "forbidden") == mas("help", "errors", "forbidden")
    assert mas("help", "forbiden", "-o", "json").error["hint"][0] == "mas help forbidden"

    ran = mas("help", "errors", "forbiden", "-o", "json")
    assert ran.code == 6
    assert ran.error["hint"][0] == "mas help errors forbidden"
    assert mas("help", "nonsense").code == 6
    assert mas("help", "contxts", "-o", "json").error["hint"][0] == "mas help contexts"


def test_completion_is_printed_and_installed(mas, home, monkeypatch):
    """Each script where its shell looks for it."""
    monkeypatch.setenv("SHELL", "/bin/bash")
    script = mas("completion", "bash").out

    path = Path(mas("completion", "install", "-o", "json").json["path"])

    assert path == home / ".local/share/bash-completion/completions/mas"
    assert path.read_text() == script
    assert Path(mas("completion", "install", "fish", "-o", "json").json["path"]).is_file()
    assert Path(mas("completion", "install", "zsh", "-o", "json").json["path"]).name == "_mas"
    assert mas("completion", "install", "tcsh").code == 2
    assert json.loads(mas("completion", "zsh", "-o", "json").out)["shell"] == "zsh"


def test_what_is_no_url_is_shown_as_it_was_typed(mas):
    """But for the passwords in it."""
    assert "'foo' is not the URL" in mas("--url", "foo", "status").err
    assert "hunter2" not in mas("--url", "foo?password=hunter2", "status").err
    for words in (("status",), ("config", "where"), ("context", "add", "x")):
        ran = mas("--url", "me:hunter2@foo", *words)
        assert "hunter2" not in ran.out + ran.err
