"""Ways to show a feed without a screen: lines for people, lines for programs."""
