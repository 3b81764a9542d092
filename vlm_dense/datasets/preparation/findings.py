"""What a preparation found: defects, notes, and what it made."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

# Of one kind of defect in one place, this many get a line each; one more line names and counts the rest.
LINES_OF_A_KIND = 20
MISSING = 'missing'


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong or worth knowing: what, where, and what to do about it."""

    problem: str
    place: str
    remedy: str

    def __str__(self) -> str:
        return f'{self.place}: {self.problem}; {self.remedy}'


@dataclass
class Report:
    """Everything that a run of ``prepare`` or ``check`` has to say.

    Args:
        partial: Whether a count that differs from the official one is a note instead of a defect.
    """

    partial: bool = False
    defects: list[Finding] = field(default_factory=list)
    notes: list[Finding] = field(default_factory=list)
    made: list[str] = field(default_factory=list)

    @property
    def good(self) -> bool:
        """Whether everything is there and right."""
        return not self.defects

    def defect(self, problem: str, place: object, remedy: str) -> None:
        """Add one defect, unless it is known already that the file is missing."""
        finding = Finding(problem, str(place), remedy)
        known = any(other.place == finding.place and other.problem.startswith(MISSING) for other in self.defects)
        if not known and finding not in self.defects:
            self.defects.append(finding)

    def note(self, problem: str, place: object, remedy: str) -> None:
        """Add one thing that is not wrong but worth knowing."""
        self.notes.append(Finding(problem, str(place), remedy))

    def defect_each(self, problem: str, places: Iterable[object], remedy: str) -> None:
        """One defect per place; see ``defects_of_a_kind``."""
        self.defects_of_a_kind([(place, problem) for place in places], remedy)

    def defects_of_a_kind(self, found: Iterable[tuple[object, str]], remedy: str) -> None:
        """Places and what is wrong there: a line each up to 20; the rest is counted, with three examples."""
        listed = [(str(place), problem) for place, problem in found]
        for place, problem in listed[:LINES_OF_A_KIND]:
            self.defect(problem, place, remedy)
        rest = listed[LINES_OF_A_KIND:]
        if rest:
            examples = ', '.join(place for place, _ in rest[1:3])
            first, problem = rest[0]
            self.defect(f'{problem} ({len(rest)} more like it, among them {examples})', first, remedy)

    def count(self, what: str, found: int, expected: Sequence[int], place: object) -> None:
        """Compare a number with the official ones; a difference is a defect, or a note for a partial data set."""
        if not expected or found in expected:
            return
        official = ' or '.join(f'{number:,}' for number in expected)
        problem = f'{found:,} {what} instead of {official}'
        if self.partial:
            self.note(problem, place, 'figures on this part compare with no published ones')
        else:
            self.defect(problem, place, 'get the official files again, or name a part of the data set with --partial')
