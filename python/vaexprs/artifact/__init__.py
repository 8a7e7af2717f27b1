"""The artifact: an untrusted .onnx file, read and checked before anything in it runs."""

from vaexprs.artifact.load import Artifact, attach_quality, load_artifact

__all__ = ["Artifact", "attach_quality", "load_artifact"]
