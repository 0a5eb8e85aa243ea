"""What exists in the storybook: the values of every attribute, and their colours.

Order matters: a value's position is its class index in `mini:reader`.
"""

from __future__ import annotations

KINDS = ("ball", "house", "tree", "car", "boat", "flower", "mushroom", "cat")
COLOURS = ("red", "orange", "yellow", "green", "blue", "purple", "pink", "brown")
SIZES = ("small", "big")
PLACES = ("left", "middle", "right")
GROUNDS = ("grass", "sand", "snow", "water")
TIMES = ("day", "sunset", "night")
WEATHERS = ("clear", "cloudy", "rainy")
STYLES = ("plain", "pastel")

RGB = {
    "red": (0.86, 0.13, 0.13),
    "orange": (0.98, 0.54, 0.08),
    "yellow": (0.99, 0.87, 0.12),
    "green": (0.10, 0.58, 0.22),
    "blue": (0.13, 0.36, 0.88),
    "purple": (0.50, 0.18, 0.70),
    "pink": (0.99, 0.55, 0.76),
    "brown": (0.48, 0.28, 0.14),
}
"""Colour of a thing's main parts, sRGB in [0, 1]."""

GROUND_RGB = {
    "grass": ((0.56, 0.78, 0.36), (0.42, 0.66, 0.28)),
    "sand": ((0.95, 0.87, 0.66), (0.88, 0.77, 0.53)),
    "snow": ((0.97, 0.98, 1.00), (0.84, 0.90, 0.97)),
    "water": ((0.45, 0.74, 0.84), (0.24, 0.55, 0.72)),
}
"""Ground colour at the horizon and at the bottom edge."""

SKY_RGB = {
    "day": ((0.45, 0.72, 0.96), (0.82, 0.93, 1.00)),
    "sunset": ((0.55, 0.36, 0.62), (1.00, 0.66, 0.42)),
    "night": ((0.06, 0.08, 0.24), (0.20, 0.24, 0.46)),
}
"""Sky colour at the top edge and at the horizon."""
