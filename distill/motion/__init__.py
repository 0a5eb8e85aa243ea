"""What the motion student sees, is compared with, and is judged by; nothing here trains.

pairs.py       a clip -> two frames, magnified frames, the sensor's numbers; stored or rendered
pair_files.py  pairs on disk, rendered once, mapped
painter.py     training pairs painted at every step on the device that trains
examples.py    pairs -> training examples: crops, turned, flipped, recorded anew
methods.py     other ways to magnify: linear, phase-based, the true warp
measures.py    SSIM, leakage where nothing moves, the gain that is shown in a clip
plaids.py      gratings whose motion is known by heart: gain curve, direction, frequency
shown.py       what a magnifier shows: of clips frames and gains, of gratings curves
teachers.py    the phase-based method or a larger magnifier as a teacher whose answers are cached
figures.py     pictures for the card
"""
