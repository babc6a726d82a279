"""Export of trained models to TensorFlow Serving, and verification of the exports.

`export` writes a version, `rollback` returns to an older one, `verify` replays recorded requests in
a fresh process, `load` opens a version in Python, and `serve_command` and `curl_command` print the
shell commands to serve and query it elsewhere.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "checksums": ["check_checksums"],
        "client": ["Recommendations", "SavedRecommender", "load"],
        "commands": ["curl_command", "serve_command"],
        "comparing": ["SignatureCheck"],
        "compressing": ["Budget"],
        "exporting": ["export"],
        "pipeline": ["Pipeline"],
        "verifying": ["Verification", "VerificationError", "verify"],
        "versions": ["find_version", "list_versions", "rollback"],
    },
)
