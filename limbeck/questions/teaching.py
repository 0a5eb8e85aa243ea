"""What `mini:llm` learns the three written types from: prompts and answers made from random scenes, all of them true.

`example` is pure: a scene and a random generator in, a prompt and an answer out. The conversations reuse the templates
of program-made questions; descriptions and reasoning have their own.
"""

from __future__ import annotations

import random

from limbeck.prompts import messages
from limbeck.questions.ask import pick
from limbeck.questions.context import (
    SHORT_VISUAL,
    TASKS,
    Task,
    conversation_answer,
    description_answer,
    reasoning_answer,
    short_boxes,
)
from limbeck.questions.pictures import DRAWERS_OF_ONE
from limbeck.questions.program import answer
from limbeck.questions.view import View
from limbeck.questions.wording import word
from limbeck.storybook.grammar import PLACE_PHRASE, caption
from limbeck.storybook.scene import Scene, Thing

TALKS_OF = (
    "existence.random", "existence.described", "attribute.colour", "attribute.size", "attribute.is_colour", "count.all",
    "place.where", "place.what", "place.is", "relation.is", "relation.next", "comparison.further", "setting.ground",
    "setting.time", "setting.weather",
)  # fmt: skip
"""Templates that a conversation may use: what a caption tells for certain."""
TURNS = 3
LIVES = ("tree", "flower", "mushroom", "cat")
ROLLS = ("ball", "car")
CARRIES = {"car": "roads", "boat": "water"}
_TIME = {"day": "It is day", "sunset": "The sun is setting", "night": "It is night"}
_SKY = {"clear": "the sky is clear", "cloudy": "the sky is cloudy", "rainy": "it is raining"}


def example(scene: Scene, rng: random.Random, task: Task | None = None) -> tuple[str, str, Task]:
    """One prompt and its answer.

    Args:
        scene: what the picture shows.
        rng: of all choices.
        task: what is written; any of the three if None.

    Returns:
        (user message, assistant message, task).
    """
    task = task or pick(rng, TASKS)
    view = View(scene)
    written = {"conversation": _conversation, "description": _description, "reasoning": _reasoning}[task](view, rng)
    return prompt(view, task), written, task


def prompt(view: View, task: Task) -> str:
    """The user message for a scene.

    >>> from limbeck.storybook import parse_caption
    >>> print(prompt(View(parse_caption("a big red ball on the left, on grass, by day")), "description"))
    write: description
    caption: a big red ball on the left, on grass, by day
    boxes: ball .02 .48 .39 .86
    """
    boxes = [(thing.kind, view.box(thing)) for thing in view.scene.things]
    values = {"task": task, "caption": caption(view.scene), "boxes": short_boxes(boxes)}
    return messages(SHORT_VISUAL, **values)[0]["content"]


def _conversation(view: View, rng: random.Random) -> str:
    turns: dict[str, tuple[str, str]] = {}
    while len(turns) < TURNS:
        ask = DRAWERS_OF_ONE[pick(rng, TALKS_OF)](view, rng)
        if ask is None or ask.template in turns:
            continue
        worded = word(ask, answer(ask.program, [view]), [view], "en", "sentence", rng)
        turns[ask.template] = (worded.question, worded.answer)
    return conversation_answer(list(turns.values()))


def _description(view: View, rng: random.Random) -> str:
    scene = view.scene
    opening = pick(rng, ("This is a scene on the {ground}.", "The picture shows a scene on the {ground}."))
    sky = f"{_TIME[scene.time]} and {_SKY[scene.weather]}."
    said = [opening.format(ground=scene.ground), *(_stands(thing, rng) for thing in scene.things)]
    if len(scene.things) > 1:
        a, b = rng.sample(list(scene.things), 2)
        side = "left" if scene.things.index(a) < scene.things.index(b) else "right"
        said.append(f"The {a.kind} is to the {side} of the {b.kind}.")
    said.insert(1 if rng.random() < 0.5 else len(said), sky)
    return description_answer(" ".join(said))


def _stands(thing: Thing, rng: random.Random) -> str:
    where = PLACE_PHRASE[thing.place]
    return pick(rng, (
        f"{where.capitalize()} stands a {thing.size} {thing.colour} {thing.kind}.",
        f"A {thing.size} {thing.colour} {thing.kind} stands {where}.",
        f"The {thing.kind} {where} is {thing.size} and {thing.colour}.",
    ))  # fmt: skip


def _reasoning(view: View, rng: random.Random) -> str:
    scene = view.scene
    ways = [_umbrella, _stars, _clothes]
    ways += [_alive] if any(t.kind in LIVES for t in scene.things) else []
    ways += [_rolls] if any(t.kind in ROLLS for t in scene.things) else []
    ways += [_travels] if any(t.kind in CARRIES for t in scene.things) else []
    ways += [_shelter] if scene.thing("house") else []
    return reasoning_answer(*pick(rng, ways)(scene))


def _umbrella(scene: Scene) -> tuple[str, str]:
    told = {
        "rainy": "Yes, because it is raining.",
        "cloudy": "Not yet. The sky is cloudy but no rain falls.",
        "clear": "No, because the sky is clear.",
    }
    return "Would someone who walks here get wet without cover?", told[scene.weather]


def _stars(scene: Scene) -> tuple[str, str]:
    if scene.time != "night":
        why = "it is day" if scene.time == "day" else "the sun is setting"
        return "Is this a good time to watch the stars?", f"No, because {why}. One would have to wait for darkness."
    told = {
        "clear": "Yes, because it is night and the sky is clear.",
        "cloudy": "It is night, but the sky is cloudy, so few can be seen.",
        "rainy": "It is night, but it is raining, so none can be seen.",
    }
    return "Is this a good time to watch the stars?", told[scene.weather]


def _clothes(scene: Scene) -> tuple[str, str]:
    told = {
        "grass": "Light shoes will do, because the ground is grass.",
        "sand": "Bare feet will do, because the ground is sand.",
        "snow": "Warm boots, because the ground is snow.",
        "water": "None at all, because the ground is water and one has to swim.",
    }
    return "What should someone wear on their feet here?", told[scene.ground]


def _one_of(scene: Scene, kinds: tuple[str, ...]) -> list[Thing]:
    return [thing for thing in scene.things if thing.kind in kinds]


def _named(things: list[Thing]) -> str:
    names = [f"the {t.colour} {t.kind} {PLACE_PHRASE[t.place]}" for t in things]
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def _alive(scene: Scene) -> tuple[str, str]:
    found = _one_of(scene, LIVES)
    many = len(found) > 1
    return (
        "Which of the things here grow or live?",
        f"{_named(found).capitalize()}, because {'they are' if many else 'it is'} alive.",
    )


def _rolls(scene: Scene) -> tuple[str, str]:
    found = _one_of(scene, ROLLS)
    return (
        "What here could roll down a slope?",
        f"{_named(found).capitalize()}, because of the round shape or the wheels.",
    )


def _travels(scene: Scene) -> tuple[str, str]:
    thing = _one_of(scene, tuple(CARRIES))[0]
    return "What here could carry someone away?", f"{_named([thing]).capitalize()}, because it is made to travel."


def _shelter(scene: Scene) -> tuple[str, str]:
    house = _one_of(scene, ("house",))
    return "Where could someone spend the night indoors?", f"In {_named(house)}, because it has walls and a roof."
