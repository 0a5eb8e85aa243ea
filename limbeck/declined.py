"""Whether a text that was asked for declines instead: says that its writer can't help, or can't see the picture.

A server that keeps a model to a schema puts a refusal inside the object, where it looks like an answer. It is known by
its opening: who speaks, that they can't, and what they can't do. What isn't seen *in* a picture is an answer ("I can't see
a cat in this picture"), and so is an apology before one ("Sorry, there is no cat").
"""

from __future__ import annotations

import re
from functools import cache

_CANT = r"(?:can(?:not|\s+not|['’]?t)|could(?:\s+not|n['’]?t))"
_NOT = r"(?:n['’]?t|\s+not)"
_PICTURE = r"(?:images?|pictures?|photos?|photographs?|attachments?)"
_GIVEN = r"(?:provided|attached|uploaded|shared|supplied|included)"
_LOOK = r"(?:see|view|describe|access|analy[sz]e|interpret|process|open|display|examine|look\s+at|perceive|caption|load|edit)"
_APOLOGY = r"""
    (?: (?:(?:i['’]?m|i\s+am|we['’]?re|we\s+are)\s+)?(?:(?:very|so|really|truly)\s+)?sorry | (?:my\s+|our\s+)?apologies
    | (?:i|we)\s+apologi[sz]e | unfortunately | regrettably )\b"""
_UNDONE = rf"""
    (?: (?:help|assist)\b(?!\s+(?:but|noticing|wondering|feeling|thinking|smiling|laughing|admiring)\b)
    | (?:comply|fulfil|cooperate|continue)\b
    | (?:do|provide|answer|process|complete|respond\s+to|support|perform|discuss|edit)\s+(?:that|this|your|such)\b
      (?![^.!?]*\b(?:from|by|based|certain|certainty|sure)\b)
    | (?:provide|give|create|write|generate|produce|offer)\s+(?:you\s+(?:with\s+)?)?(?:an?|any|the)\s+(?:[\w-]+\s+)?
      (?:description|conversation|answer|caption|response|analysis|dialogue)\b(?![^.!?]*\b(?:from|by|based)\b)
    | (?:identify|recogni[sz]e)\s+(?:(?:the|this|these|real|specific|any)\s+)*(?:people|persons?|individuals?|who|anyone|faces?)
      \b(?!['’]s)
    | (?:(?:directly|actually|currently)\s+)?{_LOOK}(?:(?:\s*,\s*|\s+)(?:or\s+|and\s+)?{_LOOK})*\s+
      (?: (?:(?:the|this|that|your|these|those|such)\s+)?(?:contents?\s+of\s+(?:the|this|that|your|these)\s+)?
          (?:{_GIVEN}\s+)?{_PICTURE}\b(?!['’]s|\s+(?:on|above|over|behind|beside|hanging|in\s+the\s+(?:frame|background))\b)
        | (?:an?|any)\s+{_PICTURE}\s+{_GIVEN} ) )"""
_SUBJECT = rf"""
    (?: (?:i|we)\s+(?:(?:really|simply|just|currently)\s+)?{_CANT}
    | (?:i|we)(?:\s+will{_NOT}|\s+won['’]?t)(?:\s+be\s+able\s+to)? | (?:i|we)\s+do{_NOT}\s+have\s+the\s+(?:ability|capability)\s+to
    | (?:i['’]?m|i\s+am|we['’]?re|we\s+are)\s+(?:currently\s+)?(?:unable|not\s+able)\s+to )"""
_STATED = rf"""
    (?: as\s+an?\s+(?:[\w-]+\s+){{0,2}}?(?:ai|artificial\s+intelligence|language\s+model)\b
    | (?:i['’]?m|i\s+am)\s+(?:(?:just|only)\s+)?an?\s+(?:[\w-]+\s+){{0,2}}?(?:ai|language\s+model)\b
    | (?:i|we)\s+(?:(?:must|have\s+to|need\s+to)\s+(?:respectfully\s+|politely\s+)?(?:decline|refuse)|(?:decline|refuse)\s+to)\b
    | (?:i['’]?m|i\s+am|we['’]?re|we\s+are)\s+not\s+(?:comfortable|allowed|permitted|authori[sz]ed)\b
    | (?:i|we)\s+do{_NOT}\s+feel\s+comfortable\b
    | (?:i|we)\s+do{_NOT}\s+(?:currently\s+)?have\s+access\s+to\s+(?:(?:the|this|your|any)\s+)?{_PICTURE}\b
    | (?:i|we)\s+(?:do|did){_NOT}\s+(?:see|have|receive|get)\s+(?:an?|any|the|your)\s+{_PICTURE}\s+{_GIVEN}\b
    | (?:there\s+(?:is|was)\s+)?no\s+{_PICTURE}\s+(?:(?:is|was|were|has\s+been|have\s+been)\s+)?{_GIVEN}\b(?!\s+(?:to|in)\b)
    | (?:the|this|your)\s+(?:{_PICTURE}|request|content)\s+{_CANT}\s+be\s+
      (?:described|displayed|loaded|viewed|processed|accessed|opened|fulfilled|completed|analy[sz]ed)\b
    | (?:that|this|the|your)\s+(?:request|content)\s+(?:violates|may\s+violate|goes\s+against|is\s+against)\b )"""
_ENGLISH = rf"""
    (?: (?:hello|hi|{_APOLOGY})[\s,.!:;–—-]*(?:but\s+)? ){{0,3}}
    (?: {_SUBJECT}\s+{_UNDONE} | {_STATED} | (?:{_CANT}|unable\s+to|not\s+able\s+to)\s+{_UNDONE} )
    | {_APOLOGY}[^.!?"“”\n]{{0,80}}?(?:[.!]\s*)?\b(?:{_APOLOGY}[\s,]*)?(?: {_SUBJECT}\s+{_UNDONE} | {_STATED} )
    | {_APOLOGY}[\s,]*(?:but\s+)?(?:that|this|it)(?:['’]?s\s+not|\s+is{_NOT})\s+(?:possible|something\s+(?:i|we)\b)
    | {_APOLOGY}[\s.!]*\Z
    """
"""Matched at the start of a text."""

_NONE = r"\s*수(?:가|는|도)?\s*없(?!는|던|이)"  # and not what goes before a noun: "말로 설명할 수 없는 분위기"
_HARD = r"\s*(?:어렵|힘들|곤란)(?!던|지만)"
_SORRY = r"(?:죄송(?:하지만|합니다만|합니다|해요)|미안(?:하지만|합니다만|합니다|해요)|안타깝게도|유감스럽게도|아쉽게도)"
_RUN = r"[^.!?。\"'“”‘’「」『』\n]"
_SHOWN = r"""
    (?:(?:저는|제가|전|현재|지금)\s+)*(?:(?:이|그|해당|제공(?:된|하신)|첨부(?:된|하신)|업로드(?:된|하신)|요청하신|보내\s*주신|올려\s*주신|주신)\s+)*
    (?:이미지|그림|사진)(?:의\s*내용)?"""
_KOREAN = rf"""
    (?: (?:안녕하세요|{_SORRY})[\s,.!]* ){{0,3}}
    (?: {_SHOWN}(?:을|를|에|은|는)?\s*(?:(?:직접|자세히|현재|정확히)\s*)*
        (?:볼|열|열어\s*볼|보여\s*드릴|확인할|분석할|접근할|인식할|처리할|불러올|해석할|설명(?:할|해\s*드릴)|묘사(?:할|해\s*드릴)){_NONE}
    | {_SHOWN}(?:이|가|은|는)?\s*(?:제공|첨부|업로드|전송)되지\s*않
    | {_RUN}{{0,40}}?(?:도와|도움을?)\s*(?:드릴{_NONE}|드리기{_HARD})
    | (?!{_RUN}*만으로){_RUN}{{0,25}}?(?:답변|답|응답|설명|묘사|안내|제공|작성)(?:을|를)?\s*(?:해\s*)?(?:드릴{_NONE}|드리기{_HARD})
    | {_RUN}{{0,15}}?(?:요청|부탁){_RUN}{{0,15}}?(?:응할|들어\s*드릴|들어줄|수행할|처리할|따를|이행할){_NONE}
    | (?:저는|전)\s+{_RUN}{{0,12}}?(?:AI|인공지능|언어\s*모델|텍스트\s*기반)
    | {_RUN}{{0,12}}?(?:AI|인공지능|언어\s*모델)\s*(?:으로서|로서|이라|이기|라서|이므로) )
    | {_SORRY}[\s.!]*\Z
    """


@cache
def _openings() -> tuple[re.Pattern[str], ...]:
    """Compiled when first asked for: that takes longer than importing what asks."""
    return tuple(re.compile(opening, re.IGNORECASE | re.VERBOSE) for opening in (_ENGLISH, _KOREAN))


def declines(text: str) -> bool:
    """Whether a description, an answer or an instruction opens by declining to be one, in English or Korean.

    >>> declines("I'm sorry, but I can't help with that."), declines("이 그림을 설명할 수 없습니다.")
    (True, True)
    >>> declines("I'm sorry, but there is no cat: a dog sleeps there."), declines("The sorry dog can't help itself.")
    (False, False)
    """
    text = text.lstrip(" \t\r\n\"'“‘*(")
    return any(opening.match(text) for opening in _openings())
