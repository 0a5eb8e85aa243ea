"""COCO-style annotations over a folder of pictures: captions, boxes, categories, masks.

    source.coco = { images = "val2017/", captions = "captions_val2017.json", instances = "instances_val2017.json" }

A picture's captions become one caption of several lines. Boxes come out as (x0, y0, x1, y1), shares of width and height
from the top left, cut at the picture's edge; crowds are left out. What can't be meant (no area, outside the picture, a
category or picture that isn't listed, a mask that is no mask) is left out and counted in one warning. `mask_image`
numbers the boxes' masks from 1, in the boxes' order, later ones over earlier ones; 0 is nothing.
"""

from __future__ import annotations

import io
import logging
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
import pyarrow as pa

from limbeck.errors import SourceError, did_you_mean
from limbeck.paths import beside
from limbeck.records import columns
from limbeck.sources.coco_masks import paint
from limbeck.sources.unusable import Unusable, checked

if TYPE_CHECKING:
    from limbeck.recipe import SourceTable

_KEYS = ("images", "captions", "instances", "min_box")
_MOST = 255
"""Things that a `mask_image` can number."""
_log = logging.getLogger("limbeck.sources.coco")


def fields(source: SourceTable, folder: Path) -> tuple[pa.Field, ...]:
    """Picture and caption; boxes and masks where there are instances."""
    settings = _settings(source)
    _place(settings["images"], folder, "images", is_folder=True)
    return columns("caption", "image", *(("boxes", "mask_image") if "instances" in settings else ()))


def rows(source: SourceTable, folder: Path, seed: int) -> Iterator[dict[str, Any] | Unusable]:
    """Pictures in the order of the annotations."""
    lost: Counter[tuple[str, str]] = Counter()
    try:
        yield from _rows(source, folder, lost)
    finally:  # also where a limit ends it
        for what in ("boxes", "masks"):
            if counts := [f"{count} {why}" for (of, why), count in sorted(lost.items()) if of == what]:
                _log.warning("%s left out: %s", what, ", ".join(counts))


def _rows(source: SourceTable, folder: Path, lost: Counter[tuple[str, str]]) -> Iterator[dict[str, Any] | Unusable]:
    settings = _settings(source)
    place = _place(settings["images"], folder, "images", is_folder=True).resolve()
    captions = _annotations(settings, folder, "captions")
    instances = _annotations(settings, folder, "instances")
    said = defaultdict(list)
    for note in captions.get("annotations", ()):
        if isinstance(note.get("caption"), str) and note["caption"].strip():
            said[note.get("image_id")].append(" ".join(note["caption"].split()))
    drawn = defaultdict(list)
    for note in instances.get("annotations", ()):
        drawn[note.get("image_id")].append(note)
    names = {category.get("id"): category.get("name") for category in instances.get("categories", ())}
    records = (instances if "instances" in settings else captions).get("images", ())
    if strangers := sum(len(drawn[image]) for image in drawn.keys() - {record["id"] for record in records}):
        lost["boxes", "of an unknown picture"] = strangers
    for record in records:
        where = f"image {record.get('id')}"
        inside = (place / str(record.get("file_name", ""))).resolve()
        if not record.get("file_name") or not inside.is_relative_to(place) or not inside.is_file():
            yield Unusable(where, "image_missing", str(record.get("file_name") or "no file_name"))
            continue
        caption = "\n".join(said[record.get("id")])
        if "captions" in settings and not caption:
            yield Unusable(where, "caption_missing", "no caption names this image")
            continue
        row: dict[str, Any] = {
            "caption": caption
            or ", ".join(sorted({str(names.get(n.get("category_id"), "")) for n in drawn[record["id"]]} - {""}))
        }
        row["image"] = inside.read_bytes()
        usable = checked(row, source, where)
        if isinstance(usable, dict):
            if "instances" in settings:
                usable |= _boxes(usable["image"], drawn[record["id"]], names, settings.get("min_box", 0.0), lost)
            usable["_id"] = record["id"]
        yield usable


def _boxes(
    image: bytes, notes: list[dict[str, Any]], names: dict[Any, str], least: float, lost: Counter[tuple[str, str]]
) -> dict[str, Any]:
    from PIL import Image

    width, height = Image.open(io.BytesIO(image)).size  # what was opened, not what the annotations say of it
    kept: list[dict[str, Any]] = []
    mask = Image.new("L", (width, height), 0)
    for note in notes:
        box = note.get("bbox")
        if note.get("iscrowd"):
            continue
        if not isinstance(names.get(note.get("category_id")), str):
            lost["boxes", "of an unknown category"] += 1
        elif not isinstance(box, list) or len(box) != 4 or not all(isinstance(v, int | float) for v in box):
            lost["boxes", "without four numbers"] += 1
        elif not (box[2] > 0 and box[3] > 0):
            lost["boxes", "without area"] += 1
        else:
            x0, y0, x1, y1 = box[0], box[1], box[0] + box[2], box[1] + box[3]
            cut = [min(max(v, 0), n) / n for v, n in ((x0, width), (y0, height), (x1, width), (y1, height))]
            if cut[2] - cut[0] <= 0 or cut[3] - cut[1] <= 0:
                lost["boxes", "outside the picture"] += 1
            elif (cut[2] - cut[0]) * (cut[3] - cut[1]) < least:
                lost["boxes", "too small"] += 1
            elif len(kept) == _MOST:
                lost["boxes", f"beyond {_MOST} of a picture"] += 1
            else:
                kept.append({"image": 0, "name": names[note["category_id"]], "box": [round(v, 4) for v in cut]})
                if why := paint(mask, note.get("segmentation"), len(kept)):
                    lost["masks", why] += 1
    out = io.BytesIO()
    mask.save(out, "PNG")
    return {"boxes": kept, "mask_image": out.getvalue()}


def _settings(source: SourceTable) -> dict[str, Any]:
    settings = source.coco
    for key in settings:
        if key not in _KEYS:
            raise SourceError(f"unknown key {key!r}", where="source.coco", remedy=did_you_mean(key, _KEYS))
    if "images" not in settings or not {"captions", "instances"} & settings.keys():
        raise SourceError("needs `images`, and `captions`, `instances` or both", where="source.coco")
    return settings


def _place(path: str, folder: Path, key: str, is_folder: bool = False) -> Path:
    place = beside(folder, path)
    if not (place.is_dir() if is_folder else place.is_file()):
        raise SourceError(f"there is no {'folder' if is_folder else 'file'} {place}", where=f"source.coco.{key}")
    return place


def _annotations(settings: dict[str, Any], folder: Path, key: str) -> dict[str, Any]:
    if key not in settings:
        return {}
    path = _place(settings[key], folder, key)
    try:
        found = orjson.loads(path.read_bytes())
    except orjson.JSONDecodeError as error:
        raise SourceError(f"{path} is no JSON: {error}", where=f"source.coco.{key}") from None
    lists = ("images", "annotations", *(("categories",) if key == "instances" else ()))
    missing = [name for name in lists if not isinstance(found, dict) or not isinstance(found.get(name), list)]
    if missing:
        raise SourceError(
            f"{path} has no list {missing[0]!r}", expected="COCO's annotations", where=f"source.coco.{key}"
        )
    ids = {"images": ("id",), "categories": ("id",), "annotations": ("image_id",)}
    if key == "instances":
        ids["annotations"] = ("image_id", "category_id")
    for name in lists:
        for at, entry in enumerate(found[name]):
            if not isinstance(entry, dict):
                wrong = "is no object"
            elif lacking := [one for one in ids[name] if not isinstance(entry.get(one), int | str)]:
                wrong = f"has no {lacking[0]!r}"
            else:
                continue
            raise SourceError(
                f"{path}: {name}[{at}] {wrong}", expected="COCO's annotations", where=f"source.coco.{key}"
            )
    return found
