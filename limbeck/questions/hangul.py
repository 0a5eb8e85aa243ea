"""Korean words and templates, written in Korean and not translated. See `limbeck.questions.template` for the marks."""

from __future__ import annotations

from limbeck.korean import COUNTERS, numeral, with_particle
from limbeck.questions.template import Wording

LETTERS = ("가", "나", "다", "라")
YES, NO, NOTHING = "네", "아니요", "없음"
KINDS = {
    "ball": "공", "house": "집", "tree": "나무", "car": "자동차", "boat": "배", "flower": "꽃", "mushroom": "버섯", "cat": "고양이",
}  # fmt: skip
COLOURS = {
    "red": "빨간색", "orange": "주황색", "yellow": "노란색", "green": "초록색",
    "blue": "파란색", "purple": "보라색", "pink": "분홍색", "brown": "갈색",
}  # fmt: skip
GROUNDS = {"grass": "풀밭", "sand": "모래밭", "snow": "눈밭", "water": "물"}
WORDS = {
    "kind": KINDS,
    "colour": COLOURS,
    "hue": {**COLOURS, "red": "빨간", "yellow": "노란", "blue": "파란"},
    "size": {"big": "큰", "small": "작은"},
    "size_is": {"big": "큽니다", "small": "작습니다"},
    "size_asked": {"big": "큰가요", "small": "작은가요"},
    "place": {"left": "왼쪽에", "middle": "가운데에", "right": "오른쪽에"},
    "spot": {"left": "왼쪽", "middle": "가운데", "right": "오른쪽"},
    "side": {"left": "왼쪽", "right": "오른쪽"},
    "ground": GROUNDS,
    "time": {"day": "낮", "sunset": "해 질 녘", "night": "밤"},
    "hour": {"day": "낮", "sunset": "해 질 녘", "night": "밤"},
    "weather": {"clear": "맑음", "cloudy": "흐림", "rainy": "비"},
    "weather_is": {"clear": "맑습니다", "cloudy": "흐립니다", "rainy": "비가 옵니다"},
    "weather_asked": {"clear": "맑은가요", "cloudy": "흐린가요", "rainy": "비가 오나요"},
    "which": {"first": "첫 번째", "second": "두 번째"},
    "number": {0: "없음", 1: "하나", 2: "둘", 3: "셋"},
    "counted": {0: "하나도 없습니다", 1: "한 개입니다", 2: "두 개입니다", 3: "세 개입니다"},
    "changed": {
        "number": "개수", "kind": "종류", "colour": "색", "size": "크기", "place": "위치",
        "ground": "바닥", "time": "시간대", "weather": "날씨", "style": "그림체",
    },
}  # fmt: skip
SHORT = {"size": {"big": "큼", "small": "작음"}, "place": WORDS["spot"]}
"""Words of a category where they stand alone, as a short answer or an option."""
HINTS = {
    "yes_no": "네 또는 아니요로만 답하세요.",
    "word": "한 단어로 답하세요.",
    "number": "숫자로만 답하세요.",
    "box": "0에서 1까지의 값으로 [x0, y0, x1, y1] 꼴로 답하세요.",
    "point": "0에서 1까지의 값으로 (x, y) 꼴로 답하세요.",
    "phrase": "짧게 답하세요.",
    "choice": "맞는 보기의 글자로만 답하세요.",
}


def inflect(word: str, mark: str) -> str:
    """A word with the fitting form of a particle.

    >>> inflect("집", "이/가")
    '집이'
    """
    return with_particle(word, mark)


def listed(things: list[tuple[str, str]]) -> str:
    """Colours and kinds as a list, each counted as its kind is.

    >>> listed([("red", "ball"), ("orange", "cat")])
    '빨간 공 한 개와 주황색 고양이 한 마리'
    """
    phrases = [
        f"{WORDS['hue'][colour]} {KINDS[kind]} {numeral(1, True)} {COUNTERS[KINDS[kind]]}" for colour, kind in things
    ]
    return f"{with_particle(phrases[0], '과/와')} {phrases[1]}" if len(phrases) == 2 else ", ".join(phrases)


_IT_SHOWS = "그림에는 {present:이/가} 있습니다"
_EXISTS = Wording(
    (
        "그림에 {kind:이/가} 있나요?",
        "여기에서 {kind:을/를} 볼 수 있나요?",
        "이 장면에 {kind:이/가} 나오나요?",
        "{kind:이/가} 보이나요?",
    ),
    yes=("네, {its_hue_kind:이/가} {its_place} 있습니다.", "네, {its_place} {its_hue_kind:이/가} 보입니다."),
    no=(f"아니요, {{kind:은/는}} 없습니다. {_IT_SHOWS}.", f"아니요. {{kind:은/는}} 보이지 않고, {_IT_SHOWS}."),
)
_COLOUR = ("{kind:은/는} 무슨 색인가요?", "{kind:은/는} 어떤 색을 띠고 있나요?", "{kind}의 색을 말해 주세요.")
_WHERE = ("{kind:은/는} 어디에 있나요?", "{kind:이/가} 그림의 어느 쪽에 있나요?", "{kind:은/는} 어느 자리에 서 있나요?")

TEMPLATES: dict[str, Wording] = {
    "existence.random": _EXISTS,
    "existence.popular": _EXISTS,
    "existence.adversarial": _EXISTS,
    "existence.described": Wording(
        ("그림에 {hue_kind:이/가} 있나요?", "{hue_kind:을/를} 볼 수 있나요?", "{hue_kind:이/가} 나오는 그림인가요?"),
        yes=("네, {hue_kind:이/가} {its_place} 있습니다.",),
        no=(f"아니요, {{hue_kind:은/는}} 없습니다. {_IT_SHOWS}.",),
    ),
    "attribute.colour": Wording(_COLOUR, says=("{kind:은/는} {answer}입니다.", "{answer:을/를} 띤 {kind}입니다."), answer="colour"),
    "attribute.size": Wording(
        ("{kind:은/는} 큰가요, 작은가요?", "{kind:은/는} 작은가요, 큰가요?", "큰 {kind}인가요, 작은 {kind}인가요?"),
        says=("{answer} {kind}입니다.",), answer="size",
    ),
    "attribute.is_colour": Wording(
        ("{kind:은/는} {colour}인가요?", "{kind}의 색이 {colour}인가요?", "{kind:이/가} {colour:이라는/라는} 말이 맞나요?"),
        yes=("네, {kind:은/는} {colour}입니다.",),
        no=("아니요, {kind:은/는} {its_colour}입니다.", "아니요, {its_hue_kind}입니다."),
    ),
    "attribute.is_size": Wording(
        ("{kind:은/는} {size_asked}?", "이것은 {size} {kind}인가요?", "{kind}의 크기가 {size} 편인가요?"),
        yes=("네, {size} {kind}입니다.",),
        no=("아니요, {its_size} {kind}입니다.",),
    ),
    "attribute.kind": Wording(
        ("{ground} 위에 있는 {colour} 물건은 무엇인가요?", "{ground} 위에서 {colour}인 것은 무엇인가요?"),
        says=("{colour}인 것은 {answer}입니다.", "{answer}입니다."), answer="kind",
    ),
    "count.all": Wording(
        ("{ground} 위에는 모두 몇 개가 있나요?", "{ground} 위에 서 있는 것을 모두 세어 보세요. 몇 개인가요?"),
        says=("모두 {answer_counted}. {present:이/가} 있습니다.", "{present:이/가} 있으니 모두 {answer_counted}."), answer="number",
    ),
    "count.colour": Wording(
        ("{ground} 위에 있는 것 가운데 {colour:은/는} 몇 개인가요?", "{ground} 위에 {colour}인 것이 몇 개 있나요?"),
        says=("{colour:은/는} {answer_counted}. 그림에는 {present:이/가} 있습니다.",), answer="number",
    ),
    "count.size": Wording(
        ("{ground} 위에 있는 것 가운데 {size} 것은 몇 개인가요?", "{ground} 위에 {size} 것이 몇 개 있나요?"),
        says=("{size} 것은 {answer_counted}.",), answer="number",
    ),
    "false_premise.colour": Wording(
        _COLOUR, says=("{kind:은/는} {answer}입니다.",), answer="colour",
        nothing=(f"그림에 {{kind:은/는}} 없습니다. {_IT_SHOWS}.", f"{{kind:은/는}} 보이지 않습니다. {_IT_SHOWS}."),
    ),
    "false_premise.place": Wording(
        _WHERE, says=("{kind:은/는} {answer} 있습니다.",), answer="place",
        nothing=(f"그림에 {{kind:은/는}} 없습니다. {_IT_SHOWS}.", f"{{kind:은/는}} 어디에도 없습니다. {_IT_SHOWS}."),
    ),
    "place.where": Wording(_WHERE, says=("{kind:은/는} {answer} 있습니다.", "{answer} 있습니다."), answer="place"),
    "place.is": Wording(
        ("{kind:은/는} {place} 있나요?", "{place} 있는 것이 {kind}인가요?", "{kind:이/가} {place} 서 있나요?"),
        yes=("네, {kind:은/는} {place} 있습니다.",),
        no=("아니요, {kind:은/는} {its_place} 있습니다.",),
    ),
    "place.what": Wording(
        ("{place} 무엇이 있나요?", "그림 {place} 보이는 것은 무엇인가요?", "{place} 서 있는 것은 무엇인가요?"),
        says=("{place} {answer:이/가} 있습니다.", "{answer}입니다."), answer="kind",
    ),
    "relation.is": Wording(
        (
            "{kind:은/는} {kind2}의 {side}에 있나요?",
            "{kind2}에서 볼 때 그림의 {side}에 {kind:이/가} 있나요?",
            "{kind:이/가} {kind2}보다 {side}에 서 있나요?",
        ),
        yes=("네, {kind:은/는} {kind2}의 {side}에 있습니다.",),
        no=("아니요, {kind:은/는} {kind2}의 {other_side}에 있습니다.",),
    ),
    "relation.next": Wording(
        ("{kind}의 {side:으로/로} 가장 가까이 있는 것은 무엇인가요?", "{kind}에서 {side:으로/로} 가면 무엇이 처음 나오나요?"),
        says=("{kind}의 {side}에는 {answer:이/가} 있습니다.", "{answer}입니다."), answer="kind",
    ),
    "relation.between": Wording(
        ("{kind:과/와} {kind2} 사이에는 무엇이 있나요?", "{kind:과/와} {kind2} 사이에 서 있는 것은 무엇인가요?"),
        says=("그 사이에는 {answer:이/가} 있습니다.", "{kind:과/와} {kind2} 사이에 {answer:이/가} 있습니다."), answer="kind",
    ),
    "comparison.further": Wording(
        ("{kind:과/와} {kind2} 중 어느 것이 더 {side}에 있나요?", "{side}에 더 가까운 것은 {kind}인가요, {kind2}인가요?"),
        says=("{answer:이/가} 더 {side}에 있습니다.",), answer="kind",
    ),
    "comparison.taller": Wording(
        ("그림에서 {kind:과/와} {kind2} 중 어느 것이 더 높나요?", "{kind:과/와} {kind2} 가운데 더 높아 보이는 것은 무엇인가요?"),
        says=("{answer:이/가} 더 높습니다.", "{answer:이/가} 더 높아 보입니다."), answer="kind",
    ),
    "comparison.is_taller": Wording(
        ("그림에서 {kind:이/가} {kind2}보다 높나요?", "{kind:이/가} {kind2}보다 더 높아 보이나요?"),
        yes=("네, {kind:이/가} {kind2}보다 높습니다.",),
        no=("아니요, {kind2:이/가} {kind}보다 높습니다.",),
    ),
    "comparison.same_colour": Wording(
        ("{kind:과/와} {kind2:은/는} 같은 색인가요?", "{kind}의 색이 {kind2}의 색과 같나요?"),
        yes=("네, 둘 다 {its_colour}입니다.",),
        no=("아니요, {kind:은/는} {its_colour}이고 {kind2:은/는} {its_colour2}입니다.",),
    ),
    "comparison.more": Wording(
        ("{ground} 위에는 {size} 것이 {size2} 것보다 많나요?", "{ground} 위를 보면 {size} 것의 수가 {size2} 것의 수보다 많나요?"),
        yes=("네, {size} 것이 더 많습니다.",),
        no=("아니요, {size2} 것이 더 많습니다.",),
    ),
    "region.box": Wording(
        ("{kind:을/를} 둘러싼 상자를 알려 주세요.", "{kind:은/는} 어느 상자 안에 있나요?", "{kind}의 위치를 상자로 나타내 주세요."),
        says=("{kind:은/는} {answer} 안에 있습니다.",), answer="box",
    ),
    "region.what": Wording(
        ("상자 {box} 안에는 무엇이 있나요?", "{box} 영역에 서 있는 것은 무엇인가요?", "{box} 안에 있는 것의 이름을 말해 주세요."),
        says=("그 상자 안에는 {answer:이/가} 있습니다.", "{answer}입니다."), answer="kind",
    ),
    "region.colour": Wording(
        ("상자 {box} 안에 있는 것은 무슨 색인가요?", "{box} 영역에 서 있는 것의 색은 무엇인가요?"),
        says=("그 상자 안에 있는 것은 {answer}입니다.",), answer="colour",
    ),
    "point.to": Wording(
        ("{kind:을/를} 가리켜 주세요.", "{kind} 위의 한 점을 알려 주세요.", "{kind:을/를} 고르려면 어디를 눌러야 하나요?"),
        says=("{kind:은/는} {answer}에 있습니다.",), answer="point",
    ),
    "point.what": Wording(
        ("점 {point}에서 가장 가까운 것은 무엇인가요?", "{point} 바로 곁에는 무엇이 있나요?"),
        says=("그 점에서 가장 가까운 것은 {answer}입니다.", "{answer}입니다."), answer="kind",
    ),
    "setting.ground": Wording(
        ("바닥은 풀밭, 모래밭, 눈밭, 물 중 무엇인가요?", "어디 위에 서 있나요? 풀밭, 모래밭, 눈밭, 물 중에서 골라 주세요."),
        says=("바닥은 {answer}입니다.", "{answer} 위입니다."), answer="ground",
    ),
    "setting.is_ground": Wording(
        ("바닥이 {ground}인가요?", "{ground} 위의 장면인가요?"),
        yes=("네, 바닥은 {ground}입니다.",),
        no=("아니요, 바닥은 {now_ground}입니다.",),
    ),
    "setting.time": Wording(
        ("그림 속은 낮, 해 질 녘, 밤 중 언제인가요?", "이 장면은 하루 중 언제인가요? 낮, 해 질 녘, 밤 중에서 골라 주세요."),
        says=("{answer}입니다.", "이 장면은 {answer}입니다."), answer="time",
    ),
    "setting.is_time": Wording(
        ("그림 속은 {time}인가요?", "{time}의 모습을 그린 장면인가요?"),
        yes=("네, {time}입니다.",),
        no=("아니요, {now_time}입니다.",),
    ),
    "setting.weather": Wording(
        ("날씨가 맑은가요, 흐린가요, 비가 오나요?", "그림 속 날씨는 맑음, 흐림, 비 중 무엇인가요?"),
        says=("{answer_is}.", "그림 속 날씨는 {answer}입니다."), answer="weather",
    ),
    "setting.is_weather": Wording(
        ("날씨가 {weather_asked}?", "그림 속 날씨는 {weather}인가요?"),
        yes=("네, {weather_is}.",),
        no=("아니요, {now_weather_is}.",),
    ),
    "two.which": Wording(
        ("{kind:이/가} 있는 그림은 첫 번째인가요, 두 번째인가요?", "두 그림 중 {kind:이/가} 나오는 것은 어느 쪽인가요?"),
        says=("{answer} 그림에 {kind:이/가} 있습니다.",), answer="which",
    ),
    "two.which_described": Wording(
        ("{hue_kind:이/가} 있는 그림은 첫 번째인가요, 두 번째인가요?", "두 그림 중 {hue_kind:이/가} 나오는 것은 어느 쪽인가요?"),
        says=("{answer} 그림에 {hue_kind:이/가} 있습니다.",), answer="which",
    ),
    "two.more": Wording(
        ("바닥 위에 더 많은 것이 있는 그림은 첫 번째인가요, 두 번째인가요?", "두 그림 중 어느 쪽 바닥에 더 많은 것이 있나요?"),
        says=("{answer} 그림에 더 많이 있습니다.",), answer="which",
    ),
    "two.both": Wording(
        ("두 그림에 모두 {kind:이/가} 있나요?", "{kind:이/가} 두 그림에 다 나오나요?"),
        yes=("네, 두 그림에 모두 {kind:이/가} 있습니다.",),
        no=("아니요, 두 그림에 모두 {kind:이/가} 있지는 않습니다.",),
    ),
    "two.same_colour": Wording(
        ("{kind:은/는} 두 그림에서 같은 색인가요?", "두 그림에 나오는 {kind}의 색이 같나요?"),
        yes=("네, 두 그림에서 모두 {its_colour}입니다.",),
        no=("아니요, 첫 번째에서는 {its_colour}이고 두 번째에서는 {then_colour}입니다.",),
    ),
    "two.same_size": Wording(
        ("{kind:은/는} 두 그림에서 크기가 같나요?", "두 그림에 나오는 {kind}의 크기가 같나요?"),
        yes=("네, 두 그림에서 모두 {its_size} {kind}입니다.",),
        no=("아니요, 첫 번째는 {its_size} {kind}이고 두 번째는 {then_size} {kind}입니다.",),
    ),
    "two.same_place": Wording(
        ("{kind:은/는} 두 그림에서 같은 자리에 있나요?", "두 그림에 나오는 {kind}의 자리가 같나요?"),
        yes=("네, 두 그림에서 모두 {its_place} 있습니다.",),
        no=("아니요, 첫 번째에서는 {its_place}, 두 번째에서는 {then_place} 있습니다.",),
    ),
    "two.same_time": Wording(
        ("두 그림은 하루 중 같은 때인가요?", "두 그림의 시간대가 같나요?"),
        yes=("네, 둘 다 {now_time}입니다.",),
        no=("아니요, 첫 번째는 {now_time}, 두 번째는 {then_time}입니다.",),
    ),
    "two.same_ground": Wording(
        ("두 그림의 바닥이 같나요?", "두 그림은 같은 바닥 위의 장면인가요?"),
        yes=("네, 둘 다 {now_ground}입니다.",),
        no=("아니요, 첫 번째는 {now_ground}, 두 번째는 {then_ground}입니다.",),
    ),
    "two.same_weather": Wording(
        ("두 그림의 날씨가 같나요?", "두 그림은 날씨가 서로 같나요?"),
        yes=("네, 둘 다 {now_weather}입니다.",),
        no=("아니요, 첫 번째는 {now_weather}, 두 번째는 {then_weather}입니다.",),
    ),
    "two.changed": Wording(
        ("두 번째 그림에서는 무엇이 다른가요?", "첫 번째 그림에서 두 번째 그림으로 가면서 바뀐 것 한 가지는 무엇인가요?"),
        says=("{answer:이/가} 다릅니다.", "바뀐 것은 {answer}입니다."), answer="changed",
    ),
    "marks.what": Wording(
        ("{mark}번으로 표시된 것은 무엇인가요?", "숫자 {mark:이/가} 붙은 것은 무엇인가요?", "{mark}번은 무엇인가요?"),
        says=("{mark}번은 {answer}입니다.", "{answer}입니다."), answer="kind",
    ),
    "marks.number": Wording(
        ("{kind:은/는} 몇 번인가요?", "{kind}에 붙은 숫자는 무엇인가요?"),
        says=("{kind:은/는} {answer}번입니다.",), answer="mark",
    ),
    "marks.colour": Wording(
        ("{mark}번은 무슨 색인가요?", "{mark}번으로 표시된 것의 색은 무엇인가요?"),
        says=("{mark}번은 {answer}입니다.",), answer="colour",
    ),
    "marks.is": Wording(
        ("{mark}번은 {kind}인가요?", "{mark}번으로 표시된 것이 {kind}인가요?"),
        yes=("네, {mark}번은 {kind}입니다.",),
        no=("아니요, {mark}번은 {marked_kind}입니다.",),
    ),
    "marks.beside": Wording(
        ("{mark}번은 {mark2}번의 {side}에 있나요?", "{mark}번이 {mark2}번보다 {side}에 서 있나요?"),
        yes=("네, {mark}번은 {mark2}번의 {side}에 있습니다.",),
        no=("아니요, {mark}번은 {mark2}번의 {other_side}에 있습니다.",),
    ),
}  # fmt: skip
