"""Article-like prose: sentences of many frames about the topics, with the people and places of the world in them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache

from lm.data.synthetic.crawl.topics import TOPICS, Topic
from lm.data.synthetic.grammar import Cast

FRAMES = (
    "the {role} {person} of {place} has worked with {things} for {count} years and still likes {tasks} best",
    "a good {role} keeps the {tools} dry, because {materials} and damp {tools} do not go well together",
    "{person} says that {tasks} takes {count} hours on a {adjective} day and twice as long in {season}",
    "most {things} in {spots} were made with {materials}, which {person} brought from {place}",
    "the {parts} of such {things} wear out first, so {person} looks at them every {period}",
    "nobody in {place} had seen {adjective} {things} before {person} began {tasks} there",
    "before {tasks}, {person} sets out the {tools} and counts the {things} in {spots}",
    "there are {count} reasons to prefer {materials} to {materials}, and {virtue} is one of them",
    "it was in {spots} near {place} that {person} learnt about {craft} from an old {role}",
    "without {virtue}, {person} warns, {tasks} soon ends with broken {parts} and wasted {materials}",
    "the {adjective} {things} that stand in {spots} belong to {person}, the {role} from {place}",
    "in {season} the {things} need more {materials}, and {tasks} becomes the work of every {period}",
    "visitors ask about {craft} all the time, but few of them try {tasks} with their own hands",
    "{person} keeps a notebook on {craft} in which {things}, {parts} and {materials} are listed by {period}",
    "if the {parts} are too {adjective}, the {things} will not last beyond {season}",
    "a set of {tools} costs about £{price} in {place}, though {person} still uses second-hand ones",
    "what {person} likes about {craft} is the {virtue} that {tasks} asks of everyone",
    "the first {count} {things} failed, and only after {tasks} once more did the {parts} hold",
    "you can tell {adjective} {materials} by the smell, says {person}, who has spent {count} years in {spots}",
    "last {season} {person} moved {count} {things} from {spots} to {place} with nothing but {tools}",
    "children from {place} come to {spots} each {period} to watch {person} {role_work}",
    "{tools} were rare at that time, so {things} were made with bare hands and {materials}",
    "some people think {tasks} is dull, yet {person} calls it the heart of {craft}",
    "the guide that {person} wrote explains why {parts} crack and how {materials} can prevent it",
    "between {place} and {place} there are at least {count} places where {adjective} {things} can be found",
    "{a_role} without {tools} is like {spots} without {things}, as they say in {place}",
    "it helps to begin with small {things}, since their {parts} forgive a lack of {virtue}",
    "after {count} {period}s of {tasks}, {person} had enough {materials} for the whole of {season}",
    "the town of {place} owes much to {craft}, and above all to the {adjective} {things} of {spots}",
    "{person} and {person} disagree about {materials}, but both use the same {tools} for {tasks}",
    "when {season} is over, the {tools} are cleaned and the {parts} are stored in {spots}",
    "a {adjective} {role} never hurries: {virtue} matters more than the number of {things}",
    "old records from {place} mention {things}, {tools} and a certain {person} who was fond of {tasks}",
    "the price of {materials} rose by {count} pounds, which made {things} dear in {place}",
    "for {tasks} one needs {tools}, a little {virtue} and a free {period}",
    "{person} opened the door to {spots} and found {count} {adjective} {things} inside",
    "there is no better place for {tasks} than {spots}, except perhaps the shore near {place}",
    "new {parts} are sent from {place} once a {period}, wrapped in paper and {materials}",
    "the {things} we saw in {spots} had {adjective} {parts} and a faint smell of {materials}",
    "every {role} knows the danger: {parts} that look {adjective} may fail during {tasks}",
    "{count} members of the {craft} club met in {place} and talked about {tools} until late",
    "thanks to {person}, the {things} of {place} now have {parts} of {materials}",
    "how {person} came to {craft} is a long story that begins with {things} in {spots}",
    "in the {adjective} light of {season}, the {parts} of the {things} seem almost new",
    "at first {person} was paid in {materials}, later in {things}, and in the end not at all",
    "whoever wants to learn {craft} should spend a {period} in {spots} and watch {person}",
    "much of the work is simple – {tasks}, cleaning {tools}, carrying {materials} – but it needs {virtue}",
    "the café in {place} has a shelf of {adjective} {things} that were a gift of {person}",
    "three things matter in {craft}: {materials}, {virtue} and {adjective} {tools}",
    "two {period}s ago {person} lost all the {tools} in {spots} and had to borrow others in {place}",
    "{person} measures the {parts} twice, writes the figures down and only then starts {tasks}",
    "the museum in {place} shows {things} from {count} countries, among them some with {adjective} {parts}",
    "strangely enough, {materials} from {place} gives better {things} than what is sold elsewhere",
    "rain does the {things} no harm, but frost in {season} can split the {parts} overnight",
    "by the end of the {period}, {person} had finished {tasks} and walked home to {place}",
    "{craft} is older than the houses of {place}, and its {tools} have hardly changed",
    "a letter by {person} describes {tasks} in such detail that any {role} could follow it",
    "because {things} are {adjective} in {season}, {person} leaves {tasks} for later in the year",
    "the {role} we met in {place} laughed when asked how many {things} fit into {spots}",
    "one {adjective} morning {person} found that all the {parts} had been replaced with {materials}",
)
"""Sentences without capital and full stop; every run of fixed words is short, so that pages differ."""

_OPENERS = (
    "As a rule", "In most years", "These days", "To be fair", "According to {person}", "Even so", "For example",
    "On the other hand", "Near {place}", "During {season}", "As {person} puts it", "Most of the time", "Luckily",
    "In short", "Not far from {place}", "Over the years", "After all", "Once a {period}", "It is said that",
)  # fmt: skip
_TITLES = (
    "{tasks} in {place}", "a {period} with {person}, {role}", "what {person} knows about {craft}",
    "{things} and {things}: notes on {craft}", "the {adjective} {things} of {place}", "{craft} for beginners",
    "why {materials} matters", "{person} on {virtue} and {tools}", "from {spots} to {place}", "{craft} in {season}",
    "how {person} learnt {tasks}", "{count} {things} that changed {craft}", "the {tools} of {person}",
)  # fmt: skip
_SHARED: Mapping[str, tuple[str, ...]] = {
    "adjective": (
        "worn", "plain", "heavy", "fine", "narrow", "bright", "soft", "quiet", "sturdy", "cheap", "careful",
        "wet", "grey", "simple", "patient", "small", "hard", "modest", "broad", "thin", "smooth", "dusty",
    ),
    "virtue": ("patience", "care", "a steady hand", "good light", "time", "practice", "curiosity", "luck", "order"),
    "season": ("spring", "summer", "autumn", "winter", "the harvest month", "the dry season", "March", "late May"),
    "period": ("day", "week", "month", "year", "weekend", "morning", "season"),
    "count": ("four", "five", "six", "seven", "nine", "ten", "twelve", "fifteen", "twenty", "thirty", "forty"),
    "price": tuple(str(pounds) for pounds in range(12, 96)),
    "role_work": ("at work", "mend what is broken", "explain the trade", "finish the job", "sort the stock"),
}  # fmt: skip


class Slots:
    """Fills the slots of frames: a new draw for every slot, people and places from the cast."""

    def __init__(self, cast: Cast, words: Mapping[str, Sequence[str]]) -> None:
        self._cast = cast
        self._words = words

    def __getitem__(self, slot: str) -> str:
        if slot in ("person", "place", "thing"):
            draw = {"person": self._cast.people, "place": self._cast.places, "thing": self._cast.things}[slot]
            return draw(1)[0]
        return self._cast.one(self._words[slot])

    def fill(self, frame: str) -> str:
        """Returns the frame with words for its slots, each drawn anew."""
        return frame.format_map(self)


def about(cast: Cast, topic: Topic) -> Slots:
    """Returns what fills frames with the words of one topic."""
    return Slots(cast, _words(topic))


@cache
def _words(topic: Topic) -> Mapping[str, tuple[str, ...]]:
    alone = {"craft": topic.craft, "role": topic.role, "a_role": with_article(topic.role)}
    return {**_SHARED, **topic._asdict(), **{slot: (word,) for slot, word in alone.items()}}


def sentences(cast: Cast, n: int, *, topics: Sequence[Topic] = TOPICS, frames: Sequence[str] = FRAMES) -> list[str]:
    """Returns n sentences about one of the topics, of n different frames."""
    slots = about(cast, cast.one(topics))
    return [_sentence(cast, slots, frame) for frame in cast.some(frames, n)]


def title(cast: Cast) -> str:
    """Returns a heading of three to eight words."""
    return capital(about(cast, cast.one(TOPICS)).fill(cast.one(_TITLES)))


def capital(text: str) -> str:
    """Returns the text with its first letter in upper case."""
    return text[:1].upper() + text[1:]


def _sentence(cast: Cast, slots: Slots, frame: str) -> str:
    body = slots.fill(frame)
    if cast.chance(0.35):
        opener = slots.fill(cast.one(_OPENERS))
        body = f"{opener}{'' if opener.endswith('that') else ','} {body}"
    return f"{capital(body)}."


def with_article(noun: str) -> str:
    """Returns `a baker` or `an angler`."""
    return f"{'an' if noun[0] in 'aeio' else 'a'} {noun}"
