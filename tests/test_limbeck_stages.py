"""Every stage in generators/ and filters/: found, declared, and raised in version when its source changed.

`python tests/test_limbeck_stages.py` writes the golden file anew.
"""

import ast
import hashlib
import inspect
import json
import warnings
from pathlib import Path

from limbeck import catalog
from limbeck.stage import Filter, Generator
from limbeck.testing import check_settings

GOLDEN = Path(__file__).parent / "golden" / "stage_versions.json"
STAGES = 23
"""How many there are. A new stage raises it, and adds its line to the golden file."""


def test_every_stage_is_found_and_declares_itself(tmp_path):
    found = catalog.available()
    assert len(found) == STAGES, f"found {', '.join(found)}; set STAGES and run: python tests/test_limbeck_stages.py"
    for name, cls in found.items():
        assert cls.name == name == Path(inspect.getfile(cls)).stem
        folder = Path(inspect.getfile(cls)).parent.name
        assert issubclass(cls, Generator if folder == "generators" else Filter)
        check_settings(cls(**needed(cls, tmp_path)))


def needed(cls, folder):
    """What a stage can't do without, by name: a file for every setting without a default."""
    out = {}
    for name, field in cls.__pydantic_fields__.items():
        if field.is_required():
            (folder / name).write_bytes(b"a file")
            out[name] = (str(folder / name),)
    return out


def test_a_changed_source_has_a_raised_version():
    golden = json.loads(GOLDEN.read_text())
    found = versions()
    assert found.keys() == golden.keys(), "a stage came or went; run: python tests/test_limbeck_stages.py"
    for name, now in found.items():
        assert now["version"] >= golden[name]["version"], f"{name}: its version went down"
        if now["source"] != golden[name]["source"] and now["version"] == golden[name]["version"]:
            warnings.warn(
                f"{name}: the source changed and `version` did not. Does the same input give other output? Then raise "
                "it. In either case run: python tests/test_limbeck_stages.py",
                stacklevel=1,
            )


def versions():
    return {
        name: {"version": cls.version, "source": digest(Path(inspect.getfile(cls)).read_text(encoding="utf-8"))}
        for name, cls in catalog.available().items()
    }


def digest(source):
    """Hash of what code does: comments, blank lines and docstrings don't enter."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if (
            isinstance(body, list)
            and body
            and isinstance(body[0], ast.Expr)
            and isinstance(body[0].value, ast.Constant)
        ):
            node.body = body[1:] or [ast.Pass()]
    return hashlib.blake2b(ast.unparse(tree).encode(), digest_size=8).hexdigest()


def test_the_digest_sees_code_and_not_words():
    one = 'def f(x):\n    """Adds one."""\n    return x + 1\n'
    assert digest(one) == digest('def f(x):\n    # now\n    """Other words."""\n\n    return x + 1\n')
    assert digest(one) != digest(one.replace("+ 1", "+ 2"))


if __name__ == "__main__":
    GOLDEN.parent.mkdir(exist_ok=True)
    GOLDEN.write_text(json.dumps(versions(), indent=2, sort_keys=True) + "\n")
