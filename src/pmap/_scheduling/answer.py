"""The scheduler's answer to one event: a list of commands, which the scheduler's parts fill."""

from .commands import Command


class Answer:
    """The commands with which the scheduler answers the event that it handles now.

    Attributes:
        commands: the commands that the engine carries out, in order.
        questions: commands that ask something about a worker; the engine carries them out after all
            other commands. The engine answers each question with an event, and the commands that
            follow from that event must come after those decided earlier.
    """

    __slots__ = ("commands", "questions")

    def __init__(self) -> None:
        self.commands: list[Command] = []
        self.questions: list[Command] = []
