"""A procedural tabletop: a gantry gripper that reaches for a block or pushes one onto a disc.

Everything follows from a seed. The physics is quasi-static and small enough for plain floats (NumPy
would cost more than it saves on three numbers); rendering is NumPy with soft edges, so that a block
which moves by a quarter of a pixel changes the picture.

World: x and y in [-1, 1] on the table, z in [0, 1] above it. An action has seven numbers in
[-1, 1]: three translations (1 means `REACH_PER_STEP`), three rotations (1 means `TURN_PER_STEP`),
and the gripper (-1 opens, +1 closes).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

ACTION_DIMS = 7
STATE_DIMS = 8
REACH_PER_STEP = 0.15
TURN_PER_STEP = 0.2
SUCCESS_RADIUS = 0.12
"""Distance, in table units, at which a reach or a push has arrived (6 % of the table's width)."""
BLOCK_HALF = 0.15
CONTACT = 0.21
LOW = 0.25
"""Height below which the gripper touches a block."""
TRAVEL_HEIGHT = 0.4
EPISODE_STEPS = {"reach": 16, "push": 30}
"""Longest demonstration, and the time a rollout has."""
STAY = 2
"""Frames that a demonstration goes on for after it is done: how to stop is part of the task, but a
table of finished scenes teaches little else."""
CAMERAS = ("top", "front")

COLOURS: dict[str, tuple[float, float, float]] = {
    "red": (0.86, 0.20, 0.18),
    "green": (0.20, 0.66, 0.29),
    "blue": (0.18, 0.38, 0.85),
    "yellow": (0.93, 0.78, 0.18),
    "purple": (0.58, 0.28, 0.72),
    "orange": (0.95, 0.52, 0.15),
}
Templates = dict[str, tuple[str, ...]]
SEEN_COLOURS = ("red", "green", "blue", "yellow")
UNSEEN_COLOURS = ("purple", "orange")

SEEN_TEMPLATES: Templates = {
    "reach": (
        "reach the {colour} block",
        "move the gripper to the {colour} block",
        "touch the {colour} block",
    ),
    "push": ("push the {colour} block onto the disc", "slide the {colour} block to the disc"),
}
UNSEEN_TEMPLATES: Templates = {
    "reach": ("bring the gripper onto the {colour} cube",),
    "push": ("shove the {colour} cube onto the disc",),
}

Vec3 = tuple[float, float, float]
Image = NDArray[np.uint8]
Action = tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Cube:
    """A coloured cube on the table."""

    colour: str
    x: float
    y: float


@dataclass(frozen=True, slots=True)
class Scene:
    """Everything there is at one moment; an action turns it into the next one."""

    task: str
    """`reach` or `push`."""
    instruction: str
    """The instruction, without the question around it."""
    blocks: tuple[Cube, ...]
    """The block that is meant comes first, distractors behind it."""
    disc: tuple[float, float] | None
    """Where a pushed block belongs; None when nothing is to be pushed."""
    gripper: Vec3
    """Position of the fingertips."""
    tilt: Vec3
    """Roll, pitch and yaw of the wrist in radians."""
    opening: float
    """1 open, 0 closed."""

    def state(self) -> tuple[float, ...]:
        """The eight numbers that the policy sees: position, wrist, and the two fingers."""
        x, y, z = self.gripper
        roll, pitch, yaw = (angle / 0.6 for angle in self.tilt)
        return (x, y, 2 * z - 1, roll, pitch, yaw, 2 * self.opening - 1, 1 - 2 * self.opening)

    def distance(self) -> float:
        """How far the task is from done, in table units."""
        block = self.blocks[0]
        if self.disc is not None:
            return math.hypot(block.x - self.disc[0], block.y - self.disc[1])
        x, y, z = self.gripper
        return math.dist((x, y, z), (block.x, block.y, BLOCK_HALF))

    def done(self) -> bool:
        """Whether the block is reached, or lies on its disc."""
        return self.distance() < SUCCESS_RADIUS


def new_scene(
    rng: np.random.Generator,
    task: str,
    *,
    colours: Sequence[str] = SEEN_COLOURS,
    templates: Templates = SEEN_TEMPLATES,
    distractors: int = 0,
    spread: float = 0.7,
) -> Scene:
    """A scene to start from; `spread` is how far from the middle a block may lie."""
    chosen = [str(c) for c in rng.permutation(list(colours))[: 1 + distractors]]
    blocks: list[Cube] = []
    while len(blocks) < len(chosen):
        x, y = (float(v) for v in rng.uniform(-spread, spread, 2))
        if all(math.hypot(x - b.x, y - b.y) > 3 * BLOCK_HALF for b in blocks):
            blocks.append(Cube(chosen[len(blocks)], x, y))
    disc = None
    while task == "push" and disc is None:
        x, y = (float(v) for v in rng.uniform(-spread, spread, 2))
        if 0.3 < math.hypot(x - blocks[0].x, y - blocks[0].y) < 0.9:
            disc = (x, y)
    x, y = (float(v) for v in rng.uniform(-0.9, 0.9, 2))
    tilt = [float(v) for v in rng.uniform(-0.5, 0.5, 3)]
    template = templates[task][int(rng.integers(len(templates[task])))]
    return Scene(
        task=task,
        instruction=template.format(colour=chosen[0]),
        blocks=tuple(blocks),
        disc=disc,
        gripper=(x, y, float(rng.uniform(0.3, 0.95))),
        tilt=(tilt[0], tilt[1], tilt[2]),
        opening=1.0 if task == "reach" else 0.0,
    )


def _clip(value: float, limit: float = 1.0) -> float:
    return max(-limit, min(limit, value))


def apply(scene: Scene, action: Sequence[float]) -> Scene:
    """The scene after one action; a closed, low gripper pushes what it meets."""
    x = _clip(scene.gripper[0] + REACH_PER_STEP * _clip(action[0]))
    y = _clip(scene.gripper[1] + REACH_PER_STEP * _clip(action[1]))
    z = max(0.0, min(1.0, scene.gripper[2] + REACH_PER_STEP * _clip(action[2])))
    roll, pitch, yaw = (
        _clip(angle + TURN_PER_STEP * _clip(turn), 0.6)
        for angle, turn in zip(scene.tilt, action[3:6], strict=True)
    )
    opening = scene.opening + _clip(-action[6] * 0.5, 0.5)
    blocks = scene.blocks
    if scene.disc is not None and z < LOW:
        blocks = tuple(_pushed(block, x, y) for block in blocks)
    return replace(
        scene,
        gripper=(x, y, z),
        tilt=(roll, pitch, yaw),
        opening=max(0.0, min(1.0, opening)),
        blocks=blocks,
    )


def _pushed(block: Cube, x: float, y: float) -> Cube:
    gap = math.hypot(block.x - x, block.y - y)
    if gap >= CONTACT or gap < 1e-9:
        return block
    scale = CONTACT / gap
    return Cube(block.colour, _clip(x + (block.x - x) * scale), _clip(y + (block.y - y) * scale))


def expert(scene: Scene) -> Action:
    """What the scripted expert does now: it needs no memory, so any state has its label.

    Translation is proportional within two steps of the waypoint and saturated beyond, which leaves
    the policy something finer to learn than a sign.
    """
    waypoint = _waypoint(scene)
    gaps = [goal - here for goal, here in zip(waypoint, scene.gripper, strict=True)]
    # One scale for all three: clipping each by itself would bend the path and a push would slip.
    scale = max(2 * REACH_PER_STEP, *(abs(gap) for gap in gaps))
    move = [gap / scale for gap in gaps]
    turn = [_clip(-angle / (2 * TURN_PER_STEP)) for angle in scene.tilt]
    closing = scene.disc is not None or scene.distance() < SUCCESS_RADIUS
    return (*move, *turn, 1.0 if closing else -1.0)


def _waypoint(scene: Scene) -> Vec3:
    block = scene.blocks[0]
    if scene.disc is None:
        return (block.x, block.y, BLOCK_HALF)
    x, y, z = scene.gripper
    away = math.hypot(scene.disc[0] - block.x, scene.disc[1] - block.y)
    if away < SUCCESS_RADIUS / 2:
        return (x, y, TRAVEL_HEIGHT)
    dx, dy = (scene.disc[0] - block.x) / away, (scene.disc[1] - block.y) / away
    along = (x - block.x) * dx + (y - block.y) * dy
    aside = abs((x - block.x) * -dy + (y - block.y) * dx)
    if z < LOW and along < -0.5 * CONTACT and aside < 0.09:
        ahead = min(away, 1.2 * REACH_PER_STEP) - CONTACT
        return (block.x + dx * ahead, block.y + dy * ahead, BLOCK_HALF)
    start = (block.x - dx * 1.3 * CONTACT, block.y - dy * 1.3 * CONTACT)
    near = math.hypot(x - start[0], y - start[1]) < 0.07
    return (start[0], start[1], BLOCK_HALF if near else TRAVEL_HEIGHT)


def plan(scene: Scene, horizon: int) -> list[Action]:
    """The expert's next actions from here, if nothing disturbed it: a sample's labels."""
    actions = []
    for _ in range(horizon):
        actions.append(expert(scene))
        scene = apply(scene, actions[-1])
    return actions


@dataclass(frozen=True, slots=True)
class Episode:
    """One demonstration: n scenes and the n - 1 actions that were really executed between them."""

    scenes: tuple[Scene, ...]
    executed: tuple[Action, ...]


def demonstrate(scene: Scene, rng: np.random.Generator, noise: float = 0.0) -> Episode:
    """The expert at work. With noise it is knocked off course, and the states it recovers from are
    those that an imperfect policy will meet."""
    scenes, executed = [scene], []
    steps = EPISODE_STEPS[scene.task]
    knocks = rng.normal(0.0, noise, (steps, ACTION_DIMS)) if noise else None
    for i in range(steps):
        action = expert(scene)
        if knocks is not None:
            pushed = [_clip(a + k) for a, k in zip(action[:6], knocks[i], strict=False)]
            action = (*pushed, action[6])
        scene = apply(scene, action)
        scenes.append(scene)
        executed.append(action)
        if len(scenes) > STAY and scenes[-1 - STAY].done():
            break
    return Episode(tuple(scenes), tuple(executed))


class Camera:
    """Draws scenes from one viewpoint at one size."""

    def __init__(self, name: str, size: int) -> None:
        """`top` looks straight down, `front` sees x and height with a little of the depth."""
        if name not in CAMERAS:
            raise ValueError(f"no camera is called {name!r}; there are {', '.join(CAMERAS)}")
        self._name = name
        self._size = size
        centre = np.arange(size, dtype=np.float32) + 0.5
        self._u = centre[None, :]
        self._v = centre[:, None]
        self._background = self._table()

    def render(self, scene: Scene) -> Image:
        """The picture, (size, size, 3) bytes."""
        canvas = self._background.copy()
        unit = 0.44 * self._size
        if scene.disc is not None:
            self._ellipse(canvas, *self._at(*scene.disc, 0.0), 0.19 * unit, (0.44, 0.42, 0.50))
        for block in sorted(scene.blocks, key=lambda b: -b.y):
            height = BLOCK_HALF if self._name == "front" else 0.0
            u, v = self._at(block.x, block.y, height)
            self._box(canvas, u, v, BLOCK_HALF * unit, BLOCK_HALF * unit, COLOURS[block.colour])
        self._gripper(canvas, scene, unit)
        return (canvas * 255.0 + 0.5).astype(np.uint8)

    def _at(self, x: float, y: float, z: float) -> tuple[float, float]:
        size = self._size
        if self._name == "top":
            return size * (0.5 + 0.44 * x), size * (0.5 - 0.44 * y)
        return size * (0.5 + 0.44 * x), size * (0.86 - 0.12 * (y + 1) / 2 - 0.62 * z)

    def _table(self) -> NDArray[np.float32]:
        # A dark table: yellow and blue stand out from it alike, which k-means on pixels rewards.
        shade = np.broadcast_to(0.20 + 0.05 * self._v / self._size, (self._size, self._size))
        table = np.stack([shade, shade * 1.12, shade * 1.25], axis=-1).astype(np.float32)
        if self._name == "front":
            wall = self._v < self._size * 0.74
            table[np.broadcast_to(wall, table.shape[:2])] = (0.30, 0.33, 0.38)
        return table

    def _gripper(self, canvas: NDArray[np.float32], scene: Scene, unit: float) -> None:
        x, y, z = scene.gripper
        u, v = self._at(x, y, z)
        steel = (0.58, 0.59, 0.62)
        spread = (0.07 + 0.09 * scene.opening) * unit
        finger = 0.05 * unit
        if self._name == "top":
            self._box(canvas, u, v, spread + finger, finger, steel)
            self._box(canvas, u - spread, v, finger, 2.4 * finger, steel)
            self._box(canvas, u + spread, v, finger, 2.4 * finger, steel)
            return
        hand = v - 0.22 * unit
        self._box(canvas, u, hand / 2, finger * 1.2, hand / 2, (0.42, 0.44, 0.48))
        self._box(canvas, u, hand, spread + finger, finger, steel)
        self._box(canvas, u - spread, v - 0.11 * unit, finger, 0.11 * unit, steel)
        self._box(canvas, u + spread, v - 0.11 * unit, finger, 0.11 * unit, steel)

    def _box(
        self,
        canvas: NDArray[np.float32],
        u: float,
        v: float,
        half_width: float,
        half_height: float,
        colour: Vec3,
    ) -> None:
        across = np.clip(half_width + 0.5 - np.abs(self._u - u), 0.0, 1.0)
        down = np.clip(half_height + 0.5 - np.abs(self._v - v), 0.0, 1.0)
        columns, rows = np.flatnonzero(across[0]), np.flatnonzero(down[:, 0])
        if not len(columns) or not len(rows):
            return
        left, right, top, bottom = columns[0], columns[-1] + 1, rows[0], rows[-1] + 1
        alpha = (down[top:bottom] * across[:, left:right])[..., None]
        part = canvas[top:bottom, left:right]
        part += alpha * (np.asarray(colour, np.float32) - part)

    def _ellipse(
        self, canvas: NDArray[np.float32], u: float, v: float, radius: float, colour: Vec3
    ) -> None:
        flat = 1.0 if self._name == "top" else 0.3
        gap = radius - np.hypot(self._u - u, (self._v - v) / flat)
        alpha = np.clip(gap + 0.5, 0.0, 1.0)[..., None]
        canvas += alpha * (np.asarray(colour, np.float32) - canvas)
