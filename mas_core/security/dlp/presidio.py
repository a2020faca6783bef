"""Microsoft Presidio as a detector: names of persons, places and more that no pattern finds.

Needs `pip install 'mas[presidio]'` and the language model that Presidio asks for.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from mas_core.security.dlp.detectors import Detection

LANGUAGE: Final = "en"
MIN_SCORE: Final = 0.6


class Presidio:
    """Asks Presidio's analyzer, in English."""

    name = "presidio"

    def __init__(self) -> None:
        from presidio_analyzer import AnalyzerEngine  # noqa: PLC0415 - an optional extra

        self._engine = AnalyzerEngine()
        self.kinds: Sequence[str] = sorted(map(str.lower, self._engine.get_supported_entities(LANGUAGE)))

    def detect(self, texts: Sequence[str]) -> Sequence[Sequence[Detection]]:
        """What Presidio is sure enough of."""
        return [
            [
                Detection(result.entity_type.lower(), result.start, result.end)
                for result in self._engine.analyze(text=text, language=LANGUAGE, score_threshold=MIN_SCORE)
            ]
            for text in texts
        ]
