"""What the scheduler answers to an event, as its parts put it together."""

from .commands import Command


class Answer:
    """What the scheduler answers to the event at hand.

    Attributes:
        commands: what is to be done, in order.
        questions: `CheckDeadline` and `ReclaimChunks`, to be carried out after all commands. An
            event of its own answers each: what comes of that must not be done before anything that
            was decided earlier.
    """

    __slots__ = ("commands", "questions")

    def __init__(self) -> None:
        self.commands: list[Command] = []
        self.questions: list[Command] = []
