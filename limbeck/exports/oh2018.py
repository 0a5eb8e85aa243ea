"""Triplets of Oh et al. 2018 for deep_motion_mag's training code: 8 bits a colour, dithered; its factor is gain_total.

    frameA, frameB, frameC      first frame; the second with changed colours; the second
    amplified                   the magnified second frame, with frameB's colours
    train_mf.txt                the factor, a line for each clip; meta/ has it as JSON with the whole specification, and
                                alpha = gain_total - 1 for ports that add alpha times the difference on top

Of clips with more than two frames the first two are taken, of several gains the first. The frames are rendered from
the specifications, without noise: that code adds its own.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from limbeck.built import recipe_folder
from limbeck.errors import RequestError
from limbeck.exports import Exported
from limbeck.published_rows import Published


def write(source: Published, out: Path, cutouts: str | None = None) -> Exported:
    """Fills `out`, clips numbered in the order of the splits.

    Args:
        source: the build.
        out: an empty folder.
        cutouts: folder of the cut-outs that the clips were made with; by default those that the build's recipe names.

    Raises:
        RequestError: a column is missing, or a picture that the clips were made with.
    """
    from limbeck.motion.clip import make_clip
    from limbeck.motion.cutouts import load_folder, load_picture
    from limbeck.motion.exports import write_oh2018
    from limbeck.motion.spec import ClipSpec

    source.need(("clip_spec", "gain_total"), "oh2018")
    folders = _recipes_cutouts(source.path) if cutouts is None else [cutouts]
    pictures: dict[str, Any] = {}
    for folder in folders:
        if cutouts is not None or Path(folder).is_dir():  # the recipe's may be gone, and is missed where it is needed
            pictures |= load_folder(Path(folder))

    def clips() -> Iterator[Any]:
        for split in source.splits:
            for row in source.rows(split, ("id", "clip_spec", "image")):
                own = dict([load_picture(row["image"])]) if row.get("image") else {}
                own = {name: pixels[:3] for name, pixels in own.items()}
                spec = ClipSpec.model_validate_json(row["clip_spec"])
                shown = {layer.texture.sha256 for layer in spec.layers if layer.texture.kind == "picture"}
                if missing := shown - own.keys() - pictures.keys():
                    raise RequestError(
                        f"picture {min(missing)[:12]} is missing", where=f"row {row['id']}",
                        expected=f"the row's own image, or a cut-out in {', '.join(folders) or 'a folder'}",
                        remedy="name the folder of the clips' cut-outs: --set cutouts=DIR",
                    )  # fmt: skip
                pair = spec.model_copy(update={"frames": min(2, spec.frames)})
                yield make_clip(pair, {**pictures, **own}, tracks=0, occlusion=False)

    return Exported(out, write_oh2018(clips(), out), f"--dataset_dir {out}")


def _recipes_cutouts(build: Path) -> list[str]:
    """Folders of cut-outs that the stages of a build name."""
    try:
        stages = tomllib.loads((build / "recipe.toml").read_text(encoding="utf-8")).get("stages", ())
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError):  # rows without their recipe
        return []
    named = (stage.get("cutouts") for stage in stages)
    return sorted({str(recipe_folder(build) / folder) for folder in named if isinstance(folder, str)})
