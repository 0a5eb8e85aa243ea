"""Motion too small to see, rendered with the exact truth.

A clip is a `ClipSpec`: plain numbers, stored as JSON, from which every picture and every label
regenerates. The way of a clip:

    spec.py       what is in the scene, how it moves, how it is recorded and magnified
    waveforms.py  when: unit waveforms over time          motions.py   where: displacement fields (fields.py)
    curriculum.py what may be drawn: subsets, ranges      sampling.py  draws a spec (waveform_draws, layer_draws)
    boxes.py      safe bounds of where things are         gain.py      gains within their bound
    pose.py       spec -> forward and backward maps       textures.py  spec -> oversampled layers
    render.py     layers + maps -> frames (paint.py)      sensor.py    frames -> what a camera records
    cutouts.py    pictures as layers                      spline.py    the one interpolation kernel
    truth.py      flow, occlusion, ids, tracks            clip.py      all of it for one spec
    storage.py    arrays -> lossless, self-describing bytes
    batch.py      many clips at once: all poses in one table (tables.py), one GPU kernel (fused.py)
    training.py   training batches from a bank, recorded where they are painted
    row.py        a clip as a row of MotionClip           preview.py   the clip to look at
    stream.py     a torch IterableDataset that renders    exports.py   oh2018, flo, tap
    checks.py     a stored clip against its specification
    eulerian.py, phase_based.py                           the two baselines

Convention: (stated here once, used everywhere in this package)
    Positions are `(x, y)`, x to the right and y down, in output pixels. The centre of the top-left
    pixel is `(0, 0)`; the frame covers `[-0.5, width - 0.5] x [-0.5, height - 0.5]`.
    Arrays of pixels are indexed `[..., y, x]`; a flow is `(..., H, W, 2)` with `[..., 0]` along x.
    The scene at time 0 (frame 0) is the rest pose: every waveform counts from its value there.
    Forward flow of frame t at pixel x: the material point seen at x in frame t is seen at
    `x + flow` in frame t + 1. Backward flow leads from frame t + 1 to frame t.
    `gain_total = g`: a displacement d from rest in the input is g * d in the magnified frame
    (so g = 1 + alpha where a paper adds alpha times the motion on top). For rotation and scaling
    `rule = "parameters"` scales the angle and the logarithm of the scale, `rule = "displacement"`
    scales the displacement vectors themselves.
    Layers are ordered from far (0, the background) to near. A layer covers a pixel when its
    alpha there is at least one half.
    Colours are display values in [0, 1], RGB. Pictures are `(..., 3, H, W)` float in torch.
"""
