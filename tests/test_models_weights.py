"""`require_safetensors` on folders as save_pretrained and the well-known repositories lay them out.

Oracle: by hand, from the rule "a pickle is refused exactly when a loader would have to open it".
"""

import json

import pytest

from limbeck.built import open_build
from limbeck.errors import BuildNotFound, ModelNotFound, UnsafeWeights
from limbeck.models import fingerprint
from limbeck.models.spec import ModelSpec
from limbeck.models.weights import require_safetensors

PIPELINE = {"_class_name": "StableDiffusionPipeline", "unet": ["diffusers", "UNet2DConditionModel"],
            "vae": ["diffusers", "AutoencoderKL"], "scheduler": ["diffusers", "DDIMScheduler"],
            "safety_checker": [None, None]}  # fmt: skip


def lay(root, *files):
    for name in files:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")
    return root


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "model.ckpt", "consolidated.00.pth"])
def test_only_a_pickle_is_refused_with_its_name_and_the_remedy(tmp_path, name):
    with pytest.raises(UnsafeWeights) as refused:
        require_safetensors(lay(tmp_path, "config.json", name))
    for part in (str(tmp_path), name, "expected *.safetensors", "safe_serialization=True"):
        assert part in str(refused.value)


@pytest.mark.parametrize(
    "files",
    [
        ("config.json", "model.safetensors"),
        ("config.json", "model.safetensors", "pytorch_model.bin", "training_args.bin"),
        ("config.json", "model-00001-of-00002.safetensors", "original/consolidated.00.pth"),
    ],
)
def test_pickles_that_no_loader_opens_do_not_matter(tmp_path, files):
    require_safetensors(lay(tmp_path, *files))


def test_a_pipeline_is_checked_component_by_component(tmp_path):
    lay(tmp_path, "v1-5-pruned.ckpt", "unet/diffusion_pytorch_model.safetensors", "scheduler/scheduler_config.json",
        "safety_checker/pytorch_model.bin", "vae/diffusion_pytorch_model.safetensors")  # fmt: skip
    (tmp_path / "model_index.json").write_text(json.dumps(PIPELINE))
    require_safetensors(tmp_path)
    (tmp_path / "vae/diffusion_pytorch_model.safetensors").rename(tmp_path / "vae/diffusion_pytorch_model.bin")
    with pytest.raises(UnsafeWeights, match=r"vae/diffusion_pytorch_model\.bin"):
        require_safetensors(tmp_path)


def test_one_file(tmp_path):
    lay(tmp_path, "a.ckpt", "a.safetensors")
    require_safetensors(tmp_path / "a.safetensors")
    with pytest.raises(UnsafeWeights, match=r"a\.ckpt"):
        require_safetensors(str(tmp_path / "a.ckpt"))


def test_a_folder_without_weights_says_so(tmp_path):
    with pytest.raises(ModelNotFound, match="found no weights"):
        require_safetensors(lay(tmp_path, "config.json", "training_args.bin"))


def test_a_hub_id_out_of_reach_is_left_to_the_loader(monkeypatch, tmp_path):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    require_safetensors("nobody/no-such-model")


def test_a_folder_is_known_by_all_that_changes_its_answers(tmp_path):
    """Oracle: which files a loader reads; in one process, since a folder may be trained into again."""
    lay(tmp_path / "m", "config.json", "model.safetensors", "chat_template.jinja", "README.md", "pictures/a.png")
    spec, known = ModelSpec(id=str(tmp_path / "m")), set()
    for name, counts in {
        "model.safetensors": True, "config.json": True, "chat_template.jinja": True, "README.md": False, "pictures/a.png": False,
    }.items():  # fmt: skip
        before = fingerprint(spec)
        (tmp_path / "m" / name).write_bytes(b"another")
        assert (fingerprint(spec) != before) == counts, name
        known.add(fingerprint(spec))
    assert len(known) == 3


def test_a_recipe_in_the_place_of_its_build_is_told_so(tmp_path):
    (tmp_path / "a.toml").write_text("[dataset]")
    with pytest.raises(BuildNotFound, match=r"a\.toml holds no build.*builds/NAME"):
        open_build(tmp_path / "a.toml")
