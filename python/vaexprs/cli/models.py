"""``vaexprs models``: the artifacts that come with the package."""

from __future__ import annotations

from vaexprs.cli.console import print_json, rows, say
from vaexprs.cli.options import AsJson


def models(*, as_json: AsJson = False) -> None:
    """List the shipped artifacts, which other commands take by name."""
    from vaexprs.artifact import load_artifact
    from vaexprs.artifact.shipped import shipped_artifacts

    found = {}
    for name, path in shipped_artifacts().items():
        spec = load_artifact(path).spec
        found[name] = {
            "path": str(path),
            "bytes": path.stat().st_size,
            "n_genes": spec.n_genes,
            "likelihood": spec.likelihood,
            **{f"condition {key.name}": list(key.categories) for key in spec.conditions.keys},
        }
    if as_json:
        print_json(found)
    else:
        for name, facts in found.items():
            say("\n".join([name, *rows(facts, indent="  ")]))
