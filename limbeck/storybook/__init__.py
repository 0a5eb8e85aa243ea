"""The storybook: a simulated picture-book world whose truth is known exactly.

`world` names what exists, `scene` holds the scene graph and draws random ones, `grammar` turns a scene into a
caption and back, `edits` changes the graph and words the change, `shapes` and `render` draw it with boxes, masks
and depth, `truth` says from read attributes whether an edit happened, `source` yields rows for a recipe.
Nothing here learns, and nothing here imports torch.
"""

from limbeck.storybook.edits import Edit, parse_instruction, sample_edit
from limbeck.storybook.grammar import caption, parse_caption
from limbeck.storybook.render import Picture, render
from limbeck.storybook.scene import Scene, Thing, sample_scene, split_of

__all__ = [
    "Edit",
    "Picture",
    "Scene",
    "Thing",
    "caption",
    "parse_caption",
    "parse_instruction",
    "render",
    "sample_edit",
    "sample_scene",
    "split_of",
]
