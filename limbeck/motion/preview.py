"""A clip to look at: input, magnified, flow in colours and the waveforms, as an animated WebP that browsers play."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image, ImageDraw

from limbeck.motion.clip import Clip
from limbeck.motion.pose import since_rest

_PLOT_PX = 48
_LABEL_PX = 16
_LEAST_SIDE_PX = 128
_INKS = ((205, 62, 62), (45, 106, 200), (42, 148, 85), (196, 124, 20), (128, 72, 176))


def preview(clip: Clip) -> bytes:
    """Panels side by side: what the sensor recorded, the first gain's target, forward flow; waveforms below.

    A line above says which is which, by how much is magnified, and how many pixels the brightest flow is.

    To look at, not to measure: it is compressed with losses. Small clips are enlarged without smoothing.
    """
    spec = clip.spec
    frames = clip.frames.permute(0, 2, 3, 1).cpu().numpy()
    magnified = clip.magnified_uint8()[0].permute(0, 2, 3, 1).cpu().numpy() if spec.gains else frames
    flow = clip.forward.flow.cpu().numpy()
    peak = float(np.hypot(flow[..., 0], flow[..., 1]).max()) if len(flow) else 0.0
    scale = max(1, -(-_LEAST_SIDE_PX // min(spec.width_px, spec.height_px)))
    shown = f"magnified {spec.gains[0].gain_total:.3g} times" if spec.gains else "not magnified"
    pages = []
    for t in range(spec.frames):
        moving = flow_colours(flow[min(t, len(flow) - 1)], peak) if len(flow) else np.zeros_like(frames[0])
        panels = Image.fromarray(np.concatenate([frames[t], magnified[t], moving], 1))
        panels = panels.resize((panels.width * scale, panels.height * scale), Image.Resampling.NEAREST)
        page = Image.new("RGB", (panels.width, _LABEL_PX + panels.height + _PLOT_PX), "white")
        page.paste(panels, (0, _LABEL_PX))
        _label(page, ("input", shown, f"flow, up to {peak:.2g} px" if peak else "no flow"))
        _plot(page, _LABEL_PX + panels.height, clip, t)
        pages.append(page)
    buffer = io.BytesIO()
    duration = max(20, round(1000 * spec.fps[1] / spec.fps[0]))
    pages[0].save(
        buffer, "WEBP", save_all=True, append_images=pages[1:], duration=duration, loop=0, quality=80, method=0
    )
    return buffer.getvalue()


def flow_colours(flow: np.ndarray, peak_px: float) -> np.ndarray:
    """(H, W, 2) flow as (H, W, 3) uint8: hue is the direction (red to the right, then clockwise), brightness the size.

    >>> flow_colours(np.array([[[2.0, 0.0], [0.0, 0.0]]]), 2.0).tolist()
    [[[255, 0, 0], [0, 0, 0]]]
    """
    size = np.hypot(flow[..., 0], flow[..., 1]) / peak_px if peak_px > 0 else np.zeros(flow.shape[:2])
    turn = np.mod(np.arctan2(flow[..., 1], flow[..., 0]) / (2 * np.pi), 1.0)
    hsv = np.stack([np.floor(turn * 256) % 256, np.full_like(turn, 255), np.clip(size, 0, 1) * 255], -1)
    return np.asarray(Image.fromarray(hsv.round().astype(np.uint8), "HSV").convert("RGB"))


def _label(page: Image.Image, texts: tuple[str, ...]) -> None:
    draw = ImageDraw.Draw(page)
    for number, text in enumerate(texts):
        draw.text((number * page.width // len(texts) + 3, 2), text, fill=(60, 60, 60))


def _plot(page: Image.Image, top: int, clip: Clip, frame: int) -> None:
    """Waveforms from rest, each layer's motion in its own ink, and a line at the present frame."""
    spec, draw = clip.spec, ImageDraw.Draw(page)
    middle, reach = top + _PLOT_PX / 2, _PLOT_PX / 2 - 4
    draw.line([(0, middle), (page.width, middle)], fill=(210, 210, 210))
    length = max(spec.duration_s, 1e-9)
    times = np.linspace(0, length, page.width)
    waves = [motion.waveform for layer in spec.layers for motion in layer.motions]
    waves += [layer.pulse.waveform for layer in spec.layers if layer.pulse]
    for number, wave in enumerate(waves):
        value = since_rest(wave, times)
        value = value / max(1e-9, np.abs(value).max())
        points = [(x, middle - reach * float(v)) for x, v in enumerate(value)]
        draw.line(points, fill=_INKS[number % len(_INKS)])
    now = (page.width - 1) * frame / max(1, spec.frames - 1)
    draw.line([(now, top), (now, top + _PLOT_PX)], fill=(0, 0, 0))
