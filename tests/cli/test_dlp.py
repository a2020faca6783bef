"""`mas dlp`: kinds and places without a server, and never the text."""

import json
import shlex
from pathlib import Path

CARD = "4111 1111 1111 1111"
PACK = (
    "id: own\nversion: '1'\nextends: builtin\nrules:\n"
    "  - {id: order_no, category: custom, pattern: 'ORD-[0-9]{6}', action: redact}\n"
)


def test_scan_tells_kind_and_place(mas):
    """Exit code 1 when something is found, 0 when nothing is; the text is nowhere."""
    found = mas("dlp", "scan", json.dumps({"pay": {"card": f"it is {CARD}"}}), "-o", "json")

    assert found.code == 1
    assert found.json == [
        {
            "rule": "card",
            "category": "pci",
            "path": "/pay/card",
            "start": 6,
            "end": 25,
            "action": "block",
            "severity": "critical",
        }
    ]
    assert "1111" not in found.out + found.err
    assert mas("dlp", "scan", '{"a": "fine"}').code == 0


def test_scan_shows_what_is_off_without_counting_it(mas):
    """An address is shown with the action off, and is no reason for exit code 1."""
    found = mas("dlp", "scan", '"from 203.0.113.7"', "-o", "json")

    assert (found.code, [(item["rule"], item["action"]) for item in found.json]) == (0, [("ip", "off")])


def test_redact_prints_the_payload_without_it(mas):
    """The rest of the payload stays."""
    found = mas("dlp", "scan", json.dumps({"n": 1, "card": CARD}), "--redact", "-o", "json")

    assert (found.code, found.json) == (1, {"n": 1, "card": "[REDACTED:card]"})


def test_lines_give_one_line_for_each_finding(mas):
    """Lines count from 1; offsets are characters of the value; a bad line does not stop it but ends in 8."""
    lines = [{"a": "ünd 123-45-6789", "b": [f"{CARD}, {CARD}"]}, {"ok": 1}]
    path = Path("corpus.jsonl")
    path.write_text("\n".join(map(json.dumps, lines)) + "\n{broken\n\n" + json.dumps("x@example.org") + "\n")

    found = mas("dlp", "scan", "--lines", "corpus.jsonl", "-o", "jsonl")

    assert found.code == 8
    rows = [json.loads(line) for line in found.out.splitlines()]
    assert [(row["line"], row["rule"], row["path"], row["start"], row["end"]) for row in rows] == [
        (1, "card", "/b/0", 0, 19),
        (1, "card", "/b/0", 21, 40),
        (1, "ssn", "/a", 4, 15),
        (5, "email", "", 0, 13),
    ]
    assert "line 3" in found.err
    assert "1111" not in found.out + found.err
    assert mas("dlp", "scan", "--lines", "missing.jsonl").code == 2


def test_policy_and_pack_decide(mas):
    """Actions of a policy.yaml, and rules of a pack of one's own."""
    Path("policy.yaml").write_text("dlp: {card: off, email: block}\n")
    Path("pack.yaml").write_text(PACK)

    assert mas("dlp", "scan", f'"{CARD}"', "--policy", "policy.yaml").code == 0
    assert (
        mas("dlp", "scan", '"a@example.org"', "--policy", "policy.yaml", "-o", "json").json[0]["action"]
        == "block"
    )
    assert (
        mas("dlp", "scan", '"ORD-123456"', "--pack", "pack.yaml", "-o", "json").json[0]["rule"] == "order_no"
    )
    rules = {
        rule["id"]: rule["action"]
        for rule in mas("dlp", "rules", "--policy", "policy.yaml", "-o", "json").json
    }
    assert (rules["card"], rules["email"], rules["ssn"]) == ("off", "block", "redact")
    Path("pack.yaml").write_text(PACK.replace("[0-9]{6}", "(?=a)"))
    refused = mas("dlp", "rules", "--pack", "pack.yaml", "-o", "json")
    assert (refused.code, refused.error["details"]["line"]) == (2, 5)


def test_cases(mas):
    """Expectations that are met end in 0, others in 1, and those that make no sense in 2."""
    Path("cases.yaml").write_text(
        f"cases:\n  - {{name: card, value: {{n: '{CARD}'}}, find: [card], action: block}}\n"
        "  - {value: fine, find: []}\n"
    )

    assert mas("dlp", "test", "-f", "cases.yaml").code == 0
    Path("cases.yaml").write_text("cases:\n  - {value: fine, find: [card], not: [ssn], action: pass}\n")
    failed = mas("dlp", "test", "-f", "cases.yaml", "-o", "json")
    assert (failed.code, failed.json[0]["problems"], failed.json[0]["line"]) == (1, "card finds nothing", 2)
    Path("cases.yaml").write_text("cases:\n  - {value: fine, find: [cards]}\n")
    assert mas("dlp", "test", "-f", "cases.yaml").code == 2


def test_keys_and_sealed_values(mas):
    """A key is made once, its file is private, and it opens nothing that is not its own."""
    made = mas("dlp", "key", "--out", "own.key", "-o", "json")

    assert made.code == 0
    assert oct(Path("own.key").stat().st_mode)[-3:] == "600"
    assert made.json["public_key"] not in Path("own.key").read_text()
    assert mas("dlp", "key", "--out", "own.key").code == 7
    assert mas("dlp", "decrypt", '{"a": "[SEALED:x:' + "A" * 90 + ']"}', "--key", "own.key").code == 1


def test_exact_values_are_allowed_by_their_hash(mas):
    """The pack lets one card pass without saying which, and no other."""
    mas("dlp", "key", "--out", "allow.key")
    Path("value.txt").write_text(CARD.replace(" ", "") + "\n")
    digest = mas("dlp", "hash", "@value.txt", "--key", "allow.key", "-o", "json").json["hash"]
    Path("pack.yaml").write_text(
        PACK + f"allow_key_file: allow.key\nallow:\n  - {{rule: card, hash: '{digest}'}}\n"
        "  - {rule: email, pattern: '.*@example[.]org'}\n"
    )

    assert mas("dlp", "scan", f'["{CARD}", "me@example.org"]', "--pack", "pack.yaml").code == 0
    assert mas("dlp", "scan", '["5555 5555 5555 4444"]', "--pack", "pack.yaml").code == 1
    assert mas("dlp", "scan", '["me@example.org.evil.org"]', "--pack", "pack.yaml").code == 1


def test_the_key_of_the_allow_list_is_made_as_the_document_says(mas):
    """The commands in docs/scanning.md make a private file, and a hash under it."""
    text = (Path(__file__).parents[2] / "docs" / "scanning.md").read_text()
    commands = [line for line in text.splitlines() if line.startswith("mas dlp") and "allow.key" in line]
    Path("value.txt").write_text(CARD + "\n")

    made, hashed = (mas(*shlex.split(command)[1:]) for command in commands)
    assert (made.code, hashed.code) == (0, 0)
    assert Path("allow.key").stat().st_mode & 0o777 == 0o600
    assert hashed.out.startswith("hmac-sha256:")
