"""Changes to the policy document."""

from __future__ import annotations

import msgspec
import pytest

from mas_core.errors import InvalidIdentifier, RoleNotFound, RuleNotFound, UsageError
from mas_core.model.policy import PolicyDocument, RateLimit, Rule
from mas_core.security.policy_changes import (
    add_rule,
    find_rule,
    remove_rule,
    replace_file_rules,
    set_limit,
    set_roles,
)

EMPTY = PolicyDocument()


def rule(sender="a", target="b", message_type="*", **more):
    return Rule("", more.pop("effect", "allow"), sender, target, message_type, **more)


def from_file(sender, name="calc.yaml"):
    return rule(sender, source=f"file:{name}")


def ids(document):
    return {found.id: found.sender for found in document.rules}


def test_rules_get_ids_in_their_order():
    """The first rule is r1, the next r2, and the change says what was added."""
    document = add_rule(add_rule(EMPTY, rule("a")), rule("b", message_type="x.*", action="request"))

    assert ids(document) == {"r1": "a", "r2": "b"}
    assert document.change == "add r2: allow b -> b x.* request"
    assert document.revision == 0


def test_the_same_rule_is_not_added_twice():
    """Adding what is there returns the document itself, whoever asks and whenever."""
    document = add_rule(EMPTY, rule(by="me@here", created=1))

    again = add_rule(document, rule(by="you@there", created=2, reason="why"))

    assert again is document
    assert find_rule(document, rule()).id == "r1"
    assert find_rule(document, rule(effect="deny")) is None


@pytest.mark.parametrize(
    "other",
    [{"effect": "deny"}, {"action": "send"}, {"expires": 5}, {"source": "api"}, {"message_type": "x"}],
)
def test_a_rule_that_differs_is_added(other):
    """Everything that a rule says, and where it is from, makes it another rule."""
    assert len(add_rule(add_rule(EMPTY, rule()), rule(**other)).rules) == 2


def test_an_id_is_never_given_twice():
    """After the newest rule is gone its id stays its own."""
    document = add_rule(add_rule(EMPTY, rule("a")), rule("b"))

    document = add_rule(remove_rule(document, "r2"), rule("c"))

    assert ids(document) == {"r1": "a", "r3": "c"}


def test_ids_of_older_documents_are_respected():
    """Numbers are counted on from the highest there is, whatever other ids look like."""
    document = PolicyDocument(rules=(Rule("r7", "allow", "a", "b"), Rule("own-name", "allow", "c", "d")))

    assert "r8" in ids(add_rule(document, rule("e")))
    assert "r8" in ids(add_rule(remove_rule(document, "r7"), rule("e")))


def test_removing_says_what_went():
    """The rule is gone and the change names it in full."""
    document = remove_rule(add_rule(EMPTY, rule(effect="deny")), "r1")

    assert document.rules == ()
    assert document.change == "remove r1: deny a -> b *"


def test_a_rule_that_is_not_there_cannot_be_removed():
    """The error names the id and where to look."""
    with pytest.raises(RuleNotFound, match="'r9'") as caught:
        remove_rule(EMPTY, "r9")

    assert caught.value.hint == ("mas rbac list",)


@pytest.mark.parametrize(
    ("bad", "error"),
    [
        (rule("adm*"), InvalidIdentifier),
        (rule("A"), InvalidIdentifier),
        (rule("a", "b\n"), InvalidIdentifier),
        (rule("role:"), InvalidIdentifier),
        (rule("role:ghost"), RoleNotFound),
        (rule("a", "role:ghost"), RoleNotFound),
        (rule(message_type="a b"), UsageError),
        (rule(message_type="[ab]"), UsageError),
        (rule(message_type="x" * 129), UsageError),
        (rule(action="publish"), UsageError),
        (rule(effect="permit"), UsageError),
        (rule(expires=-1), UsageError),
    ],
)
def test_rules_without_sense_are_refused(bad, error):
    """Nothing enters the policy that could not be matched or read."""
    with pytest.raises(error):
        add_rule(EMPTY, bad)
    with pytest.raises(error):
        replace_file_rules(EMPTY, [msgspec.structs.replace(bad, source="file:x")])


def test_files_replace_only_their_own_rules():
    """Rules by hand stay, and so do those of other files."""
    document = add_rule(EMPTY, rule("hand"))
    document = replace_file_rules(document, [from_file("a"), from_file("b", "other.yaml")])

    document = replace_file_rules(document, [from_file("c")], "file:calc.yaml")

    assert ids(document) == {"r1": "hand", "r3": "b", "r4": "c"}
    assert document.change == "load file:calc.yaml (1 added, 1 removed)"


def test_loading_files_again_changes_nothing():
    """The same files give the same document, with the same ids, in any order."""
    rules = [from_file("a"), from_file("b"), from_file("a")]
    document = replace_file_rules(EMPTY, rules)

    assert ids(document) == {"r1": "a", "r2": "b"}
    assert replace_file_rules(document, rules[::-1]) is document


def test_files_that_are_gone_take_their_rules_along():
    """No rules from files leaves those by hand."""
    document = add_rule(replace_file_rules(EMPTY, [from_file("a")]), rule("hand"))

    assert ids(replace_file_rules(document, [])) == {"r2": "hand"}


def test_a_file_cannot_speak_for_another_source():
    """Rules whose source does not fit what is replaced would pile up, so they are refused."""
    with pytest.raises(UsageError, match="'cli'"):
        replace_file_rules(EMPTY, [rule("a")])


def test_limits_are_set_and_taken_back():
    """A limit holds for an agent, a role or everybody; None takes it back."""
    slow, slower = RateLimit(10, 100), RateLimit(1, 10)
    document = set_limit(set_roles(EMPTY, {"team": ["a"]}), "a", slow)
    document = set_limit(set_limit(document, "role:team", slower), "*", slower)

    assert document.limits == {"a": slow, "role:team": slower}
    assert document.default_limit == slower
    assert document.change == "limit of *: 1 a minute, 10 an hour"

    document = set_limit(set_limit(document, "a", None), "*", None)
    assert document.limits == {"role:team": slower}
    assert document.default_limit == RateLimit()


def test_setting_the_same_limit_changes_nothing():
    """A limit that stands already returns the document itself."""
    document = set_limit(EMPTY, "a", RateLimit(1, 2))

    assert set_limit(document, "a", RateLimit(1, 2)) is document
    assert set_limit(EMPTY, "a", None) is EMPTY


@pytest.mark.parametrize(
    ("name", "limit"),
    [("a", RateLimit(-1, 5)), ("a", RateLimit(1, -5)), ("A b", RateLimit()), ("role:ghost", RateLimit())],
)
def test_limits_without_sense_are_refused(name, limit):
    """Negative numbers and names that nobody has are errors."""
    with pytest.raises((UsageError, RoleNotFound)):
        set_limit(EMPTY, name, limit)


def test_roles_are_replaced_as_a_whole():
    """The change names the roles that differ; members stand once."""
    document = set_roles(EMPTY, {"one": ["a", "b", "a"], "two": ["c"]})
    changed = set_roles(document, {"one": ["a", "b"], "three": []})

    assert document.roles == {"one": ("a", "b"), "two": ("c",)}
    assert changed.change == "roles: three, two"
    assert set_roles(changed, {"one": ["a", "b"], "three": []}) is changed


def test_a_role_that_is_named_cannot_go():
    """A rule or limit never points at a role that is not there."""
    document = add_rule(set_roles(EMPTY, {"team": ["a"]}), rule("role:team"))
    limited = set_limit(set_roles(EMPTY, {"slow": ["a"]}), "role:slow", RateLimit(1, 1))

    with pytest.raises(UsageError, match="role:team"):
        set_roles(document, {})
    with pytest.raises(UsageError, match="role:slow"):
        set_roles(limited, {"other": ["a"]})


@pytest.mark.parametrize("roles", [{"A": []}, {"": []}, {"a": ["*"]}, {"a": ["role:b"]}, {"a": ["gateway"]}])
def test_roles_without_sense_are_refused(roles):
    """Names of roles and members follow the rules for ids."""
    with pytest.raises(InvalidIdentifier):
        set_roles(EMPTY, roles)


def test_a_changed_document_survives_storage():
    """What the changes make can be written and read back."""
    document = add_rule(set_roles(EMPTY, {"team": ["a"]}), rule("role:team", reason="why", by="me@here"))

    assert msgspec.json.decode(msgspec.json.encode(document), type=PolicyDocument) == document
