"""The page over all versions with versions that must not be compared: other test images, other validation samples."""

import pytest

from tests.support.chromium import NEEDS_CHROMIUM
from tests.support.runs_loaded import Open
from tests.support.runs_pages import Content, row

pytestmark = NEEDS_CHROMIUM
SWEEPS = "open=sweep-1,sweep-2,sweep-3"


@pytest.mark.farm
def test_the_page_tests_no_other_images(content: Content, opened: Open) -> None:
    """With another version pinned or two ticked, models with equal labels of other test images have no test."""
    base, other = row(content, "dense: small"), row(content, "strict gate")
    address = f"#q=kind:commit&base={base['id'][:10]}&tick={base['id'][:10]},{other['id'][:10]}"
    before = opened(address)
    assert "p (Holm)" in before.page.locator("#compare").inner_text()
    assert "other data" not in before.line("strict gate").locator(".verdicts").inner_text()
    other["tested"], base["tested"] = "two", "one"
    for item in content["rows"]:
        item["tested"] = item["tested"] or "one"
    after = opened(address)
    assert "other data" in after.line("strict gate").locator(".verdicts").inner_text()
    assert "no test: other test images" in after.page.locator("#compare").inner_text()
    assert "other data" not in after.line("back").locator(".verdicts").inner_text()


@pytest.mark.farm
@pytest.mark.parametrize("key", ["prepare.validation", "prepare.seed", "models.cnn.values"])
def test_other_validation_samples_are_not_ranked(content: Content, opened: Open, key: str) -> None:
    """A sweep over the validation samples or the targets has no best version, and the answer ranks none of them."""
    rates = [row(content, f"rate-{number}") for number in (1, 2, 4)]
    for number, item in enumerate(rates):
        item["params"][key] = (number + 2) / 10
        item["models"]["cnn"]["loss"] = 1e-6 * (number + 1)
        item["best"] = "cnn"
    sweep = next(item for item in content["sweeps"] if rates[0]["id"] in item["members"])
    sweep["keys"] = [key]
    rates[0]["verdict"], rates[0]["models"]["cnn"]["predictions"] = None, "not in the cache"
    loaded = opened(f"#{SWEEPS}&sort=best&show=validation")
    box = loaded.page.locator(".opened", has_text="of different validation samples or targets and cannot be compared")
    assert box.count() == 1 and "Apply it" not in box.inner_text() and "lowest" not in box.inner_text()
    assert loaded.page.locator(".opened", has_text="Apply it").count() == 2  # the other sweeps
    assert "no best: other validation samples or targets" in loaded.page.locator("#rows").inner_text()
    answer = loaded.page.locator("#answer").inner_text()
    assert "rate-" not in answer.split(".")[0] and answer.startswith("Best on mnist by validation: ")
    assert "3 versions have other validation samples or targets, and are not ranked with it." in answer
    assert "not comparable" in loaded.line("rate-1").locator(".verdicts").inner_text()
    names = loaded.names()
    assert names.index("rate-1") > next(place for place, name in enumerate(names) if name.endswith(" back"))


@pytest.mark.farm
def test_a_default_that_is_written_out_changes_nothing(content: Content, opened: Open) -> None:
    """A version whose params.yaml names the default of a key is ranked with those whose params.yaml lacks it."""
    content["constants"].pop("prepare.held_out", None)
    best = row(content, "rate-2")
    for item in content["rows"]:
        item["params"].pop("prepare.held_out", None)
    best["params"] |= {"prepare.held_out": "random", "models.cnn.task": "multiclass"}
    best["models"]["cnn"]["loss"], best["best"] = 1e-9, "cnn"
    answer = opened().page.locator("#answer").inner_text()
    assert "by validation: rate-2" in answer and "not ranked" not in answer
