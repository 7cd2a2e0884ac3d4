"""A policy's own examples: every rule passes on some texts and applies to others, and says so in its file."""

from collections.abc import Iterator
from dataclasses import dataclass

from scheduler.policy.declaring import read_facts
from scheduler.policy.evaluation import find_case
from scheduler.policy.rules import Policy, Rule


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One example of one rule; `held` is whether the rule applied."""

    rule: str
    file: str
    line: int
    text: str
    violates: bool
    held: bool
    why: str

    @property
    def is_right(self) -> bool:
        return self.held == self.violates


def try_examples(policy: Policy) -> Iterator[Trial]:
    """Judge every example by its own rule alone."""
    for rule in policy.rules:
        for example in rule.examples:
            facts = read_facts(example.node)
            reading = policy.read(facts)
            held = find_case(rule, reading)
            yield Trial(
                rule=rule.id,
                file=example.node.file,
                line=example.node.line,
                text=facts.texts[0].text,
                violates=example.violates,
                held=held is not None,
                why=(rule.cases[0] if held is None else held[0]).when.why(reading),
            )


def find_untried(policy: Policy) -> list[Rule]:
    """Rules without an example on which they pass, or without one to which they apply."""
    kinds = {rule.id: {example.violates for example in rule.examples} for rule in policy.rules}
    return [rule for rule in policy.rules if kinds[rule.id] != {True, False}]
