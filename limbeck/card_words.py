"""Words of the dataset card: what columns hold, how it speaks of each kind of dataset, and which limits it states.

Tests assert that every name of `limbeck.records.COLUMNS` is in `ABOUT`, and every other one that a filter of this
project writes in `ABOUT_SCORES`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from limbeck.report.truth import Truth
from limbeck.summary import Summary, share

ABOUT: dict[str, str] = {
    "id": "the row's id; ids of what it was made of, joined by `/`",
    "source_id": "id of the source row it goes back to",
    "parent_id": "id of the row it was made of",
    "group": "rows of one group are never in two splits",
    "split": "split that the source names",
    "caption": "caption of the source picture",
    "image": "source picture",
    "scene": "storybook scene of the before picture, as JSON: its exact truth",
    "original_prompt": "caption of the picture before the edit",
    "original_image": "picture before the edit",
    "edit_prompt": "the instruction",
    "edited_prompt": "caption of the picture after the edit",
    "edited_image": "picture after the edit",
    "edit_type": "kind of edit",
    "mask_image": "where the edit is, white on black",
    "edit_prompts": "other wordings of the same instruction",
    "inverse_edit_prompt": "the instruction that undoes the edit",
    "session_id": "rows of one session are edits in sequence",
    "turn_index": "place in the session, from 0",
    "edited_scene": "storybook scene after the edit, as JSON: what the picture ought to show",
    "clip_sim_source": "cosine of the before picture and its caption",
    "clip_sim_target": "cosine of the after picture and its caption",
    "clip_sim_dir": "cosine of the pictures' change and the captions' change",
    "clip_sim_image": "cosine of both pictures",
    "dinov2_sim": "cosine of both pictures by DINOv2",
    "ssim": "structural similarity of both pictures",
    "sc_score_1": "judge: how well the edit follows the instruction",
    "sc_score_2": "judge: how well the rest was left alone",
    "sc_reasoning": "the judge's reasons for both",
    "pq_score": "judge: how good the after picture looks",
    "pq_reasoning": "the judge's reason for it",
    "o_score": "judge: overall",
    "messages": "the conversation: roles, each with blocks of text or picture",
    "images": "the pictures that the conversation is about",
    "clean_images": "the pictures without the marks drawn into them",
    "question_type": "what kind of question it is",
    "template": "which question of that kind",
    "language": "language of the texts",
    "answer_type": "how the answer is to be read",
    "answer_value": "a closed answer's value, as JSON",
    "program": "what computes the answer from the scene, as JSON",
    "options": "answers to choose from",
    "scenes": "storybook scene that each picture shows, as JSON: its exact truth",
    "boxes": "boxes of the things, corners as shares of width and height",
    "marks": "numbered points in the pictures",
    "pair_id": "both rows of a minimal pair have it",
    "verdicts": "of each checked turn: right, wrong or unchecked",
    "image_hashes": "hash of each picture's bytes",
    "clip_spec": "what frames and truth are rendered from, as JSON",
    "subset": "part of the curriculum",
    "width_px": "width in pixels",
    "height_px": "height in pixels",
    "frame_count": "number of frames",
    "fps": "frames a second, as a fraction",
    "gain_total": "magnification of each magnified clip",
    "peak_px": "largest displacement from rest in pixels, camera shake apart",
    "magnified_peak_px": "the same in each magnified clip",
    "aliased": "whether something vibrates above half the frame rate",
    "motions": "how each layer moves",
    "texture_hashes": "hashes of the textures",
    "preview": "the clip to look at: recorded, magnified, flow in colours, waveforms",
    "frames": "the clip as the simulated sensor recorded it",
    "magnified_frames": "the clip with its motion magnified, without noise",
    "layer_ids": "layer of every pixel, 0 is the background, higher is nearer",
    "flow_forward": "exact motion of every pixel to a later frame, in pixels",
    "flow_backward": "exact motion of every pixel back, in pixels",
    "occluded_forward": "pixels that a later frame doesn't show: 1 behind something, 2 outside, 3 both",
    "occluded_backward": "the same backwards",
    "tracks": "exact way of chosen points through the frames, in pixels",
    "tracks_visible": "whether each point is to be seen in each frame",
    "tracks_layer": "layer that each point is on",
    "seed": "64-bit seed of the render's noise",
    "shared_fraction": "share of the steps with shared self-attention",
    "guidance_scale": "classifier-free guidance scale",
    "steps": "denoising steps",
    "text_model": "model that wrote the texts, with its revision",
    "image_model": "model that rendered, with its revision",
    "score_model": "model that scored, with its revision",
    "prompt_digest": "hash of the prompt template",
    "source": "where the source row comes from",
    "license": "licence of the source row",
}


ABOUT_SCORES: dict[str, str] = {
    "asked": "hash of the pictures and questions",
    "balance_group": "template and language; empty where the answer is neither yes nor no",
    "balance_yes": "whether the answer is yes",
    "checked": "whether a closed answer was checked",
    "claims": "how many claims the answers make about the picture",
    "supported": "share of those claims that the picture bears out",
    "fault": "what is wrong; empty where nothing is",
    "detail": "the same for a person",
    "clip_relevance": "greatest cosine of a picture and the answers",
    "content": "cosine of the first frame and the caption",
    "contrast": "lesser of both pictures' standard deviations, of 255",
    "difference": "mean difference of the pictures, as a share",
    "held_out_bits": "bits of 64 in which the nearest held-out picture's hash differs",
    "held_out_colour": "mean difference of colours from that picture, as a share",
    "held_out_colours": "the same, least among held-out pictures within 0, 1, ... 16 bits",
    "leak": "words that give the text's source away; empty where none do",
    "text_truncated": "whether a caption was too long for the model",
    "text_signature": "by which nearly the same texts are found",
    "picture_signature": "by which nearly the same pictures are found",
    "true": "judge: is what is said true, 1 to 5",
    "answers": "judge: does it answer what is asked, 1 to 5",
    "seen": "judge: does it take the picture to answer, 1 to 5",
    "written": "judge: is it well written, 1 to 5",
    "judge_reason": "the judge's reason",
    "flow_error_px": "largest difference of the stored flow from the flow computed anew, in pixels",
    "frame_error": "largest difference of a magnified frame from one rendered anew, in steps of 1/255",
    "consistency_px": "largest distance from where a point started after going forward and back, in pixels",
    "zero_flow_ratio": "mismatch of two frames without the flow over that with it; empty where next to nothing moves",
}


@dataclass(frozen=True)
class RecordWords:
    """How the card speaks of a kind of dataset: a row's name, the Hub's tasks and tags, what it is for, what kinds there are."""

    noun: str
    tasks: tuple[str, ...]
    tags: tuple[str, ...]
    use: str
    row: str = ""
    kind: str = "kind of edit"


RECORD_WORDS = {
    "EditPair": RecordWords(
        "edit pair",
        ("image-to-image", "text-to-image"),
        ("image-editing", "instruct-pix2pix"),
        "models that edit pictures by instruction, and for studying how such data is filtered",
        "A row is a picture, an instruction, and the picture after the edit.",
    ),
    "EditInstruction": RecordWords(
        "edit instruction",
        ("text-generation",),
        ("image-editing",),
        "models that write editing instructions",
        "A row is a caption, an instruction, and the caption after the edit.",
    ),
    "VisualInstruction": RecordWords(
        "conversation",
        ("image-text-to-text", "visual-question-answering"),
        ("visual-instruction",),
        "models that talk about pictures",
        "A row is one or more pictures and a conversation about them.",
        "kind of question",
    ),
    "MotionClip": RecordWords(
        "clip",
        ("video-to-video",),
        ("motion-magnification", "optical-flow"),
        "models of motion: magnification, optical flow, tracking",
        "A row is a clip with the exact motion of every pixel.",
    ),
}


def words_of(record: str) -> RecordWords:
    """The words of a record; plain ones for a record that has none."""
    return RECORD_WORDS.get(record, RecordWords("row", (), (), "models"))


def synthetic(summary: Summary, *, source_pictures: bool) -> str:
    """Who made what: a sentence or two."""
    if summary.record == "MotionClip":
        return "The clips were rendered by a program; nothing in them happened."
    if summary.record == "EditPair":
        if source_pictures:
            return "The pictures after the edit were made by models; the pictures before come from the sources below."
        return "The pictures and texts were made by models; no picture shows anything that happened."
    if summary.record == "VisualInstruction":
        texts = "The texts were made by models." if summary.models else "The texts were made by programs."
        return (
            f"{texts} The pictures {'come from the sources below' if source_pictures else 'are drawings of a program'}."
        )
    return "The texts were made by models."


def limits(summary: Summary, truth: Truth | None = None) -> Iterator[str]:
    """What somebody who uses the dataset has to know, as far as it shows in the numbers; one sentence or two each."""
    pictures = summary.record == "EditPair"
    if summary.kept == 0:
        yield "**No row was kept.** The thresholds and reasons above say why."
        return
    if len(summary.by_type) > 1:
        most, least = (f(summary.by_type, key=lambda y: y.kept) for f in (max, min))
        yield (
            f"{words_of(summary.record).kind.replace('kind', 'Kinds')} are uneven: {most.name} makes up {share(most.kept, summary.kept)} of the kept rows, "
            f"{least.name} {share(least.kept, summary.kept)}."
        )
    if any(stage.kind == "filter" for stage in summary.stages):
        seen_badly = "edits that they see badly (small ones, or kinds that they score low)"
        if summary.record == "VisualInstruction":
            seen_badly = "conversations that they read badly"
        elif summary.record == "MotionClip":
            seen_badly = "clips that they measure badly"
        yield (
            f"What was kept is what the filters favour: {seen_badly} are rarer here than among the rows that were made, "
            "and the filters' mistakes are in the data."
        )
    if truth is not None:
        wrong = share(truth.after.n - truth.after.right, truth.after.n)
        yield f"About {wrong} of the kept pairs are not what their instruction says."
    elif pictures:
        yield (
            "How many edits really happened was not measured for this build; "
            "look at `report/index.html`, and at the rows."
        )
    if any("storybook" in name for name in summary.sources):
        yield (
            "The scenes are those of a simulated picture book: a small world, drawn. "
            "Nothing learnt from it alone carries over to photographs."
        )
    if summary.models:
        yield (
            "The models' own biases, of what people, places and things look like, are passed on; "
            "nothing was done against them here."
        )
    else:
        yield "No model took part in making it."
    yield (
        f"Texts are in {', '.join(summary.languages)}. "
        "No check for personal data or unsafe content was made beyond the stages above."
    )
