"""What should happen to messages, bursts and turns, in plain Python: the oracle of the state machine.

It knows the rules and no SQL. Times are kept as bounds, since the database reads its clock a little later than we do.
"""

from __future__ import annotations

from dataclasses import dataclass, field

QUIET, TYPING, DEADLINE, LEASE = 4.0, 6.0, 60.0, 15.0
MAX_SIZE, MAX_BYTES = 4, 120
ATTEMPTS, BACKOFF = 5, 2.0
MOST_REDRAFTS = 2
KEYSTROKE = 0.5  # an extension smaller than this may be left out
OVER = ("done", "superseded", "withdrawn", "failed")


@dataclass
class Said:
    """An inbound message: its place in the log, and what became of it (empty while it waits)."""

    index: int
    text: str
    fate: str = ""
    corrections: list[Said] = field(default_factory=list)
    deleted: bool = False

    def end(self, fate: str) -> None:
        for message in (self, *self.corrections):
            message.fate = fate

    def is_or_became(self, other: Said) -> bool:
        return other is self or any(other is correction for correction in self.corrections)

    @property
    def current(self) -> str:
        return self.corrections[-1].text if self.corrections else self.text


@dataclass
class Burst:
    """Open, and to be sealed at some time from `low` to `high`."""

    low: float
    high: float
    deadline: float
    messages: list[Said] = field(default_factory=list)
    carries: Answering | None = None

    @property
    def size(self) -> int:
        return sum(len(message.current.encode()) for message in self.messages)

    def wait_on(self, until: float, slack: float = 0.0) -> None:
        self.low = min(max(self.low, until - slack), self.deadline)
        self.high = min(max(self.high, until), self.deadline)


@dataclass
class Answering:
    """A turn."""

    messages: list[Said]
    step: int
    redrafts: int
    status: str = "waiting"
    generation: int = 0
    attempts: int = 0
    low: float = 0.0  # the next claim is refused before, and goes through after `high`
    high: float = 0.0

    @property
    def size(self) -> int:
        return sum(len(message.current.encode()) for message in self.messages)


@dataclass
class Chat:
    """One conversation."""

    mode: str = "auto"
    length: int = 0
    said: list[Said] = field(default_factory=list)
    replies: list[str] = field(default_factory=list)
    bursts: dict[int, Burst] = field(default_factory=dict)
    turns: list[Answering] = field(default_factory=list)

    # --- the person ---
    def message(self, text: str, step: int, now: float) -> None:
        said = self._append(text)
        if self.mode == "manual":
            said.fate = "staff"
            return
        burst = self.bursts.get(step)
        if burst is not None and burst.size + len(text.encode()) > MAX_BYTES:
            self.seal(step)
            burst = None
        if burst is None:
            burst = self.bursts[step] = Burst(now, now, now + DEADLINE)
        burst.messages.append(said)
        burst.wait_on(now + QUIET)
        if len(burst.messages) >= MAX_SIZE or burst.size >= MAX_BYTES:
            self.seal(step)

    def typing(self, now: float) -> None:
        for burst in self.bursts.values():
            burst.wait_on(now + TYPING, slack=KEYSTROKE)

    def edit(self, said: Said, text: str, now: float) -> None:
        correction = self._append(text)
        for burst in self.bursts.values():
            for message in burst.messages:
                if message.is_or_became(said):
                    message.corrections.append(correction)
                    burst.wait_on(now + QUIET)
                    return
        correction.fate = "skipped"

    def retract(self, said: Said, now: float) -> None:
        if said.deleted:
            return
        said.deleted = True
        for step, burst in self.bursts.items():
            for message in burst.messages:
                if message.is_or_became(said):
                    message.end("cleared")
                    burst.messages.remove(message)
                    self._after_retraction(step, burst, now)
                    return

    def _after_retraction(self, step: int, burst: Burst, now: float) -> None:
        if burst.messages:
            burst.wait_on(now + QUIET)
        elif burst.carries is None:
            del self.bursts[step]
        else:
            self.seal(step)

    def _append(self, text: str) -> Said:
        said = Said(self.length, text)
        self.length += 1
        self.said.append(said)
        return said

    # --- the worker ---
    def seal(self, step: int) -> None:
        burst = self.bursts.pop(step)
        stale = burst.carries
        messages = [*(stale.messages if stale else []), *burst.messages]
        self.turns.append(Answering(messages, step, stale.redrafts + 1 if stale else 0))

    @property
    def oldest(self) -> Answering | None:
        return next((turn for turn in self.turns if turn.status not in OVER), None)

    @property
    def running(self) -> list[Answering]:
        return [turn for turn in self.turns if turn.status == "running"]

    def claim(self, now: float) -> Answering | None:
        """The turn that is ours now; the caller saw to it that `now` is clearly before or after its time."""
        turn = self.oldest
        if turn is None or now < turn.low or any(other is not turn for other in self.running):
            return None
        turn.status, turn.low, turn.high = "running", now + LEASE, now + LEASE
        turn.generation += 1
        turn.attempts += 1
        return turn

    def finish(self, turn: Answering, generation: int) -> str:
        if (turn.status, turn.generation) != ("running", generation):
            return "lost"
        if turn.redrafts < MOST_REDRAFTS and self._gives_way(turn):
            turn.status = "superseded"
            return "superseded"
        turn.status = "done"
        for message in turn.messages:
            message.end("answered")
        self._reply(" | ".join(message.current for message in turn.messages))
        return "done"

    def _gives_way(self, turn: Answering) -> bool:
        """To the next turn of its step that waits, else to the step's open burst, where there is room."""
        later = self.turns[self.turns.index(turn) + 1 :]
        follower = next((other for other in later if other.status == "waiting" and other.step == turn.step), None)
        into = follower or self.bursts.get(turn.step)
        if into is None or len(into.messages) + len(turn.messages) > MAX_SIZE or into.size + turn.size > MAX_BYTES:
            return False
        if isinstance(into, Burst):
            if into.carries is not None:
                return False
            into.carries = turn
        else:
            into.messages = [*turn.messages, *into.messages]
            into.redrafts = max(into.redrafts, turn.redrafts + 1)
        return True

    def fail(self, turn: Answering, generation: int, now: float, *, permanent: bool) -> str:
        if (turn.status, turn.generation) != ("running", generation):
            return "lost"
        if not permanent and turn.attempts < ATTEMPTS:
            pause = BACKOFF * 2 ** (turn.attempts - 1)
            turn.status, turn.low, turn.high = "waiting", now + 0.75 * pause, now + 1.25 * pause
            return "waiting"
        turn.status = "failed"
        for message in turn.messages:
            message.end("failed")
        self._reply("sorry")
        return "failed"

    def _reply(self, text: str) -> None:
        self.replies.append(text)
        self.length += 1

    # --- staff ---
    def retry(self, turn: Answering, now: float) -> None:
        turn.status, turn.attempts, turn.low, turn.high = "waiting", 0, now, now
        for message in turn.messages:
            message.end("")

    def take_away(self, fate: str) -> None:
        for burst in self.bursts.values():
            for message in (*(burst.carries.messages if burst.carries else []), *burst.messages):
                message.end(fate)
        self.bursts.clear()
        for turn in self.turns:
            if turn.status not in OVER:
                turn.status = "withdrawn"
                turn.generation += 1
                for message in turn.messages:
                    message.end(fate)
