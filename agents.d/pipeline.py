"""A pipeline of two agents: the cleaner removes markup, the summarizer picks the sentences that say most."""

import html
import re
from collections import Counter

from pydantic import BaseModel, Field

from mas_core import Agent, AgentMessage

_FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
_TAG = re.compile(r"<[^<>]*>")
_LINK = re.compile(r"\[([^\[\]]*)\]\([^()]*\)")
_MARKS = re.compile(r"^[ \t]*(?:#+|>|[-*+]|\d+\.)[ \t]+|[`*]+|^[ \t]*\|.*$", re.MULTILINE)
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+")
_WORD = re.compile(r"[^\W\d_]{4,}")


class Text(BaseModel):
    """A text and how many sentences are to be left of it."""

    text: str = Field(min_length=1, max_length=500_000)
    sentences: int = Field(default=3, ge=1, le=50)


class Summary(BaseModel):
    """The sentences that say most, in their order."""

    summary: str
    words_before: int
    words_after: int


class Cleaner(Agent):
    """First stage. Answers a request with the end result; a plain message only sets the pipeline going."""

    @Agent.on("text.clean", model=Text)
    async def clean(self, message: AgentMessage, payload: Text) -> dict[str, object] | None:
        """Remove Markdown and HTML, and hand the rest on."""
        cleaned = {"text": plain_text(payload.text) or "(empty)", "sentences": payload.sentences}
        if message.expects_reply:
            reply = await self.request("summarizer", "text.summarize", cleaned, timeout=15)
            return reply.data
        await self.send("summarizer", "text.summarize", cleaned)
        return None


class Results(BaseModel):
    """What the summarizer remembers."""

    texts: int = 0
    last: Summary | None = None


class Summarizer(Agent[Results]):
    """Second stage; keeps its last result for who asks later."""

    @Agent.on("text.summarize", model=Text)
    async def summarize(self, _message: AgentMessage, payload: Text) -> Summary:
        """Choose sentences and keep the result."""
        result = summary_of(payload.text, payload.sentences)
        await self.update_state({"texts": self.state.texts + 1, "last": result})
        return result

    @Agent.on("text.last")
    async def last(self, _message: AgentMessage) -> dict[str, object]:
        """The last result and how many there were."""
        return self.state.model_dump()


def plain_text(text: str) -> str:
    """`text` without code, tags, links and marks of Markdown."""
    for pattern, replacement in ((_FENCE, " "), (_TAG, " "), (_LINK, r"\1"), (_MARKS, "")):
        text = pattern.sub(replacement, text)
    return re.sub(r"\s+", " ", html.unescape(text)).strip()


def summary_of(text: str, sentences: int) -> Summary:
    """The sentences whose words are frequent in the whole text, in the order of the text."""
    found = _SENTENCE_END.split(text.strip())
    frequency = Counter(word.casefold() for word in _WORD.findall(text))

    def weight(index: int) -> float:
        words = _WORD.findall(found[index])
        return sum(frequency[word.casefold()] for word in words) / (len(words) + 3)

    best = sorted(sorted(range(len(found)), key=weight, reverse=True)[:sentences])
    summary = " ".join(found[index] for index in best)
    return Summary(summary=summary, words_before=len(text.split()), words_after=len(summary.split()))
