"""Phase-based motion magnification, the second baseline: amplify local phase in a steerable pyramid.

The pyramid is undecimated and computed in the Fourier domain: smooth octave bands with half-octave
overlap times angular windows; each complex sub-band's phase change from the first frame is multiplied.

Source: Wadhwa et al., "Phase-based video motion processing", 2013, section 3; filters as in
Portilla and Simoncelli, "A parametric texture model", 2000. Differs: no decimation, so it costs more
and aliases less.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor


def steerable_filters(height: int, width: int, octaves: int, orientations: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """Transfer functions whose squares sum to one over conjugate halves.

    Returns:
        bands: (octaves * orientations, H, W), one-sided (analytic).
        residual: (H, W): squared gain of what no band holds (lowest and corner frequencies).
    """
    fy = torch.fft.fftfreq(height, dtype=like.dtype, device=like.device)[:, None]
    fx = torch.fft.fftfreq(width, dtype=like.dtype, device=like.device)[None, :]
    radius, angle = torch.hypot(fx, fy), torch.atan2(fy, fx)
    octave = torch.log2(radius.clamp_min(1e-9) / 0.5)
    bands = []
    order = orientations - 1
    norm = 2**order * math.factorial(order) / math.sqrt(orientations * math.factorial(2 * order))
    for level in range(octaves):
        distance = (octave + level + 0.5).clamp(-1, 1)
        if level == 0:
            distance = distance.clamp_max(0)  # the finest band keeps the corners of the spectrum
        ring = torch.cos(math.pi / 2 * distance)
        for k in range(orientations):
            turn = torch.remainder(angle - math.pi * k / orientations + math.pi, 2 * math.pi) - math.pi
            wedge = torch.where(turn.abs() < math.pi / 2, norm * torch.cos(turn) ** order, 0.0)
            bands.append(ring * wedge)
    bands = torch.stack(bands)
    mirrored = bands.flip(-1, -2).roll((1, 1), (-1, -2))
    return bands, (1 - (bands**2 + mirrored**2).sum(0)).clamp_min(0)


def magnify_phase(frames: Tensor, gain_total: float, octaves: int = 4, orientations: int = 8) -> Tensor:
    """Multiply every sub-band's phase change from the first frame by `gain_total`.

    Args:
        frames: (T, 3, H, W) float; gain 1 returns them to rounding error.

    Returns:
        (T, 3, H, W), not clipped.
    """
    bands, residual = steerable_filters(*frames.shape[-2:], octaves, orientations, frames)
    spectra = torch.fft.fft2(frames)
    out = residual * spectra
    for band in bands:
        response = torch.fft.ifft2(band * spectra)
        change = response * response[:1].conj()
        extra = torch.polar(torch.ones_like(frames), (gain_total - 1) * torch.angle(change))
        # The real part of the analytic signal, doubled, is the two-sided sub-band.
        out = out + 2 * band * torch.fft.fft2(response * extra)
    return torch.fft.ifft2(out).real
