"""The long checks of the contract run on one case of most models; on others, nightly."""

import pytest

# Each trains, compiles or exports, for seconds.
LONG = {
    *("check_fit", "check_keras_file", "check_learns", "check_mixed_precision"),
    *("check_saved_model", "check_two_replicas", "check_weights"),
}
# Their layers and base classes are those of other models, which keep these checks.
ALIKE = {
    *("test_auto_int", "test_convolutional_interaction", "test_deep_fm", "test_field_aware_fm"),
    *("test_final_net", "test_mult_dae", "test_neu_mf", "test_user_knn", "test_wide_and_deep"),
}


def pytest_collection_modifyitems(items):
    first = {}
    for item in items:
        case = getattr(item, "callspec", None) and item.callspec.params.get("case")
        if (
            item.originalname != "test_contract"
            or case is None
            or item.get_closest_marker("nightly")
        ):
            continue
        chosen = first.setdefault(item.path, case)
        shared = case is not chosen or item.path.stem in ALIKE
        if shared and item.callspec.params["check"].__name__ in LONG:
            item.add_marker(pytest.mark.nightly)
