"""English words and templates. See `limbeck.questions.template` for the marks in them."""

from __future__ import annotations

from limbeck.questions.template import Wording

LETTERS = ("A", "B", "C", "D")
YES, NO, NOTHING = "Yes", "No", "None"
CHANGED = {
    "number": "number of things", "kind": "kind of thing", "colour": "colour of a thing", "size": "size of a thing",
    "place": "place of a thing", "ground": "ground", "time": "time of day", "weather": "weather", "style": "drawing style",
}  # fmt: skip
WORDS = {
    "colour": {}, "hue": {}, "kind": {}, "size": {}, "number": {0: "none", 1: "one", 2: "two", 3: "three"},
    "place": {"left": "on the left", "middle": "in the middle", "right": "on the right"},
    "spot": {}, "side": {},
    "ground": {},
    "time": {"day": "day", "sunset": "sunset", "night": "night"},
    "hour": {"day": "by day", "sunset": "at sunset", "night": "at night"},
    "weather": {},
    "which": {},
    "changed": CHANGED,
}  # fmt: skip
"""What stands for a value of each category; a value that isn't named stands for itself."""
SHORT: dict[str, dict[str, str]] = {}
"""Words of a category where they stand alone, as a short answer or an option."""
HINTS = {
    "yes_no": "Answer yes or no.",
    "word": "Answer with a single word.",
    "number": "Answer with a number.",
    "box": "Answer with [x0, y0, x1, y1], each from 0 to 1.",
    "point": "Answer with (x, y), each from 0 to 1.",
    "phrase": "Answer with a short phrase.",
    "choice": "Answer with the letter of the right option.",
}


def inflect(word: str, mark: str) -> str:
    """A word with its indefinite article (`a`) or capitalised (`A`).

    >>> inflect("orange ball", "a"), inflect("red", "A")
    ('an orange ball', 'Red')
    """
    if mark == "a":
        return f"{'an' if word[0] in 'aeiou' else 'a'} {word}"
    if mark == "a_A":
        return inflect(inflect(word, "a"), "A")
    return word[:1].upper() + word[1:]


def plural(noun: str) -> str:
    """The plural of a noun, or of the last word of a compound.

    >>> [plural(noun) for noun in ("cat", "bus", "person", "wine glass", "butterfly", "toy", "teddy bear", "knife", "t shirt")]
    ['cats', 'buses', 'people', 'wine glasses', 'butterflies', 'toys', 'teddy bears', 'knives', 't shirts']
    """
    compound, space, word = noun.rpartition(" ")
    return f"{compound}{space}{_plural(word)}"


def _plural(word: str) -> str:
    if word in _PLURALS:
        return _PLURALS[word]
    if word.endswith("man") and word not in ("human", "german", "roman"):
        return f"{word[:-2]}en"
    if word.endswith(("s", "x", "z", "ch", "sh")):
        return f"{word}es"
    if word.endswith("y") and word[-2:-1] not in ("", *"aeiou"):
        return f"{word[:-1]}ies"
    return f"{word}s"


_PLURALS = {
    "person": "people", "child": "children", "mouse": "mice", "foot": "feet", "tooth": "teeth", "goose": "geese",
    "ox": "oxen", "leaf": "leaves", "shelf": "shelves", "bookshelf": "bookshelves", "wolf": "wolves", "calf": "calves",
    "loaf": "loaves", "half": "halves", "scarf": "scarves", "knife": "knives", "wife": "wives", "life": "lives",
    "thief": "thieves", "potato": "potatoes", "tomato": "tomatoes", "sheep": "sheep", "fish": "fish", "deer": "deer",
}  # fmt: skip


def listed(things: list[tuple[str, str]]) -> str:
    """Colours and kinds as a list.

    >>> listed([("red", "ball"), ("orange", "cat")])
    'a red ball and an orange cat'
    """
    phrases = [inflect(f"{colour} {kind}", "a") for colour, kind in things]
    return " and ".join([", ".join(phrases[:-1]), phrases[-1]] if len(phrases) > 1 else phrases)


_IT_SHOWS = "the picture shows {present}"
_EXISTS = Wording(
    (
        "Is there {kind:a} in the picture?",
        "Can you see {kind:a} here?",
        "Does this picture show {kind:a}?",
        "Is {kind:a} anywhere in this scene?",
    ),
    yes=("Yes, there is {its_hue_kind:a} {its_place}.", "Yes, {its_hue_kind:a} is {its_place}."),
    no=(f"No, there is no {{kind}}; {_IT_SHOWS}.", f"No. There is no {{kind}} here, {_IT_SHOWS}."),
)
_COLOUR = ("What colour is the {kind}?", "Which colour does the {kind} have?", "Tell me the colour of the {kind}.")
_WHERE = ("Where is the {kind}?", "In which part of the picture is the {kind}?", "Where does the {kind} stand?")

TEMPLATES: dict[str, Wording] = {
    "existence.random": _EXISTS,
    "existence.popular": _EXISTS,
    "existence.adversarial": _EXISTS,
    "existence.described": Wording(
        (
            "Is there {hue_kind:a} in the picture?",
            "Can you see {hue_kind:a}?",
            "Does {hue_kind:a} appear here?",
        ),
        yes=("Yes, there is {hue_kind:a} {its_place}.",),
        no=(f"No, there is no {{hue_kind}}; {_IT_SHOWS}.",),
    ),
    "attribute.colour": Wording(_COLOUR, says=("The {kind} is {answer}.", "It is {answer:a} {kind}."), answer="colour"),
    "attribute.size": Wording(
        ("Is the {kind} big or small?", "Is the {kind} small or big?", "Is this a big or a small {kind}?"),
        says=("The {kind} is {answer}.", "It is a {answer} {kind}."), answer="size",
    ),
    "attribute.is_colour": Wording(
        ("Is the {kind} {colour}?", "Does the {kind} have the colour {colour}?", "Is it true that the {kind} is {colour}?"),
        yes=("Yes, the {kind} is {colour}.",),
        no=("No, the {kind} is {its_colour}.", "No, it is {its_hue_kind:a}."),
    ),
    "attribute.is_size": Wording(
        ("Is the {kind} {size}?", "Is this a {size} {kind}?", "Would you call the {kind} {size}?"),
        yes=("Yes, the {kind} is {size}.",),
        no=("No, the {kind} is {its_size}.",),
    ),
    "attribute.kind": Wording(
        ("What is the {colour} thing on the {ground}?", "Which thing on the {ground} is {colour}?"),
        says=("The {colour} thing is {answer:a}.", "It is {answer:a}."), answer="kind",
    ),
    "count.all": Wording(
        ("How many things stand on the {ground}?", "Count the things that stand on the {ground}."),
        says=("I count {answer}: {present}.", "{answer:A} in all: {present}."), answer="number",
    ),
    "count.colour": Wording(
        ("How many of the things on the {ground} are {colour}?", "Count the {colour} things that stand on the {ground}."),
        says=("I count {answer}; the picture shows {present}.",), answer="number",
    ),
    "count.size": Wording(
        ("How many of the things on the {ground} are {size}?", "Count the {size} things that stand on the {ground}."),
        says=("I count {answer}.", "Of that size I count {answer}."), answer="number",
    ),
    "false_premise.colour": Wording(
        _COLOUR, says=("The {kind} is {answer}.",), answer="colour",
        nothing=(f"There is no {{kind}}; {_IT_SHOWS}.", f"I see no {{kind}} here: {_IT_SHOWS}."),
    ),
    "false_premise.place": Wording(
        _WHERE, says=("The {kind} is {answer}.",), answer="place",
        nothing=(f"There is no {{kind}}; {_IT_SHOWS}.", f"Nowhere: there is no {{kind}}, {_IT_SHOWS}."),
    ),
    "place.where": Wording(_WHERE, says=("The {kind} is {answer}.", "It is {answer}."), answer="place"),
    "place.is": Wording(
        ("Is the {kind} {place}?", "Does the {kind} stand {place}?", "Can the {kind} be found {place}?"),
        yes=("Yes, the {kind} is {place}.",),
        no=("No, the {kind} is {its_place}.",),
    ),
    "place.what": Wording(
        ("What stands {place}?", "What can be seen {place} of the picture?", "Which thing is {place}?"),
        says=("{answer:a_A} stands {place}.", "It is {answer:a}."), answer="kind",
    ),
    "relation.is": Wording(
        (
            "Is the {kind} to the {side} of the {kind2}?",
            "Does the {kind} stand {side} of the {kind2}?",
            "Looking at the picture, is the {kind} on the {side} side of the {kind2}?",
        ),
        yes=("Yes, the {kind} is to the {side} of the {kind2}.",),
        no=("No, the {kind} is to the {other_side} of the {kind2}.",),
    ),
    "relation.next": Wording(
        ("What is the nearest thing to the {side} of the {kind}?", "Going {side} from the {kind}, what comes first?"),
        says=("To the {side} of the {kind} is {answer:a}.", "It is {answer:a}."), answer="kind",
    ),
    "relation.between": Wording(
        ("What stands between the {kind} and the {kind2}?", "Which thing is between the {kind} and the {kind2}?"),
        says=("{answer:a_A} stands between them.", "Between the {kind} and the {kind2} is {answer:a}."), answer="kind",
    ),
    "comparison.further": Wording(
        ("Which is further to the {side}, the {kind} or the {kind2}?",
         "Of the {kind} and the {kind2}, which stands more to the {side}?"),
        says=("The {answer} is further to the {side}.",), answer="kind",
    ),
    "comparison.taller": Wording(
        ("Which is taller in the picture, the {kind} or the {kind2}?", "Of the {kind} and the {kind2}, which looks taller?"),
        says=("The {answer} is taller.", "The {answer} looks taller."), answer="kind",
    ),
    "comparison.is_taller": Wording(
        ("Is the {kind} taller than the {kind2} in the picture?", "Does the {kind} look taller than the {kind2}?"),
        yes=("Yes, the {kind} is taller than the {kind2}.",),
        no=("No, the {kind2} is taller than the {kind}.",),
    ),
    "comparison.same_colour": Wording(
        ("Do the {kind} and the {kind2} have the same colour?", "Is the {kind} of the same colour as the {kind2}?"),
        yes=("Yes, both are {its_colour}.",),
        no=("No, the {kind} is {its_colour} and the {kind2} is {its_colour2}.",),
    ),
    "comparison.more": Wording(
        ("Are there more {size} things than {size2} things on the {ground}?",
         "On the {ground}, do {size} things outnumber {size2} ones?"),
        yes=("Yes, there are more {size} things than {size2} ones.",),
        no=("No, there are more {size2} things than {size} ones.",),
    ),
    "region.box": Wording(
        ("Give the bounding box of the {kind}.", "In which box is the {kind}?", "Locate the {kind} with a box."),
        says=("The {kind} is in {answer}.",), answer="box",
    ),
    "region.what": Wording(
        ("What stands in the box {box}?", "Which thing is inside {box}?", "Name the thing in the region {box}."),
        says=("In that box stands {answer:a}.", "It is {answer:a}."), answer="kind",
    ),
    "region.colour": Wording(
        ("What colour is the thing in the box {box}?", "Which colour has the thing inside {box}?"),
        says=("The thing in that box is {answer}.",), answer="colour",
    ),
    "point.to": Wording(
        ("Point to the {kind}.", "Give a point on the {kind}.", "Where would you click to select the {kind}?"),
        says=("The {kind} is at {answer}.",), answer="point",
    ),
    "point.what": Wording(
        ("Which thing is nearest to the point {point}?", "What stands closest to {point}?"),
        says=("Nearest to that point is {answer:a}.", "It is {answer:a}."), answer="kind",
    ),
    "setting.ground": Wording(
        ("What is the ground made of: grass, sand, snow or water?", "On what do the things stand: grass, sand, snow or water?"),
        says=("The ground is {answer}.", "They stand on {answer}."), answer="ground",
    ),
    "setting.is_ground": Wording(
        ("Is the ground {ground}?", "Do the things stand on {ground}?"),
        yes=("Yes, the ground is {ground}.",),
        no=("No, the ground is {now_ground}.",),
    ),
    "setting.time": Wording(
        ("Is it day, sunset or night in the picture?", "At what time of day does the scene play: day, sunset or night?"),
        says=("It is {answer}.",), answer="time",
    ),
    "setting.is_time": Wording(
        ("Is it {time} in the picture?", "Does the scene play {hour}?"),
        yes=("Yes, it is {time}.",),
        no=("No, it is {now_time}.",),
    ),
    "setting.weather": Wording(
        ("Is the weather clear, cloudy or rainy?", "What is the weather like: clear, cloudy or rainy?"),
        says=("The weather is {answer}.", "It is {answer}."), answer="weather",
    ),
    "setting.is_weather": Wording(
        ("Is the weather {weather}?", "Is it {weather} in the picture?"),
        yes=("Yes, the weather is {weather}.",),
        no=("No, the weather is {now_weather}.",),
    ),
    "two.which": Wording(
        ("Which of the two pictures shows {kind:a}, the first or the second?", "In which picture is there {kind:a}?"),
        says=("The {answer} picture shows {kind:a}.",), answer="which",
    ),
    "two.which_described": Wording(
        ("Which of the two pictures shows {hue_kind:a}, the first or the second?", "In which picture is there {hue_kind:a}?"),
        says=("The {answer} picture shows {hue_kind:a}.",), answer="which",
    ),
    "two.more": Wording(
        ("Which picture shows more things standing on the ground, the first or the second?",
         "Do more things stand on the ground in the first or in the second picture?"),
        says=("The {answer} picture shows more.",), answer="which",
    ),
    "two.both": Wording(
        ("Is there {kind:a} in both pictures?", "Do both pictures show {kind:a}?"),
        yes=("Yes, both pictures show {kind:a}.",),
        no=("No, not both of them show {kind:a}.",),
    ),
    "two.same_colour": Wording(
        ("Does the {kind} have the same colour in both pictures?", "Is the {kind} equally coloured in the two pictures?"),
        yes=("Yes, it is {its_colour} in both.",),
        no=("No, it is {its_colour} in the first and {then_colour} in the second.",),
    ),
    "two.same_size": Wording(
        ("Is the {kind} the same size in both pictures?", "Has the {kind} one and the same size in the two pictures?"),
        yes=("Yes, it is {its_size} in both.",),
        no=("No, it is {its_size} in the first and {then_size} in the second.",),
    ),
    "two.same_place": Wording(
        ("Is the {kind} in the same place in both pictures?", "Does the {kind} stand in one and the same place in both pictures?"),
        yes=("Yes, it is {its_place} in both.",),
        no=("No, it is {its_place} in the first and {then_place} in the second.",),
    ),
    "two.same_time": Wording(
        ("Is it the same time of day in both pictures?", "Do both pictures play at the same time of day?"),
        yes=("Yes, it is {now_time} in both.",),
        no=("No, it is {now_time} in the first and {then_time} in the second.",),
    ),
    "two.same_ground": Wording(
        ("Is the ground the same in both pictures?", "Do both pictures have the same ground?"),
        yes=("Yes, it is {now_ground} in both.",),
        no=("No, it is {now_ground} in the first and {then_ground} in the second.",),
    ),
    "two.same_weather": Wording(
        ("Is the weather the same in both pictures?", "Do both pictures have the same weather?"),
        yes=("Yes, it is {now_weather} in both.",),
        no=("No, it is {now_weather} in the first and {then_weather} in the second.",),
    ),
    "two.changed": Wording(
        ("What is different in the second picture?", "Which one thing changes from the first picture to the second?"),
        says=("The {answer} is different.", "What changes is the {answer}."), answer="changed",
    ),
    "marks.what": Wording(
        ("What is marked with the number {mark}?", "Which thing carries the number {mark}?", "What is number {mark}?"),
        says=("Number {mark} is {answer:a}.", "It is {answer:a}."), answer="kind",
    ),
    "marks.number": Wording(
        ("Which number marks the {kind}?", "What number is on the {kind}?"),
        says=("The {kind} is marked with {answer}.", "It is number {answer}."), answer="mark",
    ),
    "marks.colour": Wording(
        ("What colour is the thing marked {mark}?", "Which colour does number {mark} have?"),
        says=("Number {mark} is {answer}.",), answer="colour",
    ),
    "marks.is": Wording(
        ("Is number {mark} {kind:a}?", "Is the thing marked {mark} {kind:a}?"),
        yes=("Yes, number {mark} is {kind:a}.",),
        no=("No, number {mark} is {marked_kind:a}.",),
    ),
    "marks.beside": Wording(
        ("Is number {mark} to the {side} of number {mark2}?", "Does the thing marked {mark} stand {side} of the one marked {mark2}?"),
        yes=("Yes, number {mark} is to the {side} of number {mark2}.",),
        no=("No, number {mark} is to the {other_side} of number {mark2}.",),
    ),
}  # fmt: skip
