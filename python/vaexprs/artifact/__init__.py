"""The artifact: an untrusted .onnx file, read and checked before anything in it runs."""

from vaexprs.artifact.load import Artifact, Source, load_artifact
from vaexprs.artifact.quality import attach_quality

__all__ = ["Artifact", "Source", "attach_quality", "load_artifact"]
