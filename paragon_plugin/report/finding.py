"""An answer to a question that a reader of a report has."""

from dataclasses import dataclass
from typing import Literal

Tone = Literal["good", "bad", "plain"]


@dataclass(frozen=True)
class Finding:
    """A question a reader has, with the answer: one word or two, then sentences."""

    question: str
    verdict: str
    answer: str
    tone: Tone = "plain"
