"""Policies as files and revisions, and trials of another policy."""

import contextlib
from pathlib import Path

import msgspec
import pytest
import yaml
from support.systems import live_system
from support.waiting import until

from mas_core.errors import Forbidden, MasError, RevisionNotFound, SpecInvalid
from mas_core.model.policy import PolicyDocument, RateLimit
from mas_core.ops import agent_runs, policy_files, policy_people, policy_simulation, policy_trial, rbac
from mas_core.security.policy_versions import differences
from mas_core.settings.policy_file import PolicyFile, load_policy_file
from mas_core.settings.project import project_at
from mas_core.settings.project_config import load_config
from mas_core.store import records

ALL = """\
rules:
  - allow: alice -> bob
    types: [note.*]
  - hold: alice -> bob
    types: [pay.*]
    reason: money
  - deny: '* -> carol'
    action: send
    expires: 2033-01-02T03:04:05.678Z
roles: {team: [alice, bob]}
limits:
  default: {per_minute: 500, per_hour: 5000}
  role:team: {per_minute: 700, per_hour: 7000}
dlp: {email: redact}
routes:
  - route: alice -> bob
    types: [open.*]
    dlp: {card: alert}
    e2e: allow
routing:
  language: {type: "nlp_*", to: ["capability:nlp", bob], strategy: best_match}
  shared: {to: ["role:team"], strategy: weighted, weights: {alice: 3}}
  sticky: {capability: ledger, to: [alice, bob], strategy: sticky, key: /account}
e2e_suites: [rsa-oaep]
breaker:
  default: {failure_threshold: 7}
  bob: {failure_threshold: 3, timeout_s: 1.5}
backups: {bob: carol}
capabilities: {diagnosis.*: [role:team]}
features: {message_signing: false, circuit_breaker: true}
totals: {role:team: {per_minute: 900}, capability:math: {per_hour: 50, burst: 5}}
ceilings: {default: 7, alice: 9}
dlp_keys: {}
approval: {expires: 90s}
audit: {fingerprints: {invoice.*: fields}, payloads: {invoice.*: /customer/id}}
retention: {hipaa: {hot_days: 30}, ours: {archive_years: 2, delete: true}}
blocked: {mallory: {reason: leaked, expires: 2033-01-02T03:04:05Z}}
trusted: {carol: {}}
"""


@pytest.fixture
async def system(server_url):
    """alice may talk to bob."""
    names = ["alice", "bob", "carol", "mallory"]
    async with live_system(server_url, agents=names, allow=[("alice", "bob")]) as opened:
        yield opened


def written(tmp_path: Path, text: str, name: str = "new-policy.yaml") -> Path:
    path = tmp_path / name
    path.write_text(text)
    return path


async def sent(agent, target, message_type="x", data=None):
    with contextlib.suppress(MasError):
        await agent.send(target, message_type, data or {})


async def test_a_policy_goes_out_as_a_file_and_comes_back_the_same(system, tmp_path):
    """All that policy.yaml can say survives apply, export and apply."""
    assert set(yaml.safe_load(ALL)) == set(PolicyFile.model_fields)
    after, changes = await policy_files.apply(system.system, written(tmp_path, ALL), prune=True)
    assert {item.what for item in changes} >= {
        "rules",
        "roles",
        "limits",
        "dlp_actions",
        "e2e_suites",
        "blocked",
        "breakers",
        "routing",
    }

    text = yaml.safe_dump(policy_files.policy_as_file(after))
    again = policy_files.document_of(written(tmp_path, text, "exported.yaml"))

    assert differences(after, again) == []
    assert await policy_files.compare(system.system, tmp_path / "exported.yaml") == []
    same, nothing = await policy_files.apply(system.system, tmp_path / "exported.yaml", prune=True)
    assert (same.revision, nothing) == (after.revision, [])


async def test_apply_adds_and_takes_away_only_with_prune(system, tmp_path):
    """Rules that are there keep their ids; those of the project's files stay in any case."""
    await system.allow(("bob", "alice"), source="file:policy.yaml")
    path = written(tmp_path, "rules: [{allow: alice -> bob}, {allow: alice -> carol}]\n")
    before = await rbac.load(system.system)

    added, _ = await policy_files.apply(system.system, path, dry_run=True)
    assert (await rbac.load(system.system)).revision == before.revision
    await rbac.add_rules(system.system, "allow", "carol", ["bob"])
    pruned, changes = await policy_files.apply(system.system, path, prune=True)

    def pairs(document):
        return {(rule.id, rule.sender, rule.target) for rule in document.rules}

    assert pairs(added) == {("r1", "alice", "bob"), ("r2", "bob", "alice"), ("r3", "alice", "carol")}
    assert pairs(pruned) == {("r1", "alice", "bob"), ("r2", "bob", "alice"), ("r4", "alice", "carol")}
    assert [(item.change, item.name) for item in changes if item.what == "rules"] == [
        ("removed", "r3"),
        ("added", "r4"),
    ]


async def test_prune_keeps_rules_roles_and_limits_of_the_projects_files(system, tmp_path):
    """The next start would bring all of them back; what was said by command goes."""
    (tmp_path / "mas.yaml").write_text("name: test\n")
    own = """
roles: {staff: [alice, bob]}
rules: [{allow: role:staff -> carol}]
limits: {role:staff: {per_minute: 30, per_hour: 300}}
ceilings: {alice: 7}
"""
    loaded = load_config(project_at(written(tmp_path, own, "policy.yaml").parent))
    await agent_runs.put_in_force(system.system, loaded, [], loaded.policy())
    before = await rbac.load(system.system)
    await system.change_policy(
        roles={**before.roles, "guests": ("carol",)},
        limits={**before.limits, "bob": RateLimit(5, 50)},
        ceilings={**before.ceilings, "bob": 3},
    )
    path = written(tmp_path, "rules: [{allow: alice -> bob}]\n")

    after, changes = await policy_files.apply(system.system, path, prune=True)

    assert after.roles == before.roles == {"staff": ("alice", "bob")}
    assert after.limits == before.limits
    assert after.limits["role:staff"].per_minute == 30
    assert (after.default_limit, after.ceilings) == (before.default_limit, {"alice": 7})
    assert ("role:staff", "carol") in {(rule.sender, rule.target) for rule in after.rules}
    gone = {(item.what, item.name) for item in changes if item.change == "removed"}
    assert gone == {("roles", "guests"), ("limits", "bob"), ("ceilings", "bob")}


async def test_a_broken_file_changes_nothing(system, tmp_path):
    """S12: neither rules nor anything else, and the line is named."""
    before = await rbac.load(system.system)

    for text in (
        "rules: [{allow: alice}]\n",
        "rules: [\n",
        "features: {audit: false}\n",
        "blocked: {'*': {}}\n",
    ):
        with pytest.raises(SpecInvalid):
            await policy_files.apply(system.system, written(tmp_path, text))
    with pytest.raises(SpecInvalid):
        await policy_files.apply(system.system, tmp_path / "missing.yaml")

    assert await rbac.load(system.system) == before


async def test_an_earlier_revision_comes_back_as_a_new_one(system):
    """In force when it returns; blocks stay, ids are not given twice, and it is in the history."""
    alice = await system.run("alice")
    revision = (await rbac.load(system.system)).revision
    (rule,) = await rbac.add_rules(system.system, "allow", "alice", ["carol"])
    await policy_people.mark(system.system, "blocked", "mallory")
    await alice.send("carol", "x", {})

    after, changes = await policy_files.rollback(system.system, revision)

    with pytest.raises(Forbidden):
        await alice.send("carol", "x", {})
    assert [(item.change, item.name) for item in changes] == [("removed", rule.id)]
    assert "mallory" in after.blocked
    (newer,) = await rbac.add_rules(system.system, "allow", "alice", ["carol"])
    assert newer.id != rule.id
    told = [(document.revision, document.change) for document in await policy_files.history(system.system)]
    assert told[1] == (revision + 3, f"roll back to revision {revision}")
    assert [number for number, _ in told] == sorted((number for number, _ in told), reverse=True)
    assert {document.changed_by for document in await policy_files.history(system.system)} >= {
        system.system.actor
    }
    with pytest.raises(RevisionNotFound):
        await policy_files.rollback(system.system, 999)


async def test_the_history_is_bounded(system, monkeypatch):
    """The oldest revisions go first."""
    monkeypatch.setattr(records, "KEPT_REVISIONS", 3)
    for number in range(5):
        await rbac.add_rules(system.system, "allow", "alice", ["carol"], message_type=f"t{number}")

    now = (await rbac.load(system.system)).revision
    kept = [document.revision for document in await policy_files.history(system.system, 0)]

    assert kept == [now, now - 1, now - 2]


async def test_a_forged_revision_is_not_history(system):
    """What does not carry the gateway's MAC cannot be rolled back to."""
    forged = msgspec.json.encode(PolicyDocument(revision=77))
    connection, key = system.store.connection, system.store.keys.policy_history()
    await connection.call("XADD", key, "*", "revision", 77, "document", forged, "mac", b"x" * 32)

    assert 77 not in {document.revision for document in await policy_files.history(system.system)}
    with pytest.raises(RevisionNotFound):
        await policy_files.rollback(system.system, 77)


async def test_recorded_decisions_go_through_another_policy(system, tmp_path):
    """Who would be denied, who would be let in, and what no record can tell."""
    alice, carol = await system.run("alice"), await system.run("carol")
    bob = await system.run("bob")
    for _ in range(3):
        await sent(alice, "bob", "note.add")
    await sent(alice, "bob", "ask")
    await sent(carol, "bob")
    await sent(alice, "nobody")
    await until(lambda: len(bob.messages) == 4)
    await policy_people.mark(system.system, "blocked", "mallory")
    text = """\
rules:
  - allow: alice -> bob
    types: [ask]
    action: request
  - {allow: carol -> bob}
"""
    document = policy_files.document_of(written(tmp_path, text))

    found = await policy_simulation.simulate(system.system, document, since=0)

    told = {
        (item.sender, item.message_type, item.recorded, item.simulated, item.count) for item in found.outcomes
    }
    assert told == {
        ("alice", "note.add", "allowed", "denied", 3),
        ("alice", "ask", "allowed", "unknown", 1),
        ("carol", "x", "denied", "unknown", 1),
    }
    assert (found.messages, found.same, found.changed, found.unknown) == (6, 1, 3, 2)
    without_scan = msgspec.structs.replace(
        document, features=msgspec.structs.replace(document.features, dlp=False)
    )
    known = await policy_simulation.simulate(system.system, without_scan, since=0)
    assert ("carol", "allowed") in {(item.sender, item.simulated) for item in known.outcomes}


async def test_limits_and_blocks_are_simulated(system, tmp_path):
    """A smaller limit refuses what came too fast; a block refuses everything; the same policy changes nothing."""
    alice = await system.run("alice")
    for _ in range(10):
        await sent(alice, "bob")
    now = await rbac.load(system.system)
    smaller = written(tmp_path, "rules: [{allow: alice -> bob}]\nlimits: {default: {per_minute: 4}}\n")
    blocking = written(tmp_path, "rules: [{allow: alice -> bob}]\nblocked: {bob: {}}\n", "blocking.yaml")

    same = await policy_simulation.simulate(system.system, now, since=0)
    fewer = await policy_simulation.simulate(system.system, policy_files.document_of(smaller), since=0)
    none = await policy_simulation.simulate(system.system, policy_files.document_of(blocking), since=0)

    assert (same.messages, same.changed, same.unknown) == (10, 0, 0)
    assert [(item.simulated, item.count) for item in fewer.outcomes] == [("rate_limited", 6)]
    assert [(item.simulated, item.rule, item.count) for item in none.outcomes] == [
        ("denied", "block:bob", 10)
    ]


async def test_a_shadow_policy_is_recorded_and_decides_nothing(system, tmp_path):
    """Differences are in the audit and counted; what it agrees with leaves no trace; cleared, it is gone."""
    alice, carol = await system.run("alice"), await system.run("carol")
    bob = await system.run("bob")
    assert await policy_trial.shadow_report(system.system) is None
    await sent(alice, "bob", "before")
    text = "rules: [{deny: alice -> bob, types: [secret.*]}, {allow: '* -> *'}]\n"
    await policy_trial.set_shadow(system.system, written(tmp_path, text))

    for message_type in ("secret.a", "secret.a", "open"):
        await alice.send("bob", message_type, {})
    with pytest.raises(Forbidden):
        await carol.send("bob", "open", {})

    await until(lambda: len(bob.messages) == 4)
    found = await policy_trial.shadow_report(system.system)
    assert found.messages == 4
    assert {
        (item.sender, item.message_type, item.present, item.shadow, item.rule, item.count)
        for item in found.differences
    } == {
        ("alice", "secret.a", "allowed", "denied", "r1", 2),
        ("carol", "open", "denied", "allowed", "r2", 1),
    }
    noted = [record for record in await system.audit(kind="message") if "shadow" in record.details]
    assert [record.decision for record in noted] == ["allowed", "allowed", "denied"]
    assert await policy_trial.clear_shadow(system.system)
    await alice.send("bob", "secret.a", {})
    assert "shadow" not in (await system.audit(kind="message"))[-1].details
    assert not await policy_trial.clear_shadow(system.system)


def test_cases_are_tried_on_a_file(tmp_path):
    """Access, approval, blocks and the scan of payloads; the table tells what differs and by which rule."""
    policy = policy_files.document_of(written(tmp_path, ALL))
    cases = written(
        tmp_path,
        """\
cases:
  - {from: alice, to: bob, type: note.add, expect: allowed, rule: r1}
  - {from: alice, to: bob, type: pay.bill, expect: held, rule: r2}
  - {from: alice, to: bob, type: other, expect: denied}
  - {from: bob, to: carol, expect: denied, rule: r3}
  - {from: alice, to: mallory, type: note.add, expect: denied, rule: 'block:mallory'}
  - {from: carol, to: alice, expect: allowed, rule: 'trust:carol'}
  - {from: alice, to: bob, type: note.add, payload: {text: card 4111 1111 1111 1111}, expect: blocked}
  - {from: alice, to: bob, type: note.add, payload: {mail: jane.doe@example.com}, expect: redacted}
  - {from: alice, to: bob, type: note.add, expect: denied}
  - {from: alice, to: bob, type: note.add, expect: allowed, rule: r9}
""",
        "cases.yaml",
    )

    results = policy_trial.try_cases(policy, policy_trial.load_cases(cases), 1_800_000_000_000)

    assert [result.is_as_expected for result in results] == [True] * 8 + [False] * 2
    assert all("4111" not in result.reason for result in results)
    for text in (
        "cases: []\n",
        "cases: [{from: a, to: b, expect: yes}]\n",
        "cases: [{from: A, to: b, expect: held}]\n",
    ):
        with pytest.raises(SpecInvalid):
            policy_trial.load_cases(written(tmp_path, text, "bad.yaml"))


def test_the_file_says_what_it_means(tmp_path):
    """Fields of the file and fields of the policy are the same things."""
    said = load_policy_file(written(tmp_path, ALL))

    assert said.features == {"message_signing": False, "circuit_breaker": True}
    assert said.capabilities == {"diagnosis.*": ("role:team",)}
    assert (said.blocked["mallory"].reason, said.blocked["mallory"].expires) == ("leaked", 1988247845000)
