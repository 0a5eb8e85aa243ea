"""Sources: what can't be used is a counted drop, what can't be read at all is one clear error. Oracle: by hand."""

import io
import json
from collections import Counter

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from limbeck import sources
from limbeck.errors import SourceError
from limbeck.ledger import source_schema
from limbeck.recipe import SourceTable
from limbeck.sources import REASONS
from limbeck.sources.unusable import plain_picture
from limbeck.stage import Drop


def picture(mode="RGB", size=(8, 6), form="PNG", **options):
    out = io.BytesIO()
    Image.new(mode, size, 90 if len(mode) == 1 else tuple(range(90, 90 + len(mode)))).save(out, form, **options)
    return out.getvalue()


def read(folder, **table):
    source = SourceTable(**table)
    names = {field.name for field in sources.fields(source, folder)}
    found = list(sources.rows(source, folder, 7))
    rows = [row for row in found if not isinstance(row, Drop)]
    assert all(row.keys() - {"id"} <= names for row in rows)
    return rows, Counter(row.reason for row in found if isinstance(row, Drop))


STRANGE = [
    "a red house",
    "",
    "   ",
    "x" * 10_000,
    "빨간 집 한 채",
    "<script>alert('hi')</script>",
    "a red house",
    None,
    7,
]


@pytest.mark.parametrize("suffix", ["jsonl", "csv", "parquet"])
def test_captions_of_every_kind(tmp_path, suffix):
    path, texts = tmp_path / f"c.{suffix}", STRANGE if suffix == "jsonl" else STRANGE[:7]
    if suffix == "jsonl":
        path.write_text("".join(json.dumps({"text": t, "more": 1}) + "\n" for t in texts) + "{broken\n[1]\n")
    elif suffix == "csv":
        path.write_text("text,more\n" + "".join(f'"{t}",1\n' for t in texts), encoding="utf-8-sig")
    else:
        pq.write_table(pa.table({"text": texts}), path)
    rows, dropped = read(tmp_path, captions=path.name)
    assert [row["caption"] for row in rows] == ["a red house", "빨간 집 한 채", "<script>alert('hi')</script>"]
    expected = {"caption_empty": 2, "caption_too_long": 1, "duplicate": 1}
    assert dropped == expected | ({"caption_missing": 2, "row_unreadable": 2} if suffix == "jsonl" else {})


def test_a_row_inserted_at_the_top_changes_no_other_id(tmp_path):
    (tmp_path / "c.txt").write_text("one\ntwo\n")
    before = {row["caption"]: row["id"] for row in read(tmp_path, captions="c.txt")[0]}
    (tmp_path / "c.txt").write_text("zero\none\ntwo\n")
    after = {row["caption"]: row["id"] for row in read(tmp_path, captions="c.txt")[0]}
    assert before.items() <= after.items()


def test_ids_of_a_named_column(tmp_path):
    rows = [
        {"caption": "a", "key": "x/1"},
        {"caption": "b", "key": "x/1"},
        {"caption": "c"},
        {"caption": "d", "key": 4},
    ]
    (tmp_path / "c.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    found, dropped = read(tmp_path, captions="c.jsonl", id_column="key")
    assert {row["id"]: row["caption"] for row in found} == {"x_1": "a", "4": "d"}
    assert dropped == {"duplicate": 1, "id_missing": 1}


def test_names_that_are_written_alike_are_told_from_the_same_name_twice(tmp_path):
    """Oracle: the words of the drops; what an id can't hold isn't called a repetition."""
    keys = ["x/1", "x_1", "x/1", "y_1", "y_1", "y~1"]
    (tmp_path / "c.jsonl").write_text(
        "".join(json.dumps({"caption": f"{n}", "key": k}) + "\n" for n, k in enumerate(keys))
    )
    source = SourceTable(captions="c.jsonl", id_column="key")
    dropped = [found for found in sources.rows(source, tmp_path, 7) if isinstance(found, Drop)]
    alike, same = (
        "is written as the {} of an earlier row is: ids hold neither / nor ~",
        "the same key as an earlier row",
    )
    assert [(drop.reason, drop.detail) for drop in dropped] == [
        ("duplicate", f"'x_1' {alike.format(repr('x/1'))}"),
        ("duplicate", same),
        ("duplicate", same),
        ("duplicate", f"'y~1' {alike.format(repr('y_1'))}"),
    ]


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ({"captions": "nope.txt"}, "there is no file"),
        ({"captions": "c.jsonl"}, "expected one of caption, text, prompt"),
        ({"captions": "c.jsonl", "columns": {"caption": "wrods"}}, "id you mean 'words'"),
        ({"captions": "c.jsonl", "columns": {"captoin": "words"}}, "id you mean 'caption'"),
        ({"captions": "c.xyz"}, "expected one of .jsonl"),
        ({"captions": "bad.parquet"}, "is not Parquet"),
        ({"captions": "empty.jsonl"}, "the file is empty"),
        ({"captions": "none.jsonl"}, r"none\.jsonl:1: not JSON: .*; expected rows with one of caption"),
        ({"images": "nowhere"}, "there is no folder"),
        ({"pairs": "p.parquet"}, "expected one for original_image and edited_image"),
    ],
)
def test_one_clear_error(tmp_path, table, says):
    (tmp_path / "c.jsonl").write_text('{"words": "a"}\n')
    (tmp_path / "c.xyz").write_text("a")
    (tmp_path / "empty.jsonl").write_text("")
    (tmp_path / "none.jsonl").write_text("a red house\n")
    (tmp_path / "bad.parquet").write_text("a")
    pq.write_table(pa.table({"a": [1]}), tmp_path / "p.parquet")
    with pytest.raises(SourceError, match=says):
        read(tmp_path, **table)


def test_pictures_of_every_kind(tmp_path):
    place = tmp_path / "photos"
    place.mkdir()
    frames = [Image.new("RGB", (8, 6), c) for c in ("red", "blue")]
    animated = io.BytesIO()
    frames[0].save(animated, "GIF", save_all=True, append_images=frames[1:])
    files = {
        "good.png": picture(), "grey.png": picture("L"), "cmyk.jpg": picture("CMYK", form="JPEG"),
        "clear.png": picture("RGBA"), "empty.png": b"", "text.png": b"not a picture",
        "cut.png": picture(size=(64, 64))[:-40],
        "moving.gif": animated.getvalue(), "huge.png": picture("L", (3000, 3000)), "silent.png": picture(size=(9, 9)),
    }  # fmt: skip
    for name, data in files.items():
        (place / name).write_bytes(data)
        if name != "silent.png":
            (place / name).with_suffix(".txt").write_text(f"a caption of {name}")
    rows, dropped = read(tmp_path, images="photos", max_pixels=1_000_000)
    kept = {row["caption"].removeprefix("a caption of "): row["image"] for row in rows}
    assert set(kept) == {"good.png", "grey.png", "cmyk.jpg", "clear.png"}
    assert kept["good.png"] == files["good.png"]
    for name in ("cmyk.jpg", "clear.png"):
        assert Image.open(io.BytesIO(kept[name])).mode == "RGB"
    assert dropped == {
        "image_empty": 1, "image_unreadable": 2, "image_animated": 1, "image_too_large": 1, "caption_missing": 1,
    }  # fmt: skip


def test_a_decompression_bomb_is_never_decoded(monkeypatch):
    bomb = picture("1", (20_000, 20_000))
    monkeypatch.setattr(Image.Image, "load", lambda self: pytest.fail("it was decoded"))
    assert plain_picture(bomb, 64_000_000)[0] == "image_too_large"


@pytest.mark.parametrize("orientation", range(9))
@pytest.mark.parametrize("size", [(24, 16), (16, 16)])
def test_a_turned_or_mirrored_photo_is_put_upright(orientation, size):
    """Oracle: which corner of the EXIF standard's drawing of each orientation the first pixel's corner comes to lie in."""
    photo = np.zeros((size[1], size[0], 3), np.uint8)
    photo[: size[1] // 2, : size[0] // 2] = 255
    exif, out = Image.Exif(), io.BytesIO()
    exif[274] = orientation
    Image.fromarray(photo).save(out, "JPEG", exif=exif, quality=95)
    found = plain_picture(out.getvalue(), 10**6)
    upright = np.asarray(Image.open(io.BytesIO(found)).convert("L"))
    assert upright.shape == (size if orientation > 4 else size[::-1])
    corners = upright[[1, 1, -2, -2], [1, -2, 1, -2]] > 128  # above left, above right, below left, below right
    assert corners.tolist().index(True) == {2: 1, 3: 3, 4: 2, 6: 1, 7: 3, 8: 2}.get(orientation, 0)
    assert corners.sum() == 1
    assert (found == out.getvalue()) == (orientation in (0, 1))


def test_of_a_phones_two_pictures_the_photo_is_taken():
    out = io.BytesIO()
    photo, depth = Image.new("RGB", (8, 6), "red"), Image.new("RGB", (8, 6), "black")
    photo.save(out, "MPO", save_all=True, append_images=[depth])
    found = Image.open(io.BytesIO(plain_picture(out.getvalue(), 10**6)))
    assert (found.format, found.size) == ("PNG", (8, 6))
    assert found.getpixel((4, 3))[0] > 200


def test_ten_thousand_equal_rows_are_counted_in_no_time(tmp_path, monkeypatch):
    """Oracle: ids worked by hand; hashing each once is what there is to do."""
    (tmp_path / "c.txt").write_text("a red house\n" * 10_000)
    found, dropped = read(tmp_path, captions="c.txt")
    assert len(found) == 1
    assert dropped == {"duplicate": 9_999}


def test_spoilt_pictures_are_never_a_crash_and_their_words_repeat():
    """Every kind of file with one byte changed or its end cut off: a picture comes back, or a reason, the same twice."""
    rng = np.random.default_rng(3)
    exif = Image.Exif()
    exif[274] = 6
    for data in (
        picture(),
        picture(form="JPEG", exif=exif),
        picture("P", form="GIF"),
        picture(form="WEBP"),
        picture(form="TIFF"),
    ):
        for _ in range(150):
            spoilt = bytearray(data)
            spoilt[rng.integers(len(data))] = rng.integers(256)
            cut = bytes(spoilt[: len(data) if rng.random() < 0.7 else rng.integers(len(data))])
            found = plain_picture(cut, 10**6)
            assert isinstance(found, bytes) or found[0] in REASONS
            assert found == plain_picture(cut, 10**6)
            assert isinstance(found, bytes) or "0x" not in found[1]


def test_sixteen_bits_a_pixel_keep_their_shades():
    shades = Image.fromarray((np.arange(4, dtype=np.uint16) * 20_000).reshape(2, 2))
    plain = Image.open(io.BytesIO(plain_picture(_stored(shades), 10**6))).convert("L")
    assert np.asarray(plain).ravel() == pytest.approx([0, 20_000 / 257, 40_000 / 257, 60_000 / 257], abs=1)


def _stored(image):
    out = io.BytesIO()
    image.save(out, "PNG")
    return out.getvalue()


def test_metadata_of_a_folder(tmp_path):
    place = tmp_path / "photos"
    place.mkdir()
    (place / "a.png").write_bytes(picture())
    lines = [
        {"file_name": "a.png", "text": "a thing"},
        {"file_name": "b.png", "text": "gone"},
        {"file_name": "../x", "text": "out"},
    ]
    (place / "metadata.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    rows, dropped = read(tmp_path, images="photos")
    assert [(row["caption"], row["image"]) for row in rows] == [("a thing", picture())]
    assert dropped == {"image_missing": 2}


@pytest.mark.parametrize(
    ("preset", "columns"),
    [
        ("instructpix2pix", ["original_prompt", "original_image", "edit_prompt", "edited_prompt", "edited_image"]),
        ("magicbrush", ["img_id", "turn_index", "source_img", "mask_img", "instruction", "target_img"]),
        (
            "ultraedit",
            ["source_caption", "source_image", "edit_prompt", "target_caption", "edited_image", "clip_sim_dir"],
        ),
        ("omniedit", ["omni_edit_id", "task", "src_img", "edited_img", "edited_prompt_list", "sc_score_1"]),
    ],
)
@pytest.mark.parametrize("named", [True, False])
def test_pairs_by_preset_or_found_out(tmp_path, preset, columns, named):
    def value(name):
        if name.endswith(("image", "img")):
            return {"bytes": picture(size=(8, 6 + columns.index(name))), "path": None}
        return {
            "turn_index": 2,
            "clip_sim_dir": 0.25,
            "sc_score_1": 9,
            "edited_prompt_list": ["make it so", "please"],
        }.get(name, name)

    pq.write_table(pa.Table.from_pylist([{name: value(name) for name in columns}]), tmp_path / "pairs.parquet")
    rows, dropped = read(tmp_path, pairs="pairs.parquet", **({"preset": preset} if named else {}))
    assert not dropped
    (row,) = rows
    assert row["original_image"] != row["edited_image"]
    assert row["edit_prompt"] in ("edit_prompt", "instruction", "make it so")


def test_pairs_of_one_session_prompt_or_picture_are_one_group(tmp_path):
    """By hand: which of four pairs belong together, in each layout."""
    before, after = [picture(size=(8, n)) for n in (5, 5, 6, 7)], picture(size=(8, 9))

    def groups(image, edited, **more):
        columns = {image: before, edited: [after] * 4, **more}
        rows = [{name: values[n] for name, values in columns.items()} for n in range(4)]
        for n, row in enumerate(rows):
            row |= {"instruction" if image == "source_img" else "edit_prompt": f"edit {n}"}
        pq.write_table(pa.Table.from_pylist(rows), tmp_path / "pairs.parquet")
        rows, _ = read(tmp_path, pairs="pairs.parquet")
        found = [row["group"] for row in rows]
        return [found.index(group) for group in found]

    prompts = ["a cat", "a dog", "A  cat", None]
    assert groups("original_image", "edited_image", original_prompt=prompts) == [0, 1, 0, 3]
    assert groups("source_img", "target_img", img_id=["7", "8", "8", "7"], turn_index=[1] * 4) == [0, 1, 1, 0]
    assert groups("src_img", "edited_img", o_score=[9.0] * 4) == [0, 0, 2, 3]
    named = {"original_prompt": ["a cat"] * 4, "group": ["x", "y", "x", None]}
    assert groups("original_image", "edited_image", **named) == [0, 1, 0, 3]


def test_rows_without_any_are_an_error(tmp_path):
    (tmp_path / "c.txt").write_text("")
    with pytest.raises(SourceError, match="no rows"):
        list(sources.rows(SourceTable(captions="c.txt"), tmp_path, 7))


def test_a_dataset_on_disk_loads_through_datasets(tmp_path):
    place = tmp_path / "set"
    place.mkdir()
    (place / "train.jsonl").write_text('{"text": "a red house"}\n{"text": ""}\n')
    rows, dropped = read(tmp_path, dataset="set")
    assert [row["caption"] for row in rows] == ["a red house"]
    assert dropped == {"caption_empty": 1}


def details(folder, **table):
    source = SourceTable(**table)
    return {row.detail for row in sources.rows(source, folder, 7) if isinstance(row, Drop)}


def test_what_cant_be_used_says_where_it_lies(tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cut.png").write_bytes(b"")
    (tmp_path / "photos" / "cut.txt").write_text("a house")
    (tmp_path / "c.jsonl").write_text('{"caption": "a"}\n{"caption": 7}\n')
    pair = {"original_image": {"bytes": picture(), "path": None}, "edited_image": "b.png", "edit_prompt": "x"}
    pq.write_table(pa.Table.from_pylist([pair]), tmp_path / "p.parquet")
    assert details(tmp_path, images="photos") == {"cut.png: 0 bytes"}
    assert details(tmp_path, captions="c.jsonl") == {"c.jsonl:2: found int"}
    said = "p.parquet row 1: edited_image: found str, expected an encoded picture"
    assert details(tmp_path, pairs="p.parquet") == {said}


def test_values_of_another_type_are_counted_where_they_cant_be_meant(tmp_path):
    """JSON has types that Arrow can't mix, CSV has none."""
    wrong = [{"source": ["x"]}, {"seed": 10**30}, {"seed": "many"}, {"split": "../../elsewhere"}]
    right = [{"group": 7}, {"seed": "7"}, {"seed": 3, "split": "test"}]
    rows = [{"caption": f"number {i}", **values} for i, values in enumerate([*wrong, *right])]
    (tmp_path / "c.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    found, dropped = read(tmp_path, captions="c.jsonl")
    assert dropped == {"row_unreadable": 4}
    assert [(row["group"], row["seed"], row["split"]) for row in found] == [
        ("7", None, None), (None, 7, None), (None, 3, "test"),
    ]  # fmt: skip
    schema = source_schema(sources.fields(SourceTable(captions="c.jsonl"), tmp_path))
    assert pa.Table.from_pylist(found, schema=schema).num_rows == 3
    (tmp_path / "c.csv").write_text("caption,seed\none,5\ntwo,\nthree,many\n")
    found, dropped = read(tmp_path, captions="c.csv")
    assert ([row["seed"] for row in found], dropped) == ([5, None], {"row_unreadable": 1})


@pytest.mark.parametrize(
    ("name", "text", "kept"),
    [
        ("c.jsonl", '{"caption": "a"}\n' + "[" * 100_000 + '\n{"caption": "b", "n": ' + "1" * 5000 + "}\n", 1),
        ("c.csv", "caption\na\n" + "x" * (2**24 + 9) + "\nb\n", 2),
    ],
)
def test_records_without_end_are_counted_and_the_next_is_read(tmp_path, name, text, kept):
    (tmp_path / name).write_text(text)
    found, dropped = read(tmp_path, captions=name)
    assert (len(found), dropped) == (kept, {"row_unreadable": 2 if name == "c.jsonl" else 1})


def test_a_text_file_holds_no_pictures(tmp_path):
    (tmp_path / "c.jsonl").write_text('{"caption": "a", "image": "a.png"}\n')
    found, _ = read(tmp_path, captions="c.jsonl")
    assert [row.keys() for row in found] == [{"id", "caption"}]
