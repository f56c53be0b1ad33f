"""The answer of the scheduler to one event; the parts of the scheduler collect it together."""

from .commands import Command


class Answer:
    """The answer of the scheduler to the event that it handles now.

    Attributes:
        commands: the commands that the engine carries out, in order.
        questions: the commands `CheckDeadline` and `ReclaimChunks`, which the engine carries out
            after all other commands. The engine answers each question with an event, and the
            commands that follow from that event must come after the commands decided earlier.
    """

    __slots__ = ("commands", "questions")

    def __init__(self) -> None:
        self.commands: list[Command] = []
        self.questions: list[Command] = []
