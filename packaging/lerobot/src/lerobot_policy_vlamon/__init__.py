"""A plug-in that LeRobot imports by itself: its trainings are visible in vlamon."""

from vlamon.integrations.lerobot import watch_lerobot

watch_lerobot()
