"""Marked lesions: boxes read and written, pixels in them, and what chance would give."""

import numpy as np
import pandas as pd
import pytest
from conftest import refused

from book import dataset_text
from lib import params
from lib.data import lesions
from lib.evidence import lesions as evidence
from lib.evidence import recorded_runs, results_tables
from lib.figures.lesions import lesions as figure
from lib.params.files import read_table, visible

RECORD = params.ROOT / "results"
LIST = "image,label,x,y,w,h\n00000001_000.png,Mass,256,512,128,64\n00000009_000.png,Mass,0,0,9,9\n"


@pytest.fixture
def images():
    names = ["00000001_000.png", "00000002_000.png"]
    return pd.DataFrame({"split": ["test", "train"], "row": [3, 0], "image": names})


def test_boxes_of_the_list_are_shares_of_the_edge_by_row(tmp_path, images):
    path = tmp_path / "boxes.csv"
    path.write_text(LIST)
    (row,) = lesions.of_list(path, images).to_dict("records")
    assert row == {"split": "test", "index": 3, "label": "Mass", "x": 0.25, "y": 0.5,
                   "width": 0.125, "height": 0.0625}  # fmt: skip
    path.write_text(LIST.replace("256", "-1"))
    with refused("line 2", "x"):
        lesions.of_list(path, images)
    for text in (LIST.replace("00000001", "00000007"), LIST.splitlines()[0] + "\n"):
        path.write_text(text)
        with refused("boxes.csv"):
            lesions.of_list(path, images)


def test_boxes_belong_to_one_file_of_images(tmp_path, images):
    (tmp_path / "boxes.csv").write_text(LIST)
    boxes, npz = lesions.of_list(tmp_path / "boxes.csv", images), tmp_path / "chestmnist_224.npz"
    lesions.write(boxes, npz, "0123456789")
    pd.testing.assert_frame_equal(lesions.read(npz, "0123456789"), boxes)
    assert not len(lesions.read(npz, "9876543210"))


def test_a_pixel_is_inside_where_its_center_is():
    mask = evidence.marked(np.array([[0.25, 0, 0.5, 0.25], [0, 0.9, 0.125, 0.1]]), 8)
    assert mask[:2, 2:6].all() and mask[7, 0] and mask.sum() == 9


def table(**columns):
    attacks = {"split": ["test"] * 3, "index": [0, 1, 2], "success": [True, True, False],
               "rows": [[0, 7], [3], [0]], "cols": [[3, 7], [3], [3]]}  # fmt: skip
    return pd.DataFrame(attacks | columns)


BOXES = pd.DataFrame({"split": "test", "index": [0, 2], "label": "Mass", "x": 0.25, "y": 0.0,
                      "width": 0.5, "height": 0.25})  # fmt: skip


def test_only_successful_attacks_on_images_with_boxes_count():
    pixels = evidence.changed(table(), BOXES, 8)
    assert pixels["inside"].tolist() == [True, False]
    assert (pixels["chance"] == 8 / 64).all()
    assert not len(evidence.changed(table(success=False), BOXES, 8))
    kept = lesions.of_attacked(BOXES, [table().head(2), table().head(1)])
    assert kept["index"].tolist() == [0]


def test_chance_is_that_of_uniform_pixels():
    pixels = pd.DataFrame({"inside": [True] * 3 + [False] * 5, "chance": [0.1, 0.4] * 4})
    found, mean, low, high = evidence.against_chance(pixels)
    drawn = (np.random.default_rng(0).random((40_000, 8)) < pixels["chance"].to_numpy()).sum(1)
    assert found == 3 and mean == pytest.approx(drawn.mean(), abs=0.02)
    assert (low, high) == tuple(np.quantile(drawn, [0.025, 0.975]))


def test_the_sentence_says_what_is_missing():
    nothing = BOXES.head(0)
    unlisted, unmarked = (dataset_text.lesions(boxes, evidence.changed(table(), nothing, 8))
                          for boxes in (nothing, BOXES))  # fmt: skip
    counted = dataset_text.lesions(BOXES, evidence.changed(table(), BOXES, 8))
    assert len({unlisted, unmarked, counted}) == 3 and "1 of 2" in counted


def test_the_record_keeps_boxes_of_attacked_images_alone():
    paths = visible(RECORD, "*/*/*/lesions.parquet")
    for path in paths:
        attacked = [read_table(file) for file in path.parent.glob("*_pixel.parquet")
                    if file.stem in params.ATTACKS.values()]  # fmt: skip
        assert len(lesions.of_attacked(read_table(path), attacked)) == len(read_table(path))
    assert paths
    found = recorded_runs.read(RECORD, datasets=["chest"])
    boxes = evidence.recorded(RECORD, found)
    size = found.sizes["chest"]
    pixels = evidence.changed(results_tables.nearest(found.attacks), boxes, size)
    drawn = figure(boxes, pixels, size)
    assert len(drawn.axes) >= len(pixels[lesions.IMAGE].drop_duplicates())
    assert str(len(pixels)) in drawn.get_label()
