"""The English words that `claims_english` knows: things, values, and what makes a claim of them."""

from __future__ import annotations

from limbeck.questions.claims import ANYTHING, STRANGER
from limbeck.storybook.world import COLOURS as COLOUR_NAMES


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


_NUMERALS = ("zero", "one", "two", "three", "four", "five", "six")
KINDS = {
    "ball": "ball balls", "house": "house houses home homes cottage cottages hut", "tree": "tree trees",
    "car": "car cars automobile automobiles", "boat": "boat boats sailboat sailboats ship ships",
    "flower": "flower flowers blossom blossoms", "mushroom": "mushroom mushrooms toadstool toadstools",
    "cat": "cat cats kitten kittens kitty", "sun": "sun", "moon": "moon", "star": "star stars", "cloud": "cloud clouds",
    ANYTHING: "thing things object objects item items",
}  # fmt: skip
STRANGERS = _set("""
    person people man men woman women child children boy girl baby dog dogs puppy bird birds horse sheep cow elephant
    bear zebra giraffe rabbit mouse fish duck bus truck train bicycle bike motorcycle airplane plane bench chair table
    sofa couch bed umbrella bag backpack hat kite frisbee skateboard surfboard bottle cup fork knife spoon bowl banana
    apple orange_fruit cake pizza book clock vase laptop phone television lamp fence bridge road street mountain
    mountains hill hills river castle tower church tent flag balloon balloons rainbow snowman butterfly bee dragon
    robot rocket key door_mat basket rock rocks stone bush bushes lighthouse windmill swing slide
""")
NOUNS = {form: kind for kind, forms in KINDS.items() for form in forms.split()} | {
    s: STRANGER + s for s in sorted(STRANGERS)
}
COLOURS = {c: c for c in COLOUR_NAMES} | {
    "violet": "purple", "scarlet": "red", "crimson": "red", "golden": "yellow", "magenta": "pink",
}  # fmt: skip
OTHER_COLOURS = {"black", "white", "grey", "gray", "turquoise", "beige", "silver", "teal"}
SIZES = {"big": "big", "large": "big", "huge": "big", "small": "small", "little": "small", "tiny": "small"}
NUMBERS = {n: i for i, n in enumerate(_NUMERALS)} | {str(i): i for i in range(10)} | {"single": 1}
SETTINGS = {
    "grass": ("ground", "grass"), "grassy": ("ground", "grass"), "lawn": ("ground", "grass"), "meadow": ("ground", "grass"),
    "sand": ("ground", "sand"), "sandy": ("ground", "sand"), "beach": ("ground", "sand"),
    "snow": ("ground", "snow"), "snowy": ("ground", "snow"), "water": ("ground", "water"), "sea": ("ground", "water"),
    "lake": ("ground", "water"), "day": ("time", "day"), "daytime": ("time", "day"), "daylight": ("time", "day"),
    "sunset": ("time", "sunset"), "evening": ("time", "sunset"), "dusk": ("time", "sunset"), "night": ("time", "night"), "nighttime": ("time", "night"),
    "clear": ("weather", "clear"), "cloudy": ("weather", "cloudy"), "overcast": ("weather", "cloudy"),
    "rain": ("weather", "rainy"), "rainy": ("weather", "rainy"), "raining": ("weather", "rainy"), "rains": ("weather", "rainy"), "raindrops": ("weather", "rainy"),
}  # fmt: skip
PHRASES = [  # longest first; what is put in their place is one word
    (r"(number|marked( with)?( the number)?) \d+", " "),
    (r"(the )?(sun is setting|setting sun|sun sets)", " sunset "),
    (r"time of (the )?day|these days|day and night", " "),
    (r"(more|fewer) (small|big) (things|objects|ones)? ?than (small|big)( ones| things)?", r" @more_\1_\2_\4 "),
    (r"(further|farther|more) (to the )?(left|right) than", r" @beside_\3 "),
    (r"(further|farther|more) to the (left|right)(?! (of|than))", " "),
    (r"(on|to|at) (the (left|right)([- ]hand)?( side)? of it|its (left|right)([- ]hand)?( side)?)", r" @its_\3\6 "),
    (
        r"(on|to|at) the (left|right)([- ]hand)?( side)? of (?=(the|an?|both)\b)(?!the (picture|scene|image))",
        r" @beside_\2 ",
    ),
    (r"\b(left|right) of (?=(the|an?|both)\b)(?!the (picture|scene|image))", r" @beside_\1 "),
    (r"(looking |going )?from (the )?(left|right)( to (the )?(left|right))?", r" @order_\3 "),
    (
        r"(on|to|at|in|near) the (far |very )?(left|right)([- ]hand)?( (side|part|half|edge))?( of the (picture|scene|image))?",
        r" @place_\3 ",
    ),
    (r"the (far |very )?(left|right)([- ]hand)? (side|part|half)( of the (picture|scene|image))?", r" @place_\2 "),
    (r"(in|at) the (very )?(middle|cent(er|re))( of the (picture|scene|image))?", " @place_middle "),
    (r"in between|between", " @between "),
    (r"(taller|higher) than", " @taller "),
    (r"(shorter|lower) than", " @shorter "),
    (r"orange (is|as) a fruit", " "),
    (r"(is|are|does|do|was|could)n['’]?t", r"\1 not"),
    (r"can['’]t", "can not"),
    (r"cannot", "can not"),
]
HEDGES = _set("might may could would maybe perhaps probably suggests should likely")
SUPPOSING = _set("if imagine suppose wish unless whether")
DETERMINERS = _set("the a an this that its their another some")
COPULAS = _set("is are was were looks look appears has being be")
PRONOUNS = _set("it they")
NEGATIONS = _set("no not without never neither nor")
BREAKS = _set("; : so because since but while though although")
CLAUSE = frozenset([",", "and", "which", "that", "with", "or"]) | BREAKS
NOBODY = _set("nothing none")
EXCEPTIONS = _set("except besides apart")
GONE = _set("missing absent gone hidden nowhere")
PARTS = _set("walls wall hull petals leaves fur coat body cap")
INVERTED = _set("is are stands stand sits sit lies lie there you we one i floats grows")
