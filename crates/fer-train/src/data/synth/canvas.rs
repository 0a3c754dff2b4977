//! A small gray canvas and the shapes that are drawn on it, with soft edges.
//!
//! Coordinates are the face's own: the head's middle is at 0, 0 and its chin at about 0, 1; x runs
//! to the right and y down. [`Pose`] says where that is in the picture.

/// Where a face is and how it is turned.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pose {
    /// The head's middle, in half pictures from the picture's middle.
    pub x: f64,
    /// As `x`, downwards.
    pub y: f64,
    /// The length of 1 in half pictures.
    pub scale: f64,
    /// Tilt in radians.
    pub tilt: f64,
    /// How far the face's middle is turned aside, in the face's coordinates; the head's outline
    /// stays.
    pub yaw: f64,
    /// As `yaw`, up and down.
    pub pitch: f64,
}

/// A square gray picture; levels are 0 (black) to 1 (white).
pub(super) struct Canvas {
    side: usize,
    /// Each pixel's place in the face's coordinates.
    places: Vec<(f64, f64)>,
    levels: Vec<f64>,
}

impl Canvas {
    /// A black picture of `side × side` pixels.
    pub fn new(side: usize, pose: Pose) -> Self {
        let (sin, cos) = pose.tilt.sin_cos();
        let from_middle = |i: usize| (i as f64 + 0.5) / side as f64 * 2.0 - 1.0;
        let place = |i: usize| {
            let x = (from_middle(i % side) - pose.x) / pose.scale;
            let y = (from_middle(i / side) - pose.y) / pose.scale;
            let (x, y) = (cos * x + sin * y, cos * y - sin * x);
            // The nearer to the outline, the less a turned head moves: a ball, seen from the front.
            let turn = (1.0 - (x / 0.9).powi(2) - (y / 1.1).powi(2)).max(0.0);
            (x - pose.yaw * turn, y - pose.pitch * turn)
        };
        Self {
            side,
            places: (0..side * side).map(place).collect(),
            levels: vec![0.0; side * side],
        }
    }

    /// Covers the picture with `tone` as far as `mask` says, 0 to 1.
    pub fn paint(&mut self, tone: f64, mask: impl Fn(f64, f64) -> f64) {
        for (level, (x, y)) in self.levels.iter_mut().zip(&self.places) {
            *level += mask(*x, *y) * (tone - *level);
        }
    }

    /// Darkens where `amount` is positive, by this share, and lightens where it is negative.
    pub fn shade(&mut self, amount: impl Fn(f64, f64) -> f64) {
        for (level, (x, y)) in self.levels.iter_mut().zip(&self.places) {
            *level *= 1.0 - amount(*x, *y);
        }
    }

    /// Gives a share of each level to its neighbours, along rows and columns; 0 to 0.33, where
    /// nothing of a pixel stands out.
    pub fn blur(&mut self, share: f64) {
        for step in [1, self.side] {
            let from = self.levels.clone();
            for (i, level) in self.levels.iter_mut().enumerate() {
                let at = i / step % self.side;
                let before = if at == 0 { from[i] } else { from[i - step] };
                let after = if at + 1 == self.side {
                    from[i]
                } else {
                    from[i + step]
                };
                *level += share * (before + after - 2.0 * *level);
            }
        }
    }

    /// The levels as bytes, each changed by `change` before.
    pub fn into_bytes(self, mut change: impl FnMut(f64) -> f64) -> Vec<u8> {
        self.levels
            .into_iter()
            .map(|level| (change(level).clamp(0.0, 1.0) * 255.0).round() as u8)
            .collect()
    }
}

/// How wide a soft edge is, to each side: about half a pixel of a picture of 48.
const SOFT: f64 = 0.025;

/// 1 where a signed distance is well below 0, 0 where it is well above, over an edge of `soft` to
/// each side.
pub(super) fn edge(distance: f64, soft: f64) -> f64 {
    let t = (0.5 - distance / (2.0 * soft)).clamp(0.0, 1.0);
    t * t * (3.0 - 2.0 * t)
}

/// The length of `(x, y)`; `hypot` minds numbers that don't come up here, and is slow.
pub(super) fn length(x: f64, y: f64) -> f64 {
    (x * x + y * y).sqrt()
}

/// A soft spot around `at`, 1 in its middle.
pub(super) fn blob(at: (f64, f64), width: f64, height: f64) -> impl Fn(f64, f64) -> f64 {
    move |x, y| {
        let distance = ((x - at.0) / width).powi(2) + ((y - at.1) / height).powi(2);
        if distance < 9.0 {
            (-distance).exp()
        } else {
            0.0
        }
    }
}

/// A filled ellipse with half axes `width` and `height`.
pub(super) fn ellipse(at: (f64, f64), width: f64, height: f64) -> impl Fn(f64, f64) -> f64 {
    move |x, y| {
        edge(
            (length((x - at.0) / width, (y - at.1) / height) - 1.0) * width.min(height),
            SOFT,
        )
    }
}

/// The region between two arcs, e.g. an eye or lips, that meet `width` to both sides of `at`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lens {
    pub at: (f64, f64),
    pub width: f64,
    /// How much lower the right end is than `at`, and the left end higher.
    pub slant: f64,
    /// The upper arc's height in the middle.
    pub top: f64,
    /// The lower arc's height in the middle.
    pub bottom: f64,
    /// 1 for parabolas, 0.5 for ellipses.
    pub power: f64,
}

impl Lens {
    pub fn mask(self) -> impl Fn(f64, f64) -> f64 {
        move |x, y| {
            let u = (x - self.at.0) / self.width;
            let side = edge((u.abs() - 1.0) * self.width, SOFT);
            if side == 0.0 {
                return 0.0;
            }
            let arc = (1.0 - u * u).max(0.0).powf(self.power);
            let middle = self.at.1 + self.slant * u;
            let (upper, lower) = (
                middle + (self.top - self.at.1) * arc,
                middle + (self.bottom - self.at.1) * arc,
            );
            edge(upper - y, SOFT) * edge(y - lower, SOFT) * side
        }
    }
}

/// A smooth line through three points, of half the `width` at its ends; `soft` is the width of its
/// edge.
pub(super) fn stroke(points: [(f64, f64); 3], width: f64, soft: f64) -> impl Fn(f64, f64) -> f64 {
    const KNOTS: usize = 9;
    let [(x0, y0), (x1, y1), (x2, y2)] = points;
    let control = (2.0 * x1 - (x0 + x2) / 2.0, 2.0 * y1 - (y0 + y2) / 2.0);
    // Knots of a quadratic Bézier curve, and half the line's width there.
    let knots: [(f64, f64, f64); KNOTS] = std::array::from_fn(|i| {
        let t = i as f64 / (KNOTS - 1) as f64;
        let on = |start: f64, control: f64, end: f64| {
            (1.0 - t) * ((1.0 - t) * start + 2.0 * t * control) + t * t * end
        };
        (
            on(x0, control.0, x2),
            on(y0, control.1, y2),
            width * (1.0 - 0.5 * (2.0 * t - 1.0).powi(2)),
        )
    });
    let margin = width + soft;
    let low = knots.iter().fold((f64::MAX, f64::MAX), |low, k| {
        (low.0.min(k.0 - margin), low.1.min(k.1 - margin))
    });
    let high = knots.iter().fold((f64::MIN, f64::MIN), |high, k| {
        (high.0.max(k.0 + margin), high.1.max(k.1 + margin))
    });
    move |x, y| {
        if x < low.0 || y < low.1 || x > high.0 || y > high.1 {
            return 0.0;
        }
        let distance = |pair: &[(f64, f64, f64)]| {
            let [(ax, ay, a), (bx, by, b)] = [pair[0], pair[1]];
            let (dx, dy) = (bx - ax, by - ay);
            let along =
                (((x - ax) * dx + (y - ay) * dy) / (dx * dx + dy * dy).max(1e-12)).clamp(0.0, 1.0);
            length(x - ax - along * dx, y - ay - along * dy) - (a + along * (b - a))
        };
        edge(
            knots.windows(2).map(distance).fold(f64::MAX, f64::min),
            soft,
        )
    }
}
