"""Leaves are found again from the text, and normalisation keeps its offsets."""

import string

from hypothesis import given
from hypothesis import strategies as st

from mas_core.security.dlp.document import Document
from mas_core.security.dlp.normalise import fold, normalise, origins

TEXT = st.text(max_size=12) | st.text(string.printable, max_size=12) | st.text("\x1e\x1f4 ", max_size=6)


def test_every_leaf_is_located():
    """A span in the text leads to its leaf, and is cut to it."""
    document = Document({"name": "jane", "": [None, 17.0, True, {"x": "\u200by"}]})

    assert document.text == "name\x1fjane\x1e\x1f\x1e17\x1e\x1ex\x1fy\x1e"
    assert [(leaf.path, leaf.place, leaf.text) for leaf in document.leaves] == [
        (("name",), "key", "name"),
        (("name",), "text", "jane"),
        (("",), "key", ""),
        (("", 1), "number", "17"),
        (("", 3, "x"), "key", "x"),
        (("", 3, "x"), "text", "\u200by"),
    ]
    for leaf in document.leaves:
        if leaf.folded:
            start = document.text.index(leaf.folded)
            assert document.locate(start, start + 99) == (leaf, 0, len(leaf.folded))


@given(TEXT)
def test_origins_point_to_what_was_folded(text):
    """Each folded character comes from the character at its origin."""
    folded, places = normalise(text), origins(text)

    assert len(places) == len(folded) + 1
    assert places[-1] == len(text)
    assert all(folded[i] in fold(text[places[i]]) for i in range(len(folded)))


def test_folding():
    """Writing variants become ASCII, invisible characters nothing, other scripts stay."""
    assert normalise("\uff14\uff11\uff11\uff11\u200b \u0664\u0661\u0661\u0661 \u096a") == "4111 4111 4"
    assert normalise("a\u00adb\u2011c\u00a0d\u2028e\ufb01\x00") == "ab-c d\nefi"
    assert normalise("\u0410\u041a\u0406\u0410") == "AKIA"
    assert normalise("日本語 grüße") == "日本語 grüße"


def test_plain_text_is_not_copied():
    """Text with nothing to fold is given back as it is."""
    text = "plain text,\n\tin two lines"

    assert normalise(text) is text
