"""From a trained model to a directory that TensorFlow Serving serves, and the proof that it works.

`export` writes a version, `rollback` goes back to an older one, `verify` replays recorded requests
in a fresh process, `load` asks a version from Python, `serve_command` and `curl_command` print how
to serve and ask it elsewhere.
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
