"""Draws parametric cartoon faces, one for each emotion; used by golden.py and ../fixtures.py.

Nobody's likeness: a face is a few dozen numbers. Coordinates run from -1 to 1, x to the right and y downwards; the face fills
the frame as it does in FER-2013.
"""

import numpy as np

# What every face has unless its emotion says otherwise: heights are y coordinates, the rest are lengths.
NEUTRAL = {
    "brow_inner": -0.35, "brow_middle": -0.40, "brow_outer": -0.36, "brow_gap": 0.155, "brow_width": 0.05,
    "lid_upper": 0.077, "lid_lower": 0.035, "iris": 0.083, "eye_slant": 0.02,
    "mouth": 0.56, "mouth_width": 0.30, "corner": 0.0, "open_up": 0.006, "open_down": 0.0, "lip": 0.042, "teeth": 0.0,
    "round": 0.0, "cheek": 0.0, "furrow": 0.0, "forehead": 0.0, "nose_wrinkle": 0.0, "light": 0.25,
    "hair": (0.20, 0.15, 0.12),
}

EMOTIONS = {
    "angry": {
        "brow_inner": -0.17, "brow_middle": -0.27, "brow_outer": -0.40, "brow_gap": 0.08, "brow_width": 0.06,
        "lid_upper": 0.075, "lid_lower": 0.06, "eye_slant": 0.02, "corner": 0.09, "mouth_width": 0.24, "lip": 0.037,
        "furrow": 0.9, "cheek": 0.2, "hair": (0.16, 0.11, 0.09),
    },
    "disgust": {
        "brow_inner": -0.21, "brow_middle": -0.33, "brow_outer": -0.32, "brow_gap": 0.11, "brow_width": 0.06,
        "lid_upper": 0.015, "lid_lower": 0.02, "eye_slant": -0.01, "mouth": 0.55, "corner": 0.13, "open_up": 0.05,
        "open_down": 0.045, "lip": 0.055, "teeth": 0.5, "cheek": 0.8, "furrow": 0.45, "nose_wrinkle": 1.0, "light": 0.08,
        "hair": (0.45, 0.30, 0.15),
    },
    "fear": {
        "brow_inner": -0.51, "brow_middle": -0.40, "brow_outer": -0.31, "brow_width": 0.036, "lid_upper": 0.15,
        "lid_lower": 0.075, "mouth": 0.575, "mouth_width": 0.32, "corner": 0.10, "open_up": 0.02, "open_down": 0.14,
        "teeth": 0.55, "cheek": 0.2, "furrow": 0.2, "forehead": 0.9, "hair": (0.12, 0.10, 0.10),
    },
    "happy": {
        "brow_inner": -0.37, "brow_middle": -0.44, "brow_outer": -0.36, "lid_upper": 0.065, "lid_lower": 0.03,
        "mouth_width": 0.43, "corner": -0.14, "open_up": 0.0, "open_down": 0.12, "teeth": 0.8, "cheek": 1.0,
        "hair": (0.35, 0.20, 0.10),
    },
    "neutral": {},
    "sad": {
        "brow_inner": -0.47, "brow_middle": -0.36, "brow_outer": -0.28, "lid_upper": 0.04, "lid_lower": 0.05,
        "eye_slant": -0.03, "mouth": 0.54, "corner": 0.10, "mouth_width": 0.25, "lip": 0.048, "cheek": 0.6, "forehead": 0.3,
        "hair": (0.30, 0.22, 0.15),
    },
    "surprise": {
        "brow_inner": -0.52, "brow_middle": -0.60, "brow_outer": -0.50, "lid_upper": 0.15, "lid_lower": 0.09,
        "iris": 0.07, "mouth": 0.60, "mouth_width": 0.17, "open_up": 0.13, "open_down": 0.17, "round": 1.0, "forehead": 0.5,
        "hair": (0.40, 0.18, 0.08),
    },
}


def draw(emotion, size, light=None, **changes):
    """A face as float64 `[size, size, 3]` in 0..1; `light` from -1 (from the left) to 1 (from the right)."""
    face = {**NEUTRAL, **EMOTIONS[emotion], **changes}
    if light is not None:
        face["light"] = light
    samples = 3
    canvas = Canvas(size * samples)
    background(canvas)
    head(canvas, face)
    for side in (-1, 1):
        eye(canvas, face, side)
        brow(canvas, face, side)
    nose(canvas, face)
    mouth(canvas, face)
    hair(canvas, face)
    return canvas.pixels.reshape(size, samples, size, samples, 3).mean((1, 3)).clip(0, 1)


class Canvas:
    def __init__(self, size):
        self.x, self.y = np.meshgrid(*[(np.arange(size) + 0.5) / size * 2 - 1] * 2)
        self.pixels = np.zeros((size, size, 3))

    def paint(self, mask, color):
        self.pixels += mask[..., None] * (np.asarray(color) - self.pixels)

    def shade(self, mask):
        """Darkens where `mask` is positive and lightens where it is negative."""
        self.pixels *= 1 - mask[..., None]

    def blob(self, x, y, width, height):
        """A soft spot, 1 in its middle."""
        return np.exp(-(((self.x - x) / width) ** 2) - ((self.y - y) / height) ** 2)

    def ellipse(self, x, y, width, height, soft=0.012):
        distance = np.hypot((self.x - x) / width, (self.y - y) / height) - 1
        return edge(distance * min(width, height), soft)

    def stroke(self, points, width, soft=0.012, taper=0.4):
        """A smooth line through a start, a middle and an end point, thinner at both ends."""
        start, middle, end = (np.asarray(point, float) for point in points)
        control = 2 * middle - (start + end) / 2
        t = np.linspace(0, 1, 13)[:, None]
        knots = (1 - t) ** 2 * start + 2 * t * (1 - t) * control + t * t * end
        halves = width * (1 - taper * (2 * t[:, 0] - 1) ** 2)
        nearest = np.full(self.x.shape, np.inf)
        for (x, y), (dx, dy), half, more in zip(knots, np.diff(knots, axis=0), halves, np.diff(halves)):
            along = (((self.x - x) * dx + (self.y - y) * dy) / (dx * dx + dy * dy)).clip(0, 1)
            distance = np.hypot(self.x - x - along * dx, self.y - y - along * dy) - half - along * more
            np.minimum(nearest, distance, out=nearest)
        return edge(nearest, soft)

    def lens(self, x, width, ends, top, bottom, slant=0.0, soft=0.012, power=1.0):
        """The region between two arcs that meet at height `ends`, at `x` ± `width`; a `power` of 0.5 rounds it."""
        u = (self.x - x) / width
        arc = np.clip(1 - u * u, 0, None) ** power
        middle = ends + slant * u
        upper, lower = middle + (top - ends) * arc, middle + (bottom - ends) * arc
        return edge(upper - self.y, soft) * edge(self.y - lower, soft) * (np.abs(u) < 1)


def edge(distance, soft):
    """1 where a signed distance is well below 0, 0 where it is well above."""
    t = np.clip(0.5 - distance / (2 * soft), 0, 1)
    return t * t * (3 - 2 * t)


def background(canvas):
    canvas.paint(np.ones_like(canvas.x), (0.42, 0.47, 0.52))
    canvas.shade(0.25 * np.hypot(canvas.x, canvas.y) - 0.15)
    canvas.paint(canvas.ellipse(0, 1.45, 0.95, 0.6, 0.03), (0.25, 0.30, 0.40))


def head(canvas, face):
    skin = np.array([0.90, 0.72, 0.60])
    canvas.paint(canvas.ellipse(0, 0.95, 0.36, 0.5, 0.03), skin * 0.62)
    for side in (-1, 1):
        canvas.paint(canvas.ellipse(side * 0.78, 0.02, 0.10, 0.19, 0.02), skin * 0.72)
    mask = canvas.ellipse(0, -0.08, 0.78, 1.0, 0.02) * (1 - 0.999 * (canvas.y > 0.0))
    taper = 0.78 - 0.16 * np.clip(canvas.y, 0, 1) ** 1.5
    mask = np.maximum(mask, edge(np.hypot(canvas.x / taper, canvas.y / 0.96) - 1, 0.02) * (canvas.y >= 0))
    canvas.paint(mask, skin)
    # Light on a ball, from above and a little aside.
    nx, ny = canvas.x / 0.95, canvas.y / 1.25
    nz = np.sqrt(np.clip(1 - nx * nx - ny * ny, 0.05, 1))
    lit = np.clip(face["light"] * nx - 0.35 * ny + 0.85 * nz, 0, None)
    canvas.shade(mask * (0.52 - 0.55 * lit))
    # Temples, sockets, cheeks and chin.
    for side in (-1, 1):
        canvas.shade(0.30 * mask * canvas.blob(side * 0.36, -0.18, 0.20, 0.13))
        canvas.shade(-0.10 * mask * canvas.blob(side * 0.42, 0.20 - 0.04 * face["cheek"], 0.20, 0.14))
        canvas.shade(0.12 * mask * canvas.blob(side * 0.52, 0.48, 0.13, 0.25))
        fold = [(side * 0.17, 0.24), (side * 0.29, 0.36), (side * (face["mouth_width"] + 0.08), 0.52)]
        canvas.shade((0.06 + 0.30 * face["cheek"]) * canvas.stroke(fold, 0.014, 0.035))
        bag = [(side * 0.24, 0.03), (side * 0.38, 0.08), (side * 0.52, 0.02)]
        canvas.shade((0.08 + 0.20 * face["cheek"]) * canvas.stroke(bag, 0.008, 0.03))
    canvas.shade(-0.08 * mask * canvas.blob(0, 0.86, 0.16, 0.08))
    for height in (-0.60, -0.68, -0.76):
        line = [(-0.36, height + 0.03), (0, height), (0.36, height + 0.03)]
        canvas.shade(0.28 * face["forehead"] * canvas.stroke(line, 0.008, 0.02))
    for side in (-1, 1):
        line = [(side * 0.045, -0.35), (side * 0.055, -0.28), (side * 0.04, -0.20)]
        canvas.shade(0.30 * face["furrow"] * canvas.stroke(line, 0.010, 0.035))


def eye(canvas, face, side):
    x, y, width, slant = side * 0.36, -0.10, 0.155, -side * face["eye_slant"]
    top, bottom = y - face["lid_upper"], y + face["lid_lower"]
    white = canvas.lens(x, width, y, top, bottom, slant)
    canvas.paint(white, (0.93, 0.92, 0.90))
    canvas.paint(white * canvas.ellipse(x, y - 0.012, face["iris"], face["iris"]), (0.28, 0.22, 0.16))
    canvas.paint(white * canvas.ellipse(x, y - 0.012, face["iris"] * 0.5, face["iris"] * 0.5), (0.04, 0.04, 0.05))
    canvas.paint(white * canvas.ellipse(x + 0.025, y - 0.04, 0.018, 0.018), (1, 1, 1))
    canvas.shade(0.35 * white * edge(canvas.y - (top + 0.04), 0.04))
    ends = (x - width, y - slant), (x + width, y + slant)
    canvas.paint(canvas.stroke([ends[0], (x, top), ends[1]], 0.014), (0.10, 0.07, 0.06))
    canvas.shade(0.35 * canvas.stroke([ends[0], (x, bottom), ends[1]], 0.006))
    crease = [(x - width, y - 0.05 - slant), (x, top - 0.045), (x + width, y - 0.05 + slant)]
    canvas.shade(0.35 * canvas.stroke(crease, 0.006, 0.015))


def brow(canvas, face, side):
    heights = face["brow_inner"], face["brow_middle"], face["brow_outer"]
    points = [(side * x, y) for x, y in zip((face["brow_gap"], 0.37, 0.60), heights)]
    canvas.paint(0.92 * canvas.stroke(points, face["brow_width"], 0.02, 0.55), np.array(face["hair"]) * 0.75)


def nose(canvas, face):
    side = 1 if face["light"] < 0 else -1
    canvas.shade(-0.10 * canvas.blob(0, 0.05, 0.05, 0.22) - 0.10 * canvas.blob(0, 0.23, 0.07, 0.06))
    canvas.shade(0.16 * canvas.blob(side * 0.10, 0.08, 0.05, 0.20))
    canvas.shade(0.22 * canvas.blob(0, 0.335, 0.14, 0.04))
    for half in (-1, 1):
        wing = [(half * 0.115, 0.18), (half * 0.165, 0.25), (half * 0.10, 0.305)]
        canvas.shade(0.35 * canvas.stroke(wing, 0.008, 0.02))
        canvas.shade(0.65 * canvas.ellipse(half * 0.065, 0.30, 0.035, 0.016))
        for height in (-0.06, 0.0, 0.06):
            line = [(half * 0.02, height), (half * 0.07, height + 0.005), (half * 0.13, height + 0.05)]
            canvas.shade(0.35 * face["nose_wrinkle"] * canvas.stroke(line, 0.007, 0.02))


def mouth(canvas, face):
    y, width, lip = face["mouth"], face["mouth_width"], face["lip"]
    ends = y + face["corner"]
    top, bottom = y - face["open_up"], y + face["open_down"]
    power = 1 - 0.5 * face["round"]
    color = np.array([0.68, 0.38, 0.35])
    canvas.paint(canvas.lens(0, width + 0.03, ends, top - lip, bottom + lip * 1.4, power=power), color)
    canvas.shade(-0.15 * canvas.blob(0, bottom + lip * 0.7, width * 0.5, lip * 0.5))
    inside = canvas.lens(0, width, ends, top - 0.004, bottom + 0.004, power=power)
    canvas.paint(inside, (0.16, 0.06, 0.06))
    row = top + (bottom - top) * 0.75
    canvas.paint(face["teeth"] * canvas.lens(0, width * 0.93, ends, top, row, power=power), (0.95, 0.94, 0.90))
    canvas.shade(0.75 * (1 - face["round"]) * canvas.stroke([(-width, ends), (0, top), (width, ends)], 0.010, 0.014))
    for side in (-1, 1):
        canvas.shade(0.30 * (1 - face["round"]) * canvas.blob(side * (width + 0.02), ends, 0.04, 0.04))
    canvas.shade(0.22 * canvas.blob(0, bottom + lip * 1.4 + 0.05, width * 0.6, 0.035))


def hair(canvas, face):
    line = -0.70 + 0.25 * np.abs(canvas.x) ** 2.5
    outer = canvas.ellipse(0, -0.12, 0.92, 1.02, 0.02)
    inner = edge(line - canvas.y, 0.03) * edge(np.abs(canvas.x) - (0.72 + 0.05 * canvas.y), 0.03)
    mask = outer * (1 - inner) * edge(canvas.y - 0.05, 0.10)
    canvas.paint(mask, face["hair"])
    strands = 0.12 * np.sin(28 * canvas.x + 6 * np.sin(3 * canvas.y)) + 0.20 * np.hypot(canvas.x, canvas.y + 0.1) - 0.25
    canvas.shade(mask * strands - 0.35 * mask * canvas.blob(face["light"] * 0.8, -0.82, 0.35, 0.10))
