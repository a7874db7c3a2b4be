"""The scenes, their expert and the pictures of them."""

from __future__ import annotations

import numpy as np
import pytest

from trainer.data import tabletop
from trainer.data.tabletop import Camera, Scene


def start(seed: int, task: str = "reach") -> Scene:
    return tabletop.new_scene(np.random.default_rng(seed), task)


@pytest.mark.parametrize("task", ["reach", "push"])
def test_the_undisturbed_expert_arrives_from_every_start(task: str) -> None:
    for seed in range(100):
        episode = tabletop.demonstrate(start(seed, task), np.random.default_rng(seed))
        assert any(scene.done() for scene in episode.scenes), seed


def test_an_episode_follows_from_its_seed_alone() -> None:
    first, second = (
        tabletop.demonstrate(start(7), np.random.default_rng(3), noise=0.2) for _ in range(2)
    )
    assert first == second


def test_noise_changes_the_path_but_not_what_the_expert_would_do_there() -> None:
    calm = tabletop.demonstrate(start(1), np.random.default_rng(0))
    knocked = tabletop.demonstrate(start(1), np.random.default_rng(0), noise=0.3)
    assert calm.executed[0] != knocked.executed[0]
    assert tabletop.expert(calm.scenes[0]) == tabletop.expert(knocked.scenes[0])


def test_a_plan_is_what_the_expert_does_when_nothing_disturbs_it() -> None:
    scene = start(5)
    episode = tabletop.demonstrate(scene, np.random.default_rng(0))
    assert tuple(tabletop.plan(scene, 4)) == episode.executed[:4]


def test_states_and_actions_stay_in_their_normalised_range() -> None:
    for seed in range(30):
        episode = tabletop.demonstrate(start(seed, "push"), np.random.default_rng(seed), 0.4)
        numbers = [*episode.executed, *(scene.state() for scene in episode.scenes)]
        assert all(-1.0 <= x <= 1.0 for row in numbers for x in row)


def test_a_block_moves_only_where_a_low_gripper_meets_it() -> None:
    scene = start(2, "push")
    block = scene.blocks[0]
    above = Scene(**{**_fields(scene), "gripper": (block.x - 0.1, block.y, 0.9)})
    low = Scene(**{**_fields(scene), "gripper": (block.x - 0.1, block.y, 0.05)})
    still = (0.0,) * 7
    assert tabletop.apply(above, still).blocks == scene.blocks
    assert tabletop.apply(low, still).blocks[0].x > block.x


def test_a_quarter_of_a_pixel_changes_the_picture() -> None:
    scene = start(4)
    block = scene.blocks[0]
    quarter = 0.25 / (0.44 * 64)
    moved = Scene(
        **{
            **_fields(scene),
            "blocks": (tabletop.Cube(block.colour, block.x + quarter, block.y),),
        }
    )
    for name in tabletop.CAMERAS:
        camera = Camera(name, 64)
        assert (camera.render(scene) != camera.render(moved)).any()


def test_an_unknown_camera_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="no camera is called 'side'"):
        Camera("side", 64)


def test_unseen_colours_and_words_do_not_occur_in_training() -> None:
    seen = set(tabletop.SEEN_COLOURS)
    assert not seen & set(tabletop.UNSEEN_COLOURS)
    words = [t for kinds in tabletop.SEEN_TEMPLATES.values() for t in kinds]
    assert not set(words) & {t for kinds in tabletop.UNSEEN_TEMPLATES.values() for t in kinds}


def _fields(scene: Scene) -> dict[str, object]:
    return {name: getattr(scene, name) for name in Scene.__dataclass_fields__}
