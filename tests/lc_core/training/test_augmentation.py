import pytest
import torch

from lc_core.training.augmentation import PixelShifts
from lc_core.training.data import ShuffledIndices


def moved(image, down, right):
    """The image (c, h, w) moved, what moves in being 0: pixel by pixel."""
    channels, height, width = image.shape
    out = torch.zeros_like(image)
    for c in range(channels):
        for y in range(height):
            for x in range(width):
                if 0 <= y - down < height and 0 <= x - right < width:
                    out[c, y, x] = image[c, y - down, x - right]
    return out


@pytest.mark.parametrize("shape", [(1, 4, 5), (3, 4, 5), (2, 2, 2), (1, 2, 3)])
@pytest.mark.parametrize("flat", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_batch_is_seen_moved_by_up_to_one_pixel_against_its_unmoved_mean(shape, flat, dtype):
    images = torch.rand(40, *shape, dtype=dtype)
    images[torch.rand(images.shape) < 0.3] = 0
    images[1] = 0
    mean = images.mean(dim=0)
    inputs = (images - mean).reshape(40, -1) if flat else images - mean
    shifts = PixelShifts(inputs, height=shape[1], width=shape[2])
    for batch in (torch.arange(1, 39), torch.arange(1, 5), torch.arange(1, 39).flip(0)):
        seen = shifts.index_select(0, batch)
        assert seen.shape == (len(batch), *inputs.shape[1:])
        assert seen.dtype == dtype
        ways = [(place % 9 // 3 - 1, place % 3 - 1) for place in range(len(batch))]
        expected = torch.stack([moved(images[i], *way) - mean for i, way in zip(batch, ways, strict=True)])
        torch.testing.assert_close(seen.reshape(expected.shape), expected, rtol=0, atol=1e-6)


def test_the_first_and_the_last_image_stay_where_nothing_lies_beside_them():
    """What does not move in from outside is theirs, unmoved or moved."""
    images = torch.rand(20, 1, 4, 5, dtype=torch.float64) + 0.1
    images[1] = 0
    mean = images.mean(dim=0)
    shifts = PixelShifts(images - mean, height=4, width=5)
    for alone in (0, 19):
        seen = shifts.index_select(0, torch.full((9,), alone)) + mean
        for place in range(9):
            down, right = place // 3 - 1, place % 3 - 1
            back = down * 5 + right
            expected = moved(images[alone], down, right)
            if back > 0 if alone == 0 else back < 0:
                stayed = images[alone] - mean + moved(mean, down, right)
                expected = torch.where(moved(torch.ones_like(mean), down, right) > 0, stayed, 0)
            torch.testing.assert_close(seen[place], expected)


def test_the_inputs_stay_as_they_are_and_the_same_batch_looks_the_same():
    inputs = torch.rand(50, 9)
    kept = inputs.clone()
    shifts = PixelShifts(inputs, height=3, width=3)
    batches = ShuffledIndices(50, batch_size=7, seed=0)
    for _ in range(20):
        batch = batches.draw()
        assert torch.equal(shifts.index_select(0, batch), shifts.index_select(0, batch))
    assert torch.equal(inputs, kept)


@pytest.mark.parametrize("inputs, height", [(torch.rand(4, 10), 3), (torch.rand(9, 4).T, 3), (torch.rand(4, 3), 1)])
def test_what_is_no_images_row_by_row_is_refused(inputs, height):
    with pytest.raises(ValueError, match=f"expected images of {height} x 3 pixels"):
        PixelShifts(inputs, height=height, width=3)
