"""Export of trained models to TensorFlow Serving, and verification of the exports.

`export` writes a version, `rollback` returns to an older one, `verify` replays recorded requests in
a fresh process, `load` opens a version in Python, and `serve_command` and `curl_command` print the
shell commands to serve and query it elsewhere. `kerasrec.serving.server` is a local server for
development.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submodules=["server"],
    submod_attrs={
        "_export": ["export"],
        "artifact.versions": ["list_versions", "rollback"],
        "client": ["load"],
        "commands": ["curl_command", "serve_command"],
        "pipeline": ["Pipeline"],
        "verification._verify": ["VerificationError", "verify"],
        "verification.budget": ["QuantizationBudget"],
    },
)
